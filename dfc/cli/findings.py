"""The findings of a run without the app."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dfc import runs
from dfc.cli.base import app, tell, tell_json
from dfc.config import SIDES, characters


@app.command()
def findings(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    first: Annotated[int, typer.Option(min=1, help="findings of each model, the surest first")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, a list of findings")] = False,
) -> None:
    """Print where one model does better than in like texts: gap, label, what is claimed, and a context of each."""
    run = runs.find(name)
    from dfc.report import findings as found
    from dfc.report.heatmap import called
    from dfc.store.reader import Store

    store = Store(run.store)
    everything = found.of(store)
    chosen = [one for side in SIDES for one in everything if one.side == side and one.rank <= first]
    contexts = store.strongest_contexts([one.feature_id for one in chosen])
    quotes = {
        identity: found.quoted(contexts[identity], one.side)
        for one in chosen
        if (identity := one.feature_id) in contexts
    }
    if as_json:
        told = [
            asdict(one)
            | {
                "claim": found.claim(one),
                "peak_tokens": store.feature(one.feature_id).peak_tokens,
                "context": quotes.get(one.feature_id),
            }
            for one in chosen
        ]
        tell_json(told)
        return
    facts, tested = store.facts(), store.tested()
    if not everything:
        tell(found.lacking(facts, tested, run.name).replace("`", ""))
        return
    models = {side: characters.shown(name) for side, name in store.models()["name"].items()}
    for side in SIDES:
        own = [one for one in everything if one.side == side]
        tell(f"{side.upper()}  {models[side]}  {found.counts(own)}")
        for one in (one for one in chosen if one.side == side):
            tell(f"\n{one.rank:4d}  {called(one.label)}")
            for line in found.lines(one, quotes.get(one.feature_id)):
                tell(f"      {line}")
        tell()
    tell(found.settings(facts, tested))
