"""Threads that compute with torch beside those that wait for them, and their end before the interpreter's.

They are daemons, so that an interrupt waits for nobody. But a daemon thread that is inside torch while the interpreter
ends is unwound through C++, which takes the process down: “terminate called without an active exception”, and SIGABRT
in place of the exit code. So whoever leaves tells them first, and waits for a while.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable

ENDING = threading.Event()
"""Set while a process ends: work that goes on step by step ends at its next one."""
_PATIENCE = 10.0  # seconds; a token takes less, loading a model may take more


class Worker(threading.Thread):
    """A daemon thread that computes."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(target=work, name=name, daemon=True)


def end(seconds: float = _PATIENCE) -> bool:
    """Tell all workers of this process to end, and wait so long for them.

    Returns:
        Whether all have ended. If not, leave by `os._exit`, with everything flushed and closed.
    """
    until, alive = time.monotonic() + seconds, _alive()
    ENDING.set()
    try:
        for worker in alive:
            worker.join(max(0.0, until - time.monotonic()))
    finally:
        ENDING.clear()
    return not _alive()


def _alive() -> list[Worker]:
    return [thread for thread in threading.enumerate() if isinstance(thread, Worker)]


atexit.register(end)
