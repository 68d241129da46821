"""Sweeps in the background: one at a time for each run, in a thread that outlives the session that began it.

A closed browser does not end a sweep. Every session on its run is shown how far it is, and may cancel it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from dfc.config import UserError
from dfc.runs import Run
from dfc.ui.text import sentence

if TYPE_CHECKING:
    from dfc.steering.sweeps import Sweep

_WATCHED = "steer_job"


@dataclass
class Job:
    """A sweep that runs, or ran.

    Attributes:
        run: whose features are steered, and with which the outputs are kept as they come.
        make: what is to be done; it may load libraries, so the thread asks.
        done, total: outputs; total is 0 until it is known.
        waiting: for a model that somebody else is using.
        sweep_id: under which it is kept.
        problem: why it ended early.
        finished: whether the thread is through.
    """

    run: Run
    make: Callable[[], Sweep]
    done: int = 0
    total: int = 0
    waiting: bool = False
    sweep_id: str | None = None
    problem: str | None = None
    finished: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Do it; what goes wrong is kept as one sentence."""
        try:
            from dfc.steering.sweeps import run_sweep

            sweep = self.make()
            self.total = sweep.outputs
            with closing(run_sweep(self.run, sweep)) as steps:
                for step in steps:
                    self.sweep_id, self.done, self.waiting = step.sweep_id, step.done, step.waiting
                    if self.cancelled.is_set():
                        break
        except UserError as error:
            self.problem = sentence(str(error))
        except Exception as error:  # shown by the page: a thread has no other reader
            self.problem = f"The sweep ended with an error: {type(error).__name__}: {error}"
        finally:
            self.finished = True


_jobs: dict[Run, Job] = {}  # the latest of each run in this process
_starting = threading.Lock()


def start(run: Run, make: Callable[[], Sweep]) -> None:
    """Begin a sweep, unless one of this run is running; watch it either way."""
    with _starting:
        if running(run) is None:
            _jobs[run] = job = Job(run, make)
            threading.Thread(target=job.work, daemon=True, name="sweep").start()
    watched(run)


def running(run: Run) -> Job | None:
    """The sweep that is running on this run's features, whichever session began it."""
    job = _jobs.get(run)
    return None if job is None or job.finished else job


def watched(run: Run) -> Job | None:
    """The sweep that this session is shown: one that is running, or that was when the session last looked."""
    job: Job | None = running(run) or st.session_state.get(_WATCHED)
    if job is None or job.run != run:
        return None
    st.session_state[_WATCHED] = job
    return job


def forget() -> None:
    """Do not show the sweep any more: it is through."""
    st.session_state.pop(_WATCHED, None)
