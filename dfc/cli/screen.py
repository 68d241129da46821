"""The queue of findings without the app: flags for all of them, and in which order to read them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfc import runs
from dfc.cli.base import app, tell, tell_json

if TYPE_CHECKING:
    from dfc.screen.triage import Candidate
    from dfc.store.book import Decision

_Weight = Annotated[float, typer.Option(min=0, max=4, help="weight of this factor; 0 leaves it out")]


@app.command()
def screen(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    evidence: _Weight = 1,
    readability: _Weight = 1,
    flag: _Weight = 1,
    effect: _Weight = 1,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, a list of what is to be decided on")] = False,
) -> None:
    """Look for the flags of data/screening.yaml in all findings, and print the queue of the page Screen."""
    run = runs.find(name)
    from dfc.report import findings
    from dfc.report.said import named
    from dfc.screen import decided, flags, triage
    from dfc.store.notes import Notebook
    from dfc.store.reader import Store

    kept = flags.screen(run)
    weights = {"evidence": evidence, "readability": readability, "flag": flag, "effect": effect}
    queue = triage.ordered(triage.candidates(run), weights)
    subjects = [one.subject for one in queue]
    held = decided.standing(Notebook(runs.notebook_path()).decisions(run.name), subjects)
    if as_json:
        tell_json([_plain(one, weights, held.get(one.subject.feature_id, {})) for one in queue])
        return
    if not queue:
        store = Store(run.store)
        tell(findings.lacking(store.facts(), store.tested(), run.name).replace("`", ""))
        return
    tell("      score  " + "  ".join(f"{factor:>11}" for factor in triage.FACTORS) + "  feature  model")
    for place, one in enumerate(queue, 1):
        subject, figures = one.subject, [f"{factor.value:11.2f}" for factor in one.factors.values()]
        whose = f"{subject.side.upper()}{'' if subject.finding else ', in no finding'}"
        row = f"{place:4d}  {one.score(weights):5.2f}  {'  '.join(figures)}  {subject.feature_id:7d}  {whose}"
        tell(f"{row}  {subject.title}")
        for mark in one.flags:
            tell(f"             {mark.title}: {mark.reason}")
        for said_by in one.named:
            tell(f"             {named(said_by)}")
        for said in held.get(subject.feature_id, {}).values():
            tell(f"             {_said(said)}")
    tell()
    tell(f"{decided.progress(held, subjects, None)} by anybody; flags beside {kept.sample:,} contexts of all features.")
    for agreement in decided.agreements(held):
        tell(f"{agreement.words}.")


def _said(said: Decision) -> str:
    from dfc.report.words import decision

    return decision(said)


def _plain(one: Candidate, weights: dict[str, float], said: dict[str, Decision]) -> dict[str, Any]:
    """All that is known of one thing to decide on, as plain values."""
    subject = asdict(one.subject)
    return {
        "score": one.score(weights),
        "factors": {name: asdict(factor) for name, factor in one.factors.items()},
        **subject,
        "causal": None if one.checked is None else one.checked.plain(),
        "exclusivity": [way.plain() for way in one.alike],
        "flags": [asdict(mark) | {"reason": mark.reason} for mark in one.flags],
        "flags_named": [asdict(mark) for mark in one.named],
        "explanation": None if one.told.explanation is None else asdict(one.told.explanation),
        "decisions": [asdict(decision) for decision in said.values()],
    }
