"""Sweeps in the background: one at a time for each run, in a thread that outlives the session that began it.

A closed browser does not end a sweep. Every session on its run is shown how far it is, and may cancel it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field

import streamlit as st

from dfc.config import JudgeConfig
from dfc.requests import Sweep
from dfc.runs import Run
from dfc.steering import trials
from dfc.steering.judge import judge_sweep
from dfc.ui.shell.text import failure, sentence

_WATCHED = "steer_job"


@dataclass
class Job:
    """A sweep that runs, or ran, and the judging of its answers.

    Attributes:
        run: whose features are steered, and with which the outputs are kept as they come.
        make: what is to be done; it may load libraries, so the thread asks; None: the sweep is there already.
        judge: who scores the answers, if anybody.
        sweep_id: under which it is kept.
        done, total: outputs, or texts that were judged; total is 0 until it is known.
        tokens: written of the outputs that are to come next.
        waiting: for a model that somebody else is using.
        judging: whether outputs are done, and are being judged.
        problem: why it ended early, or what is approximate in it.
        finished: whether the thread is through.
    """

    run: Run
    make: Callable[[], Sweep] | None
    judge: JudgeConfig | None = None
    sweep_id: str | None = None
    done: int = 0
    total: int = 0
    tokens: int = 0
    waiting: bool = False
    judging: bool = False
    problem: str | None = None
    finished: bool = False
    cancelled: threading.Event = field(default_factory=threading.Event)

    def work(self) -> None:
        """Do it; what goes wrong is kept as one sentence."""
        try:
            if self.make is not None:
                self._sweep(self.make())
            if self.judge is not None and self.sweep_id is not None and not self.cancelled.is_set():
                self._judge(self.judge, self.sweep_id)
        except Exception as error:  # shown by the page: a thread has no other reader
            self.problem = failure(error, "The sweep ended with an error")
        finally:
            self.finished = True

    def _sweep(self, sweep: Sweep) -> None:
        from dfc.steering.sweeps import run_sweep

        self.total = sweep.outputs
        with closing(run_sweep(self.run, sweep)) as steps:
            for step in steps:
                self.sweep_id, self.done, self.waiting = step.sweep_id, step.done, step.waiting
                self.tokens = step.tokens
                self.problem = step.approximate or None
                if self.cancelled.is_set():
                    break

    def _judge(self, judge: JudgeConfig, sweep_id: str) -> None:
        self.done, self.total, self.judging = 0, 0, True
        with closing(judge_sweep(trials.store(self.run), sweep_id, judge)) as steps:
            for step in steps:
                self.done, self.total = step.done, step.total
                self.problem = sentence(step.problem) or self.problem
                if self.cancelled.is_set():
                    break


_jobs: dict[Run, Job] = {}  # the latest of each run in this process
_starting = threading.Lock()


def start(
    run: Run, make: Callable[[], Sweep] | None, judge: JudgeConfig | None = None, sweep_id: str | None = None
) -> None:
    """Begin a sweep, or the judging of one that is kept, unless one of this run is running; watch it either way."""
    with _starting:
        job = running(run)
        if job is None:
            _jobs[run] = job = Job(run, make, judge, sweep_id)
            threading.Thread(target=job.work, daemon=True, name="sweep").start()
    st.session_state[_WATCHED] = job  # even if it has failed by now


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
