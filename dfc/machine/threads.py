"""How many threads compute on a CPU: as many as the machine has cores that nobody else keeps busy.

Threads of one product wait for each other, spinning. Where another process holds one of the cores, two threads take
several times as long as one.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from dfc.config import UserError
from dfc.machine import progress

VARIABLE = "DFC_THREADS"
"""The environment variable that sets how many, for whoever knows better."""
_LEAST = 0.2  # seconds over which it is seen what is busy
_ROUNDED = 0.3  # a core of which others use less counts as free
_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class _Reading:
    """Seconds that all cores were busy, and this process on them, since they began, and when that was read."""

    busy: float
    own: float
    at: float


_last: _Reading | None = None
_usual: int | None = None
"""How many PyTorch takes."""
_turn = threading.Lock()


def settle() -> int:
    """Choose the number of threads of what is computed next in this process, and give it.

    What `DFC_THREADS` says holds; then what `OMP_NUM_THREADS` says, which PyTorch has heard of. Otherwise it is what
    PyTorch takes, or the number of cores less those that other processes kept busy since this was last asked for,
    whichever is less; 1 at least. Where the system does not tell what is busy, it is what PyTorch takes.

    Raises:
        UserError: if `DFC_THREADS` is no number of threads.
    """
    import torch  # takes seconds, which whoever only reads `asked` does not have

    global _usual
    before = torch.get_num_threads()
    _usual = _usual or before
    chosen = asked()
    if chosen is None:
        if "OMP_NUM_THREADS" in os.environ or (busy := _busy_elsewhere()) is None:
            return before
        chosen = max(1, min(_usual, int(_cores() - busy + _ROUNDED)))
        if chosen != before:
            progress.say(
                f"computing with {chosen} of {_usual} threads: other processes keep {busy:.1f} of {_cores()} cores "
                f"busy; {VARIABLE} or --threads sets another number"
            )
    if chosen != before:
        torch.set_num_threads(chosen)
    return chosen


def asked() -> int | None:
    """What `DFC_THREADS` says; None where it says nothing.

    Raises:
        UserError: if that is no number of threads.
    """
    value = os.environ.get(VARIABLE, "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isdigit() and 0 < int(value) <= 4_096):
        raise UserError(f"{VARIABLE} is {value!r:.40}; give a number of threads, such as 2, or unset it.")
    return int(value)


def _busy_elsewhere() -> float | None:
    """How many cores other processes kept busy, a mean since the last reading; None where that cannot be told."""
    global _last
    with _turn:
        now = _read()
        if now is None:
            return None
        before = _last
        if before is None or now.at - before.at < _LEAST:
            before = before or now
            time.sleep(max(0.0, _LEAST - (now.at - before.at)))
            now = _read() or now
        _last = now
    passed = max(now.at - before.at, 1e-3)
    return max(0.0, (now.busy - before.busy - (now.own - before.own)) / passed)


def _read() -> _Reading | None:
    try:
        fields = _STAT.read_text(encoding="ascii").splitlines()[0].split()
        user, nice, system, _, _, interrupts, soft = map(int, fields[1:8])
    except (OSError, ValueError, IndexError):
        return None
    ticks = user + nice + system + interrupts + soft
    return _Reading(ticks / os.sysconf("SC_CLK_TCK"), time.process_time(), time.monotonic())


def _cores() -> int:
    """That this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
