"""The causal check from the page: in the background, one at a time for each run, in a thread that outlives the session.

Each feature is kept as it is done; what was stopped goes on with those that are left.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field

import streamlit as st

from dfc.runs import Run
from dfc.screen.triage import Candidate
from dfc.ui.shell.text import failure, plain

FIRST = 10
"""Of the queue, that are checked at once."""
_WATCHED, _PROBLEM = "causal_job", "causal_problem"


@dataclass
class Job:
    """A check that runs, or ran.

    Attributes:
        run: whose features are taken away.
        features: which, in this order.
        kept: of them, so many are done.
        done, total: texts; total is 0 until the models are loaded and texts found.
        problem: why it ended early.
        finished: whether the thread is through.
    """

    run: Run
    features: tuple[int, ...]
    kept: int = 0
    done: int = 0
    total: int = 0
    problem: str | None = None
    finished: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Do it; what goes wrong is kept as one sentence."""
        try:
            from dfc.screen import causal  # which loads torch

            with closing(causal.measure(self.run, self.features, step=self._step)) as steps:
                for _ in steps:
                    self.kept += 1
        except _StoppedError:
            pass
        except Exception as error:  # shown by the page: a thread has no other reader
            self.problem = failure(error, "The causal check ended with an error")
        finally:
            self.finished = True

    def _step(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        if self.cancelled.is_set():
            raise _StoppedError


class _StoppedError(Exception):
    """Somebody has cancelled it."""


_jobs: dict[Run, Job] = {}  # the latest of each run in this process
_starting = threading.Lock()


def start(run: Run, features: Sequence[int]) -> None:
    """Begin a check, unless one of this run is running; watch it either way."""
    with _starting:
        job = running(run)
        if job is None:
            _jobs[run] = job = Job(run, tuple(features))
            threading.Thread(target=job.work, daemon=True, name="causal check").start()
    st.session_state[_WATCHED] = job  # even if it has failed by now


def running(run: Run) -> Job | None:
    """The check that is running on this run's features, whichever session began it."""
    job = _jobs.get(run)
    return None if job is None or job.finished else job


def show(run: Run, queue: Sequence[Candidate]) -> None:
    """Draw how far a check is, or the button that begins one of those first in the queue that lack it."""
    if problem := st.session_state.pop(_PROBLEM, None):
        st.warning(plain(problem), icon=":material/block:")
    if _watched(run) is not None:
        _progress(run)
        return
    lacking = [one.subject.feature_id for one in queue[:FIRST] if one.checked is None]
    if not lacking:
        return
    which = f"the first {len(queue[:FIRST])}" if len(lacking) == len(queue[:FIRST]) else f"{len(lacking)} of the first"
    st.button(
        f"Causal check of {which}",
        icon=":material/science:",
        key="check",
        on_click=start,
        args=(run, lacking),
        help="Takes their best features away in both models, as `python -m dfc causal` does. It needs the models; "
        "where these are as small as the demo's, a feature takes about a minute of one core. It goes on when this page "
        "is left or closed, and keeps each feature as it is done.",
    )


def _watched(run: Run) -> Job | None:
    """The check that this session is shown: one that is running, or that was when the session last looked."""
    job: Job | None = running(run) or st.session_state.get(_WATCHED)
    if job is None or job.run != run:
        return None
    st.session_state[_WATCHED] = job
    return job


@st.fragment(run_every=1.0)
def _progress(run: Run) -> None:
    """How far the run's check is; asks for the whole page when it is through."""
    job = _watched(run)
    if job is None:
        return
    if job.finished:
        st.session_state.pop(_WATCHED, None)
        if job.problem:
            st.session_state[_PROBLEM] = job.problem
        st.rerun()
    words = f"{job.kept} of {len(job.features)} features are checked and kept"
    words += f"; {job.done} of {job.total} texts" if job.total else "; getting ready, models are loaded …"
    st.progress(job.done / job.total if job.total else 0.0, words)
    cancelled = job.cancelled.is_set()
    st.button(
        "Stopping after this text …" if cancelled else "Stop",
        icon=":material/stop:",
        key="stop_check",
        on_click=job.cancelled.set,
        disabled=cancelled,
        help="What is checked stays; the feature that is being checked is begun anew the next time.",
    )
