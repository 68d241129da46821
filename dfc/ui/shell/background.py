"""Work beside the page: done by a thread that outlives the session that began it, watched by any, stopped by any.

A closed browser does not end it. What touches a model is imported by the thread that needs it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import streamlit as st

from dfc.machine import workers
from dfc.ui.shell.text import duration, failure, plain

KEPT = 8
"""Jobs of a kind that a process keeps; of those that are through, the eldest go first."""
_STOP = "stop_job"
_SURE = 3.0
"""Seconds of counting before it is said how long the rest will take."""

Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)


class StoppedError(Exception):
    """Somebody has stopped it."""


@dataclass
class Job(Generic[Result]):
    """Work that goes on, or did.

    Attributes:
        do: the work. It says by `tell` how far it is, which ends it if it was stopped, and keeps what comes of it in
            `result`.
        unit: what is counted, as in “3 of 9 texts”.
        words: what is being done or waited for.
        done, total: of what is counted; total is 0 until it is known.
        result: what has come of it; None: nothing yet.
        problem: why it ended early, or what is approximate in it.
        finished: whether the thread is through.
        began: when something was counted first, in seconds of `time.monotonic`, and how many there were then.
    """

    do: Callable[[Job[Result]], None]
    unit: str
    words: str = "getting ready, models are loaded …"
    done: int = 0
    total: int = 0
    result: Result | None = None
    problem: str | None = None
    finished: bool = False
    stopped: threading.Event = field(default_factory=threading.Event)
    began: tuple[float, int] | None = None

    @property
    def told(self) -> str:
        """How far it is, in words."""
        counted = f"{self.done:,} of {self.total:,} {self.unit}" if self.total else ""
        left = f"about {duration(seconds)} left" if (seconds := self.left) else ""
        return " · ".join(part for part in (counted, left, self.words) if part)

    @property
    def left(self) -> float | None:
        """Seconds that it will still take at the rate so far; None before that is known, and at the end."""
        if self.finished or self.began is None or self.done >= self.total:
            return None
        lasted, counted = time.monotonic() - self.began[0], self.done - self.began[1]
        return (self.total - self.done) * lasted / counted if counted > 0 and lasted > _SURE else None

    def tell(self, words: str | None = None, done: int | None = None, total: int | None = None) -> None:
        """Say how far the work is; what is not given stays.

        Raises:
            StoppedError: if it shall go no further.
        """
        self.words = self.words if words is None else words
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        if self.began is None and self.total:
            self.began = time.monotonic(), self.done
        if self.stopped.is_set() or workers.ENDING.is_set():
            raise StoppedError

    def work(self, name: str) -> None:
        """Do it; what goes wrong is kept as one sentence."""
        try:
            self.do(self)
        except StoppedError:
            pass
        except Exception as error:  # shown by the page: a thread has no other reader
            self.problem = failure(error, f"The {name} ended with an error")
        finally:
            self.finished = True


class Jobs(Generic[Key, Result]):
    """The jobs of one kind in this process, whichever session began them: the latest of each key, such as a run.

    A session follows the job of a key from when it first sees it running until `forget`, so that it is told how that
    ended.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: dict[Key, Job[Result]] = {}  # the latest last
        self._starting = threading.Lock()

    def of(self, key: Key) -> Job[Result] | None:
        """The job of a key, running or through, if there is one."""
        return self._jobs.get(key)

    def running(self, key: Key) -> Job[Result] | None:
        """The job of a key that is running."""
        job = self._jobs.get(key)
        return None if job is None or job.finished else job

    def start(
        self, key: Key, job: Job[Result], instead: Callable[[Job[Result]], bool] = lambda old: old.finished
    ) -> Job[Result]:
        """Begin a job, unless the key has one in whose place it is not to be: one that is running, as a rule."""
        with self._starting:
            old = self._jobs.get(key)
            if old is not None and not instead(old):
                return old
            self._jobs.pop(key, None)
            through = [other for other, one in self._jobs.items() if one.finished]
            for other in through[: max(0, len(self._jobs) + 1 - KEPT)]:
                del self._jobs[other]
            self._jobs[key] = job
            workers.Worker(lambda: job.work(self._name), self._name).start()
        return job

    def follow(self, key: Key, job: Job[Result]) -> None:
        """Let this session follow a job, even if it is through by now."""
        st.session_state[self._followed] = (key, job)

    def followed(self, key: Key) -> Job[Result] | None:
        """The job that this session follows: one that is running, or that was when the session last looked."""
        if (job := self.running(key)) is not None:
            self.follow(key, job)
        kept = st.session_state.get(self._followed)
        return kept[1] if kept is not None and kept[0] == key else None

    def forget(self) -> None:
        """Follow none any more."""
        st.session_state.pop(self._followed, None)

    @property
    def _followed(self) -> str:
        return f"{self._name} followed"


@st.fragment(run_every=1.0)
def progress(job: Job[Result], stays: str | None = None) -> None:
    """How far a job is, with a button that stops it; asks for the whole page when it is through.

    Args:
        job: that is running.
        stays: what is kept of one that is stopped, for the button's help.
    """
    if job.finished:
        st.rerun()
    st.progress(job.done / job.total if job.total else 0.0, plain(job.told))
    stopped = job.stopped.is_set()
    st.button(
        "Stopping …" if stopped else "Stop",
        icon=":material/stop:",
        key=_STOP,
        on_click=job.stopped.set,
        disabled=stopped,
        help=stays,
    )
