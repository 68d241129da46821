"""The queue of findings without the app: flags for all of them, in which order to read them, and own words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfc import runs
from dfc.cli import own_words
from dfc.cli.base import app, tell, tell_json
from dfc.config import Side, UserError
from dfc.machine import progress
from dfc.runs import Run

if TYPE_CHECKING:
    from dfc.screen.flags import Screening
    from dfc.screen.triage import Candidate
    from dfc.store.book import Decision
    from dfc.store.own_words import Seen

_SHOWN = 10  # continuations of each model
_OfRollouts = Annotated[int | None, typer.Option(min=1, help="with --rollouts: how many; default 64")]
_Weight = Annotated[float, typer.Option(min=0, max=4, help="weight of this factor; 0 leaves it out")]


@app.command()
def screen(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    evidence: _Weight = 1,
    readability: _Weight = 1,
    flag: _Weight = 1,
    effect: _Weight = 1,
    rollouts: Annotated[
        bool, typer.Option("--rollouts", help="let both models go on from beginnings, and rank what they write instead")
    ] = False,
    beginnings: _OfRollouts = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="with --rollouts: longest continuation; default 64")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="with --rollouts: of the draws; default 0")] = None,
    prompts: Annotated[
        str | None, typer.Option(help="with --rollouts: a shipped set, a file or a folder; default: the run's corpus")
    ] = None,
    first: Annotated[
        int | None,
        typer.Option(min=1, help="with --rollouts: continuations of each that are printed; default 10"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print JSON: a list of what is to be decided on; with --rollouts an object")
    ] = False,
) -> None:
    """Look for the flags of data/screening.yaml in all findings, and print the queue of the page Screen.

    With --rollouts: what each model says itself, those continuations first that the other would least have said.
    """
    weights = {"evidence": evidence, "readability": readability, "flag": flag, "effect": effect}
    asked = {"beginnings": beginnings, "tokens": tokens, "seed": seed, "prompts": prompts, "first": first}
    asked = {option: value for option, value in asked.items() if value is not None}
    other = asked if not rollouts else {name: weight for name, weight in weights.items() if weight != 1}
    if other:
        raise UserError(f"screen: --{next(iter(other))} goes {'without' if rollouts else 'with'} --rollouts.")
    run = runs.find(name)
    if rollouts:
        _rollouts(run, asked, as_json)
        return
    from dfc.report import findings
    from dfc.screen import decided, flags, near, triage
    from dfc.screen.queue import counted
    from dfc.store.notes import Notebook
    from dfc.store.own_words import OwnWords
    from dfc.store.reader import Store

    try:
        kept: Screening | None = flags.screen(run)
    except (UserError, OSError) as error:  # the queue is there all the same, where its findings can be read
        kept = flags.read(run)
        progress.say(f"flags were not looked for anew: {error}")
    try:
        decisions = Notebook(runs.notebook_path()).read().of(run.name).decisions
    except UserError as error:
        decisions = ()
        progress.say(f"decisions are left out: {error}")
    queue = triage.ordered(triage.candidates(run), weights)
    subjects = [one.subject for one in queue]
    held = decided.standing(decisions, subjects)
    seen = OwnWords(run.store).seen([(one.feature_id, one.side) for one in subjects])
    if as_json:
        tell_json([_plain(one, weights, held.get(one.subject.feature_id, {}), seen) for one in queue])
        return
    if not queue:
        store = Store(run.store)
        tell(findings.lacking(store.facts(), store.tested(), run.name).replace("`", ""))
        return
    names = own_words.names(run)
    tell(counted(subjects))
    tell("      score  " + "  ".join(f"{factor:>11}" for factor in triage.FACTORS) + "  feature  model")
    for place, one in enumerate(queue, 1):
        subject, figures = one.subject, [f"{factor.value:11.2f}" for factor in one.factors.values()]
        whose = f"{subject.side.upper()}{'' if subject.finding else ', in no finding'}"
        row = f"{place:4d}  {one.score(weights):5.2f}  {'  '.join(figures)}  {subject.feature_id:7d}  {whose}"
        tell(f"{row}  {subject.title}")
        for line in _known(one, held.get(subject.feature_id, {}), seen, names):
            tell(f"             {line}")
    tell()
    beside = "" if kept is None else f"; flags beside {kept.sample:,} contexts of all features"
    tell(f"{decided.progress(held, subjects, None)} by anybody{beside}.")
    if lacking := near.lacking(Store(run.store).meaning(), run.name):
        tell(f"Flags were {lacking.replace('`', '')}.")
    for agreement in decided.agreements(held):
        tell(f"{agreement.words}.")


def _rollouts(run: Run, asked: dict[str, Any], as_json: bool) -> None:
    """Let both models go on, and print what came of it."""
    first = asked.pop("first", _SHOWN)
    from dfc.screen.own_words import Asked, write

    write(run, Asked(**asked))
    if as_json:
        tell_json(own_words.plain(run, first))
    else:
        own_words.show(run, first)


def _known(
    one: Candidate, said: Mapping[str, Decision], seen: Mapping[int, Seen], names: Mapping[Side, str]
) -> Iterator[str]:
    """What is known of one thing to decide on, a line each: its flags, where its model wrote it, what was decided."""
    from dfc.report.said import named
    from dfc.report.words import decision, in_own_words

    yield from (f"{mark.title}: {mark.reason}" for mark in one.flags)
    yield from (f"{mark.title}, in meaning: {mark.reason}" for mark in one.near)
    yield from map(named, one.named)
    if one.subject.feature_id in seen:
        yield in_own_words(seen[one.subject.feature_id], one.subject.side, names)
    yield from map(decision, said.values())


def _plain(
    one: Candidate, weights: dict[str, float], said: dict[str, Decision], seen: dict[int, Seen]
) -> dict[str, Any]:
    """All that is known of one thing to decide on, as plain values."""
    subject = asdict(one.subject)
    return {
        "score": one.score(weights),
        "factors": {name: asdict(factor) for name, factor in one.factors.items()},
        **subject,
        "causal": None if one.checked is None else one.checked.plain(),
        "exclusivity": [way.plain() for way in one.alike],
        "flags": [asdict(mark) | {"reason": mark.reason} for mark in one.flags],
        "flags_near": [asdict(mark) | {"reason": mark.reason} for mark in one.near],
        "flags_named": [asdict(mark) for mark in one.named],
        "explanation": None if one.told.explanation is None else asdict(one.told.explanation),
        "decisions": [asdict(decision) for decision in said.values()],
        "own_words": asdict(seen[one.subject.feature_id]) if one.subject.feature_id in seen else None,
    }
