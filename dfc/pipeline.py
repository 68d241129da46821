"""The stages of a run in their order: what the command line, the demo and the app call."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from dfc import parallel, progress
from dfc.activations import harvest, pairing
from dfc.config import UserError
from dfc.crosscoder import training
from dfc.features import index
from dfc.features import verify as evidence
from dfc.parallel import Group
from dfc.runs import STAGES, Run

_STAGES: dict[str, Callable[[Run, Group], None]] = {
    "pair": lambda run, group: pairing.pair(run) if group.leads else None,
    "harvest": harvest.harvest,
    "train": training.train,
    "index": lambda run, group: index.index(run) if group.leads else None,
}


def run_stages(run: Run, until: str = STAGES[-1], again: str | None = None) -> None:
    """Do every stage up to `until` that is not done; an interrupted one goes on where it was.

    Under `torchrun`, its processes share what can be shared, and the first does the rest.

    Args:
        run: its folder.
        until: the last stage.
        again: a stage to do once more even if it is done.

    Raises:
        UserError: from a stage, or if another program works on the run.
    """
    with parallel.joined() as group, run.lock() if group.leads else nullcontext():
        for stage in STAGES[: STAGES.index(until) + 1]:
            # Asked for together, before any process begins: all do the same.
            if group.least(run.done()[stage] and stage != again):
                if group.leads:
                    progress.say(f"{stage}: done already")
                continue
            try:
                _STAGES[stage](run, group)
            except KeyboardInterrupt:
                progress.say(f"\n{stage}: interrupted; start the same command again to go on")
                raise
            group.wait()
    for stage, done in run.done().items():
        if not done and STAGES.index(stage) <= STAGES.index(until):
            raise UserError(f"{run.path}: stage `{stage}` left no result; run it again.")


def repair(run: Run) -> None:
    """Make again what is damaged in a run's activations, and nothing else.

    Raises:
        UserError: if it cannot be, or another program works on the run.
    """
    with run.lock():
        found = harvest.repair(run)
    for sentence in found:
        progress.say(sentence.split("; ")[0])
    progress.say(f"{run.path}: {len(found) or 'no'} damaged files; the activations are whole.")


def verify(run: Run) -> None:
    """Put the evidence for each feature into a run's feature store, anew if it is there.

    Raises:
        UserError: if the run is not indexed, or another program works on it.
    """
    with run.lock():
        evidence.verify(run)
