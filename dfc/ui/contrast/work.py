"""Contrasts in the background: each is made once in this process, whichever session asks for it.

Everything that touches a model lives in dfc.screen.reading, and is imported by the thread that needs it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from dfc.runs import Run
from dfc.screen import prompts
from dfc.screen.prompts import PromptSet
from dfc.store.reader import Store
from dfc.ui.shell.text import failure

if TYPE_CHECKING:
    from dfc.screen.reading import Contrasted

MOST = 300
"""Prompts that are read of a set, so that somebody may wait for it; the command line reads all."""
_KEPT = 8


@dataclass(frozen=True)
class Source:
    """Where a set of prompts comes from.

    Attributes:
        kind: a set that ships, lines that were typed, or a file that was uploaded.
        name: of the set or the file, or what the lines are called.
        content: what was typed or uploaded.
    """

    kind: Literal["ships", "typed", "file"]
    name: str
    content: str | bytes = ""

    def read(self, answered: bool) -> PromptSet:
        """Its prompts.

        Raises:
            UserError: if there are not enough.
        """
        if self.kind == "ships":
            return prompts.read(self.name, answered, MOST)
        if isinstance(self.content, bytes):
            return prompts.uploaded(self.name, self.content, answered, MOST)
        return prompts.typed(self.name, self.content)


@dataclass(frozen=True)
class Request:
    """What is contrasted, by which version of a run's crosscoder."""

    run: Run
    version: int
    first: Source
    second: Source
    answered: bool


@dataclass
class Job:
    """A contrast that is being made, or was.

    Attributes:
        request: what is asked.
        words: what is being waited for.
        done, total: prompts; total is 0 until it is known.
        result: what came of it.
        problem: why nothing did.
        finished: whether the thread is through; without result and problem it was stopped.
    """

    request: Request
    words: str = "Getting ready …"
    done: int = 0
    total: int = 0
    result: Contrasted | None = None
    problem: str | None = None
    finished: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Do it; what goes wrong is kept as one sentence."""
        try:
            self.result = self._contrast()
        except _StoppedError:
            pass
        except Exception as error:  # shown by the page: a thread has no other reader
            self.problem = failure(error, "The contrast ended with an error")
        finally:
            self.finished = True

    def _contrast(self) -> Contrasted:
        asked = self.request
        first, second = (one.read(asked.answered) for one in (asked.first, asked.second))
        self.total = len(first.documents) + len(second.documents)
        from dfc.features import live
        from dfc.screen import reading

        opened = live.open_run(asked.run, self._report)
        read = [reading.read(opened, one, self._report, self._advance) for one in (first, second)]
        return reading.of(Store(asked.run.store), read[0], read[1], reading.in_common(first, second))

    def _report(self, words: str) -> None:
        self.words = words
        self._advance(0)

    def _advance(self, prompts: int) -> None:
        self.done += prompts
        if self.cancelled.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """Somebody has cancelled it."""


_jobs: dict[Request, Job] = {}  # the latest last
_starting = threading.Lock()


def of(request: Request) -> Job | None:
    """The contrast of a request, running or done, if there is one."""
    return _jobs.get(request)


def start(request: Request, again: bool) -> Job:
    """The contrast of a request; begun now unless it is there, or `again` if it was stopped or failed."""
    with _starting:
        job = _jobs.get(request)
        if job is None or (again and job.finished and job.result is None):
            _jobs.pop(request, None)
            while len(_jobs) >= _KEPT and (done := next((old for old in _jobs if _jobs[old].finished), None)):
                del _jobs[done]
            job = _jobs[request] = Job(request)
            threading.Thread(target=job.work, daemon=True, name="contrast").start()
        return job
