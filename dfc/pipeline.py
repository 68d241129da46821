"""The stages of a run in their order: what the command line, the demo and the app call.

A stage is imported when it is done: all of them load torch, which takes seconds, and the command line has errors to say
and stages to skip before that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from dfc.config import UserError
from dfc.machine import processes, progress, threads
from dfc.machine.processes import Group
from dfc.runs import STAGES, Run


def run_stages(run: Run, until: str = STAGES[-1], again: str | None = None) -> None:
    """Do every stage of one run up to `until` that is not done; an interrupted one goes on where it was.

    Args:
        run: its folder.
        until: the last stage.
        again: a stage to do once more even if it is done.

    Raises:
        UserError: from a stage, or if another program works on the run, or its processes cannot share the work.
    """
    run_sites([run], until, again)


def run_sites(sites: Sequence[Run], until: str = STAGES[-1], again: str | None = None) -> None:
    """The same for runs that differ in their layers alone: texts are paired once, and each model runs once for all.

    Under `torchrun`, its processes share what can be shared, and the first does the rest.
    """
    stages = STAGES[: STAGES.index(until) + 1]
    with processes.joined() as group, ExitStack() as locks:
        group.wait()  # the first has made the folders
        for run in sites:
            if "harvest" in stages and not run.done()["harvest"]:
                from dfc.activations import harvest

                harvest.check_processes(run, group)
        for run in sites if group.leads else ():
            locks.enter_context(run.lock())
        for stage in stages:
            # Asked for together, before any process begins: all do the same.
            missing = [run for run in sites if not group.least(run.done()[stage] and stage != again)]
            if not missing:
                if group.leads:
                    progress.say(f"{stage}: done already")
                continue
            threads.settle()
            try:
                _STAGES[stage](missing, group)
            except KeyboardInterrupt:
                progress.say(f"\n{stage}: interrupted; start the same command again to go on")
                raise
            group.wait()
    for run in sites:
        for stage in stages:
            if not run.done()[stage]:
                raise UserError(f"{run.path}: stage `{stage}` left no result; run it again.")


def repair(run: Run) -> None:
    """Make again what is damaged in a run's activations, and nothing else.

    Raises:
        UserError: if it cannot be, or another program works on the run.
    """
    from dfc.activations import harvest

    with run.lock():
        problems = harvest.repair(run)
    for problem in problems:
        progress.say(problem)
    made = f"{len(problems)} files made again" if problems else "no damaged files"
    progress.say(f"{run.path}: {made}; the activations are whole.")


def verify(run: Run, again: bool = True, surprised: bool = True) -> None:
    """Write the evidence for each feature beside a run's feature store; anew if it is there, unless not `again`.

    Under `torchrun`, its processes share the shards, and the first does the rest.

    Args:
        run: indexed.
        again: also if there is evidence for these features.
        surprised: whether both models are run, to see how surprised each is by the text.

    Raises:
        UserError: if the run is not indexed, a model does not load, or another program works on it.
    """
    from dfc.store.reader import Store

    with processes.joined() as group, ExitStack() as locks:
        # Asked for together, before the first begins to write.
        facts = Store(run.store).facts()
        if group.least(not again and bool(facts.get("verified"))):
            if group.leads and facts.get("evidence") != run.config().evidence.model_dump(mode="json"):
                progress.say(
                    f"verify: done with other settings; `python -m dfc verify {run.name}` takes up those of now"
                )
            return
        from dfc.evidence import verify as evidence

        threads.settle()
        if group.leads:
            locks.enter_context(run.lock())
        evidence.verify(run, surprised, group)
        group.wait()


def meaning(run: Run, encoder: Path, device: str = "auto") -> None:
    """Write beside a run's features what each is about, so that they can be looked for by meaning; anew if it is there.

    Args:
        run: indexed.
        encoder: the folder of a sentence-embedding model.
        device: where it computes.

    Raises:
        UserError: if the run is not indexed, the encoder does not load, or another program works on the run.
    """
    from dfc.models import embedder
    from dfc.screen import meaning as features_meaning

    threads.settle()
    with run.lock():
        features_meaning.write(run, embedder.load(encoder, device))


def _pair(sites: Sequence[Run], group: Group) -> None:
    if group.leads:
        from dfc.activations import pairing

        pairing.pair(sites[0], len(sites))
        pairing.share(sites[0], sites[1:])


def _harvest(sites: Sequence[Run], group: Group) -> None:
    from dfc.activations import harvest

    harvest.harvest(sites, group)


def _train(sites: Sequence[Run], group: Group) -> None:
    from dfc.crosscoder import training

    for run in sites:
        training.train(run, group)


def _encode(sites: Sequence[Run], group: Group) -> None:
    from dfc.features import encoding

    for run in sites:
        encoding.encode(run, group)


def _index(sites: Sequence[Run], group: Group) -> None:
    from dfc.features import index

    for run in sites:
        index.index(run, group)


_STAGES: dict[str, Callable[[Sequence[Run], Group], None]] = {
    "pair": _pair,
    "harvest": _harvest,
    "train": _train,
    "encode": _encode,
    "index": _index,
}
