"""A sweep in the background: a thread that outlives reruns of the page's script, one for each session."""

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

_JOB = "steer_job"


@dataclass
class Job:
    """A sweep that runs, or ran.

    Attributes:
        run: whose features are steered, and with which the outputs are kept as they come.
        make: what is to be done; it may load libraries, so the thread asks.
        done, total: outputs; total is 0 until it is known.
        sweep_id: under which it is kept, once there is an output.
        problem: why it ended early.
        finished: whether the thread is through.
    """

    run: Run
    make: Callable[[], Sweep]
    done: int = 0
    total: int = 0
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
                    self.sweep_id, self.done = step.sweep_id, step.done
                    if self.cancelled.is_set():
                        break
        except UserError as error:
            self.problem = sentence(str(error))
        except Exception as error:  # shown by the page: a thread has no other reader
            self.problem = f"The sweep ended with an error: {type(error).__name__}: {error}"
        finally:
            self.finished = True


def start(run: Run, make: Callable[[], Sweep]) -> None:
    """Begin a sweep, unless this session has one that is running."""
    job = current()
    if job is None or job.finished:
        st.session_state[_JOB] = job = Job(run, make)
        threading.Thread(target=job.work, daemon=True, name="sweep").start()


def current() -> Job | None:
    """This session's sweep, running or through."""
    found: Job | None = st.session_state.get(_JOB)
    return found


def clear() -> None:
    """Forget a sweep that is through."""
    st.session_state.pop(_JOB, None)
