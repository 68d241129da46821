"""Contrasts in the background: each is made once in this process, whichever session asks for it.

Everything that touches a model lives in dfc.screen.reading, and is imported by the thread that needs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from dfc.runs import Run
from dfc.screen import prompts
from dfc.screen.prompts import PromptSet
from dfc.store.reader import Store
from dfc.ui.shell.background import Job, Jobs

if TYPE_CHECKING:
    from dfc.screen.reading import Contrasted

MOST = 300
"""Prompts that are read of a set, so that somebody may wait for it; the command line reads all."""


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


JOBS: Jobs[Request, Contrasted] = Jobs("contrast")


def start(request: Request, again: bool) -> Job[Contrasted]:
    """The contrast of a request; begun now unless it is there, or `again` if it was stopped or failed."""
    job = Job(partial(_contrast, request), "prompts read")
    return JOBS.start(request, job, lambda old: again and old.finished and old.result is None)


def _contrast(asked: Request, job: Job[Contrasted]) -> None:
    first, second = (one.read(asked.answered) for one in (asked.first, asked.second))
    job.tell(total=len(first.documents) + len(second.documents))
    from dfc.features import live
    from dfc.screen import reading

    reading.expect_apart(first, second)

    def advance(prompts: int) -> None:
        job.tell(done=job.done + prompts)

    opened = live.open_run(asked.run, job.tell)
    read = [reading.read(opened, one, job.tell, advance) for one in (first, second)]
    job.result = reading.of(Store(asked.run.store), read[0], read[1], reading.in_common(first, second))
