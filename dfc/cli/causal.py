"""The causal check of findings: what each model says without a feature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dfc import runs
from dfc.cli.base import Features, app, tell, tell_json, until_stopped
from dfc.config import SIDES

if TYPE_CHECKING:
    from dfc.report.causal import Causal


@app.command()
def causal(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    first: Annotated[int, typer.Option(min=1, help="without --feature: so many findings of each model")] = 10,
    features: Features = None,
    texts: Annotated[int, typer.Option(min=1, help="documents of each, held-out ones first")] = 32,
    positions: Annotated[int, typer.Option(min=1, help="of each text, from the first firing on")] = 32,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, a list of features")] = False,
) -> None:
    """Take findings away, one after another: what changes in each model, on the same texts; goes on where it was."""
    run = runs.find(name)
    from dfc.report import causal as told
    from dfc.report.words import told_apart
    from dfc.screen import causal as check
    from dfc.store.reader import Store

    store = Store(run.store)
    chosen = list(dict.fromkeys(features or check.firsts(store, first)))
    models: Any = store.models()
    names = told_apart(models["name"], {side: f"layer {models.loc[side, 'layer']}" for side in SIDES})

    def show(number: int, found: Causal) -> None:
        tell(f"{number:7d}  {store.feature(number).partition:<6}  {told.sentence(found, names)}")

    before = told.kept(store, chosen)
    with until_stopped("causal: stopped; features that are done are kept, the same command goes on with the others"):
        for number in check.measure(run, chosen, texts, positions):
            before.pop(number, None)
            if not as_json and (found := told.kept(store, [number]).get(number)):
                show(number, found)
    if as_json:
        found_by = told.kept(store, chosen)
        tell_json([{"feature_id": one, **found_by[one].plain()} for one in chosen if one in found_by])
        return
    for number, found in before.items():
        show(number, found)
