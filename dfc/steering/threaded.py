"""Tokens of a generation that runs in a thread of its own, handed over to whoever reads them, as they come.

The reader hears every fifth of a second whether anything has come, and ends the generation by reading no further.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from dfc.config import MemoryShortError
from dfc.machine import memory, workers
from dfc.machine.workers import Worker
from dfc.models import LoadedModel

_PULSE = 0.2  # seconds after which a reader hears that nothing has come yet


class _CancelledError(Exception):
    """Unwinds a generation that nobody reads any more."""


class Tokens(BaseStreamer):
    """Takes the new tokens of all rows from the thread that generates, to be handed over to the one that reads.

    Attributes:
        begun: set once the model is free and the generation has it.
        cancelled: set once nobody reads any more.
    """

    def __init__(self) -> None:
        self._came: queue.Queue[list[int] | None] = queue.Queue()
        self.begun, self.cancelled = threading.Event(), threading.Event()
        self._in_prompt = True

    def put(self, value: Tensor) -> None:
        if self._in_prompt:  # the first call brings the prompt
            self._in_prompt = False
            return
        self.give_up()
        self._came.put(value.reshape(-1).tolist())

    def give_up(self) -> None:
        """End the generation, if it is cancelled or the process ends."""
        if self.cancelled.is_set() or workers.ENDING.is_set():
            raise _CancelledError

    def end(self) -> None:
        self._came.put(None)

    def next(self) -> list[int] | None:
        """A token of each row; none where none has come for a while, None at the end."""
        try:
            return self._came.get(timeout=_PULSE)
        except queue.Empty:
            return []


def read(model: LoadedModel, generate: Callable[[], None], tokens: Tokens) -> Generator[list[int], None, None]:
    """Generated token ids of all rows, or an empty list where none have come for a while.

    Args:
        model: generates; others wait until it is free.
        generate: gives `tokens` what it generates; runs in a thread of its own, until the iterator is closed.
        tokens: new ones, which nothing was put into.

    Raises:
        MemoryShortError: if memory runs out.
    """
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with _lock(model, tokens):
                tokens.begun.set()
                generate()
        except _CancelledError:
            if not tokens.cancelled.is_set():  # the process ends, and with it the thread that reads
                failures.append(SystemExit())
        except BaseException as error:  # raised again in the reading thread
            failures.append(error)
        finally:
            tokens.end()

    worker = Worker(run, "generation")
    worker.start()
    try:
        while (came := tokens.next()) is not None:
            yield came
        worker.join()
        if failures:
            raise _explained(model, failures[0])
    finally:
        tokens.cancelled.set()


@contextmanager
def _lock(model: LoadedModel, tokens: Tokens) -> Iterator[None]:
    """Hold the model; give up where nobody waits for its tokens any more."""
    while not model.lock.acquire(timeout=_PULSE):
        tokens.give_up()
    try:
        tokens.give_up()
        yield
    finally:
        model.lock.release()


def _explained(model: LoadedModel, error: BaseException) -> BaseException:
    if memory.is_out_of_memory(error):
        return MemoryShortError(
            f"{model.title}: {model.device} has no memory for this text; ask for fewer tokens or a shorter prompt, "
            f"or use half precision (dtype)."
        )
    return error
