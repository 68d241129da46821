"""Sweeps in the background: one at a time for each run, judged there, too. The result of one is its id."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

from dfc.config import JudgeConfig
from dfc.requests import Sweep
from dfc.runs import Run
from dfc.steering import trials
from dfc.steering.judge import judge_sweep
from dfc.ui.shell.background import Job, Jobs
from dfc.ui.shell.text import count, sentence

JOBS: Jobs[Run, str] = Jobs("sweep")


def start(
    run: Run, make: Callable[[], Sweep] | None, judge: JudgeConfig | None = None, sweep_id: str | None = None
) -> None:
    """Begin a sweep, or the judging of one that is kept, unless one of this run is running; follow it either way."""
    JOBS.follow(run, JOBS.start(run, sweep(run, make, judge, sweep_id)))


def sweep(
    run: Run, make: Callable[[], Sweep] | None, judge: JudgeConfig | None = None, sweep_id: str | None = None
) -> Job[str]:
    """A sweep, and the judging of its answers.

    Args:
        run: whose features are steered, and with which the outputs are kept as they come.
        make: what is to be done; it may load libraries, so the thread asks; None: the sweep is there already.
        judge: who scores the answers, if anybody.
        sweep_id: of a sweep that is there already.
    """
    return Job(partial(_work, run, make, judge), "answers", result=sweep_id)


def _work(run: Run, make: Callable[[], Sweep] | None, judge: JudgeConfig | None, job: Job[str]) -> None:
    if make is not None:
        _steer(run, make(), job)
    if judge is not None and job.result is not None:
        _judge(run, job.result, judge, job)


def _steer(run: Run, sweep: Sweep, job: Job[str]) -> None:
    from dfc.steering.sweeps import run_sweep

    job.tell(total=sweep.outputs)
    with closing(run_sweep(run, sweep)) as steps:
        for step in steps:
            job.result, job.problem = step.sweep_id, step.approximate or None
            written = f"{count(step.tokens)} tokens of the next ones" if step.tokens else ""
            waiting = "somebody else is using the model, waiting …" if step.waiting else ""
            job.tell(" · ".join(part for part in (written, waiting) if part), step.done)


def _judge(run: Run, sweep_id: str, judge: JudgeConfig, job: Job[str]) -> None:
    job.unit = "texts judged"
    job.tell("", 0, 0)
    with closing(judge_sweep(trials.store(run), sweep_id, judge)) as steps:
        for step in steps:
            job.problem = sentence(step.problem) or job.problem
            job.tell("", step.done, step.total)
