"""The stages of a run, together and one by one."""

from __future__ import annotations

from typing import Annotated

import typer

from dfc import pipeline
from dfc.cli.base import RunName, app, described, find, tell
from dfc.config import UserError
from dfc.machine import processes, progress


@app.command()
def run(name: RunName) -> None:
    """Do everything: pair, harvest, train, encode, index, verify. What is done is not done again."""
    sites = find(name)
    with processes.joined():  # once: those that have parted do not meet again
        pipeline.run_sites(sites)
        for made in sites:
            pipeline.verify(made, again=False)
            if processes.leads():
                progress.say(f"{made.path}: ready; open it with `python -m dfc app`.")


@app.command()
def harvest(
    name: RunName,
    repair: Annotated[bool, typer.Option("--repair", help="check all checksums; make again what is damaged")] = False,
) -> None:
    """Pair tokens and collect the activations of both models; under `torchrun`, in several processes at once."""
    sites = find(name)
    if not repair:
        pipeline.run_sites(sites, until="harvest")
        return
    for site in sites:
        pipeline.repair(site)


@app.command(name="align")
def show_alignment(
    name: RunName,
    report: Annotated[bool, typer.Option("--report", help="how much of the corpus is paired, by source")] = False,
    documents: Annotated[int, typer.Option(min=1, help="documents that the report draws")] = 1_000,
    text: Annotated[str | None, typer.Option(help="a text whose tokens and pairs are shown side by side")] = None,
) -> None:
    """Show how the two models' tokens are paired, in the corpus or in a text; no model is run, nothing is written."""
    if not report and text is None:
        raise UserError(
            "align: give --report to see how much of the corpus is paired, or --text TEXT to see the pairs of a text."
        )
    settings = described(name)
    from dfc.activations import coverage

    if report:
        tell(coverage.as_table(coverage.measure(settings, documents)))
    if text is not None:
        tell(coverage.side_by_side(coverage.windows(settings, text)))


@app.command()
def train(name: RunName) -> None:
    """Train the crosscoder, going on from the last checkpoint; under `torchrun`, in several processes at once."""
    pipeline.run_sites(find(name), until="train")


@app.command()
def encode(name: RunName) -> None:
    """Encode all pairs, which index and verify read; under `torchrun`, in several processes at once."""
    pipeline.run_sites(find(name), until="encode")


@app.command()
def index(
    name: RunName,
    again: Annotated[bool, typer.Option("--again", help="write the feature store anew even if there is one")] = False,
) -> None:
    """Write features.duckdb: statistics, contexts and logit lens of every feature; under `torchrun`, partly shared."""
    stage = "index" if again else None
    pipeline.run_sites(find(name, stage), until="index", again=stage)


@app.command()
def verify(
    name: RunName,
    without_surprise: Annotated[
        bool, typer.Option("--without-surprise", help="judge by probes and correlations alone; no model is run")
    ] = False,
) -> None:
    """Judge for every feature whether one model alone has it, and write evidence.duckdb; under `torchrun`, shared."""
    sites = find(name)
    with processes.joined():
        for site in sites:
            pipeline.verify(site, surprised=not without_surprise)
