"""The causal check from the page: in the background, one at a time for each run.

Each feature is kept as it is done; what was stopped goes on with those that are left.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import partial

import streamlit as st

from dfc.runs import Run
from dfc.screen.triage import Candidate
from dfc.ui.shell import background
from dfc.ui.shell.background import Job, Jobs
from dfc.ui.shell.text import plain

FIRST = 10
"""Of the queue, that are checked at once."""
JOBS: Jobs[Run, int] = Jobs("causal check")


def start(run: Run, features: Sequence[int]) -> None:
    """Begin a check, unless one of this run is running; follow it either way."""
    JOBS.follow(run, JOBS.start(run, check(run, features)))


def check(run: Run, features: Sequence[int]) -> Job[int]:
    """A check of features, in this order; its result is how many of them are done and kept."""
    return Job(partial(_check, run, tuple(features)), "texts")


def _check(run: Run, features: tuple[int, ...], job: Job[int]) -> None:
    from dfc.screen import causal  # which loads torch

    job.result = 0

    def step(done: int, total: int) -> None:
        job.tell(f"{job.result} of {len(features)} features are checked and kept", done, total)

    with closing(causal.measure(run, features, step=step)) as steps:
        for number, _ in enumerate(steps, 1):
            job.result = number


def show(run: Run, queue: Sequence[Candidate]) -> None:
    """Draw how far a check is, or the button that begins one of those first in the queue that lack it."""
    job = JOBS.followed(run)
    if job is not None and not job.finished:
        background.progress(
            job, "What is checked stays; the feature that is being checked is begun anew the next time."
        )
        return
    if job is not None:
        JOBS.forget()
        if job.problem:
            st.warning(plain(job.problem), icon=":material/block:")
    lacking = [one.subject.feature_id for one in queue[:FIRST] if one.checked is None]
    if not lacking:
        return
    first = len(queue[:FIRST])
    which = f"the first {first}" if len(lacking) == first else f"{len(lacking)} of the first {first}"
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
