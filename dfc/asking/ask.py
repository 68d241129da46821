"""Which judge is asked, and several requests at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from dfc.asking.budget import Budget
from dfc.asking.endpoint import Endpoint
from dfc.asking.messages import Asker
from dfc.config import JudgeConfig
from dfc.machine.workers import Worker

_PULSE = 0.2
Item = TypeVar("Item")
Result = TypeVar("Result")


def opened(judge: JudgeConfig, budget: Budget | None = None, stop: threading.Event | None = None) -> Asker:
    """A judge that can be asked; nothing is loaded or sent yet.

    Args:
        judge: which.
        budget: how much may be asked; None: any number.
        stop: once it is set, nothing more is asked.
    """
    budget, stop = budget or Budget(), stop or threading.Event()
    if judge.protocol == "local":
        from dfc.asking.local import Local  # which loads torch

        return Local(judge, budget, stop)
    return Endpoint(judge, budget, stop)


def each(
    items: Sequence[Item], work: Callable[[Item], Result], judge: JudgeConfig
) -> Generator[tuple[Item, Result | Exception] | None, None, None]:
    """Ask a judge about several items, some at once; closing the generator begins none further.

    The end of the process waits for no endpoint, and a while for what computes here.

    Args:
        items: what it is asked about.
        work: asks about one.
        judge: says how many at once.

    Yields:
        An item with what came of it, as it comes, or the error that was raised; None several times a second while
        nothing comes.
    """
    left: queue.SimpleQueue[Item] = queue.SimpleQueue()
    for item in items:
        left.put(item)
    done: queue.SimpleQueue[tuple[Item, Result | Exception]] = queue.SimpleQueue()
    ended = threading.Event()

    def labour() -> None:
        while not ended.is_set():
            try:
                item = left.get_nowait()
            except queue.Empty:
                return
            try:
                done.put((item, work(item)))
            except Exception as error:
                done.put((item, error))

    computes = judge.protocol == "local"
    for _ in range(1 if computes else min(judge.parallel, len(items))):
        thread = Worker(labour, "judge") if computes else threading.Thread(target=labour, daemon=True, name="judge")
        thread.start()
    try:
        for _ in items:
            while True:
                try:
                    yield done.get(timeout=_PULSE)
                    break
                except queue.Empty:
                    yield None
    finally:
        ended.set()
