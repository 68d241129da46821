"""What features are about: read once, then looked for by meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfc import demo, pipeline, runs
from dfc.cli.base import app, tell
from dfc.config import UserError

_SHOWN = 10


@app.command()
def meaning(
    name: Annotated[str, typer.Argument(metavar="RUN", help="an indexed run's name or folder")],
    search: Annotated[str | None, typer.Option(help="what to look for among its features, in any words")] = None,
    first: Annotated[int, typer.Option(min=1, help="features that are printed")] = _SHOWN,
    model: Annotated[
        Path | None, typer.Option(help="folder of another encoder of sentences than multilingual-e5-small")
    ] = None,
    device: Annotated[str, typer.Option(help="where it computes: cpu, cuda, cuda:N or auto")] = "auto",
) -> None:
    """Read what each feature is about with a small encoder, fetched once; or look among the features by meaning."""
    run = runs.find(name)
    from dfc.store.reader import Store

    if search is None:
        Store(run.store)  # refuses before anything is fetched
        pipeline.meaning(run, model or demo.fetch_embedder(), device)
    else:
        tell(_found(run.store, search, first, device))


def _found(path: Path, words: str, first: int, device: str) -> str:
    """The features that come nearest, a line each."""
    from dfc.report.heatmap import called
    from dfc.screen import encoders
    from dfc.store.reader import FeatureQuery, Store

    store = Store(path)
    facts = store.meaning()
    if lacking := encoders.lacking(path, facts, str(path.parent)):
        raise UserError(f"{path.parent}: {lacking}")
    from dfc.models import embedder
    from dfc.screen import meaning as features_meaning

    near = features_meaning.asked(embedder.load(encoders.folder(facts["model"]), device), facts, words)
    table = store.features(FeatureQuery(near=near, order="likeness", limit=first))
    likeness = store.likeness(near, table["feature_id"].tolist())
    rows = zip(table["feature_id"], table["partition"], table["label"], strict=True)
    return "\n".join(f"{likeness[one]:.2f}  feature {one:<6} {part:<6}  {called(name)}" for one, part, name in rows)
