"""The paper's exclusivity score: a feature carried over by the stitch, and how alike both models then write."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dfc import demo, runs
from dfc.cli.base import Features, app, tell, tell_json, until_stopped
from dfc.config import SIDES, UserError
from dfc.runs import Run

if TYPE_CHECKING:
    from dfc.screen.exclusivity import Way


@app.command()
def exclusivity(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder; it needs a stitch, from verify")],
    first: Annotated[int, typer.Option(min=1, help="without --feature: so many of each model, the surest first")] = 5,
    features: Features = None,
    strength: Annotated[
        list[float] | None, typer.Option(help="may be given several times; default: 1 to 10, as in the paper")
    ] = None,
    prompts: Annotated[str, typer.Option(help="a set that ships, or a file of prompts")] = "open",
    tokens: Annotated[int, typer.Option(min=1, help="longest text")] = 200,
    by: Annotated[
        Literal["judge", "encoder"] | None,
        typer.Option(help="who tells how alike texts are; default: the judge if run.yaml names one, or the encoder"),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="folder of another encoder of sentences than multilingual-e5-small")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, a list of features")] = False,
) -> None:
    """Steer both models with features of one of them, and tell how alike they write; goes on where it was."""
    run = runs.find(name)
    from dfc.report import exclusivity as told
    from dfc.screen import exclusivity as score
    from dfc.screen.exclusivity import Setting
    from dfc.steering import prompt_sets, sweeps
    from dfc.store.reader import Store

    store = Store(run.store)
    chosen = features or [one for side in SIDES for one in sweeps.exclusive_features(run, side, first)]
    strengths = tuple(dict.fromkeys(strength)) if strength else score.STRENGTHS
    setting = Setting(strengths, tuple(prompt_sets.read(prompts)), tokens)
    done = []
    way = _way(run, by, model)
    with until_stopped("exclusivity: stopped; batches of texts that are done are kept, the same command goes on"):
        for number in score.measure(run, list(dict.fromkeys(chosen)), setting, way):
            done.append(number)
            if not as_json:
                for one in told.kept(store, [number]).get(number, ()):
                    tell(f"{number:7d}  {store.feature(number).partition}  {told.sentence(one)}")
    if as_json:
        found = told.kept(store, done)
        tell_json([{"feature_id": one, "ways": [way.plain() for way in found.get(one, ())]} for one in done])


def _way(run: Run, by: str | None, folder: Path | None) -> Way:
    from dfc.screen import likeness

    judge = run.config().judge
    if by == "judge" and judge is None:
        raise UserError(f"{run.path}: its run.yaml names no judge; add the section `judge`, or give --by encoder.")
    if judge is not None and by != "encoder":
        return likeness.by_judge(judge)
    from dfc.models import embedder

    return likeness.by_encoder(embedder.load(folder or demo.fetch_embedder()))
