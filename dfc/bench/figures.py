"""Figures of a benchmark, and how they are printed."""

from __future__ import annotations

import json
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Figure:
    """One measured value, set against another of the same run.

    Attributes:
        name: what was measured.
        value, unit: how much.
        against: what it is compared with.
        ratio: value over that; None where nothing stands beside it.
        target: the largest ratio that is good enough; None where none is set.
    """

    name: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None
    target: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the ratio is within the target."""
        return None if self.target is None or self.ratio is None else self.ratio <= self.target


def high_water() -> float:
    """Largest resident size of this process so far, MB (2²⁰ bytes)."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one
        return int(status.read_text(encoding="ascii").partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if platform.system() == "Darwin" else 1024)


def milliseconds(
    tasks: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Best time of each task, all taken in turn, so that a busy moment of the machine hits all alike."""
    for task in tasks.values():
        task()
    best = dict.fromkeys(tasks, float("inf"))
    for _ in range(rounds):
        for name, task in tasks.items():
            started = clock()
            task()
            best[name] = min(best[name], 1e3 * (clock() - started))
    return best


def machine() -> str:
    """What the figures were measured on."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{device}, {torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}"


def as_json(name: str, figures: list[Figure]) -> str:
    """One object with everything that was measured, and when."""
    content = {figure.name: {**asdict(figure), "met": figure.met} for figure in figures}
    for entry in content.values():
        del entry["name"]
    measured = time.strftime("%Y-%m-%dT%H:%M:%S")
    return json.dumps({"name": name, "machine": machine(), "measured": measured, "figures": content}, indent=1)


def as_table(name: str, figures: list[Figure]) -> str:
    """The same for people; a missed target is called missed."""
    lines = [f"bench {name}: {machine()}", ""]
    lines.append(f"{'figure':<52}{'value':>12}  {'ratio':>7}  {'against':<28}{'target':>8}")
    for figure in figures:
        ratio = "" if figure.ratio is None else f"{figure.ratio:.3g}"
        target = "" if figure.target is None else f"≤ {figure.target:g}"
        verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
        value = f"{figure.value:,.1f} {figure.unit}"
        lines.append(f"{figure.name:<52}{value:>12}  {ratio:>7}  {figure.against:<28}{target:>8}  {verdict}")
    return "\n".join(lines)
