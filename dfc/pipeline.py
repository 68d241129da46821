"""The stages of a run in their order: what the command line, the demo and the app call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from dfc import parallel, progress
from dfc.activations import harvest
from dfc.config import UserError
from dfc.crosscoder import training
from dfc.features import index
from dfc.runs import STAGES, Run

_STAGES: dict[str, Callable[[Run], None]] = {
    "pair": harvest.pair,
    "harvest": harvest.harvest,
    "train": training.train,
    "index": index.index,
}


def train_in_group(run: Run) -> None:
    """Train in every process that `torchrun` started.

    Raises:
        UserError: if the activations are not there, or another program works on the run.
    """
    done = run.done()
    if not done["harvest"]:
        raise UserError(f"{run.path}: has no activations yet; run `python -m dfc harvest {run.path}` in one process.")
    with parallel.joined() as group, run.lock() if group.leads else nullcontext():
        if done["train"]:
            progress.say("train: done already")
        else:
            training.train(run, group)


def run_stages(run: Run, until: str = STAGES[-1], again: str | None = None) -> None:
    """Do every stage up to `until` that is not done; an interrupted one goes on where it was.

    Args:
        run: its folder.
        until: the last stage.
        again: a stage to do once more even if it is done.

    Raises:
        UserError: from a stage, or if another process works on the run.
    """
    with run.lock():
        for stage in STAGES[: STAGES.index(until) + 1]:
            if run.done()[stage] and stage != again:
                progress.say(f"{stage}: done already")
                continue
            try:
                _STAGES[stage](run)
            except KeyboardInterrupt:
                progress.say(f"\n{stage}: interrupted; start the same command again to go on")
                raise
    for stage, done in run.done().items():
        if not done and STAGES.index(stage) <= STAGES.index(until):
            raise UserError(f"{run.path}: stage `{stage}` left no result; run it again.")
