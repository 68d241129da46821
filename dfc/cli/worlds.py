"""Worlds whose truth is known, and experiments on them."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal

import typer

from dfc import runs
from dfc.cli.base import app

NULL_SEED = 3
"""Of the planted world whose model A is trained from two seeds."""


@app.command()
def toy(
    preset: Annotated[
        Literal["small", "paper"], typer.Option(help="some minutes on two cores, or the paper's size")
    ] = "small",
    folder: Annotated[Path, typer.Option(help="where toy.md and its figures are written")] = Path("docs"),
    workers: Annotated[int, typer.Option(min=1, help="worlds trained side by side")] = os.cpu_count() or 1,
    evidence: Annotated[bool, typer.Option("--evidence", help="compare the verdict with the rule of norms")] = False,
) -> None:
    """Train every kind of crosscoder on worlds with known truth, write docs/toy.md; or judge, docs/toy-evidence.md."""
    from dfc.worlds import toy_evidence, toy_experiment

    print((toy_evidence if evidence else toy_experiment).main(preset, folder, workers))


@app.command()
def null(name: Annotated[str, typer.Argument(metavar="RUN", help="a harvested run's name or folder")]) -> None:
    """Compare a run's model A with itself, rotated: how many features does the evidence falsely call exclusive?"""
    run = runs.find(name)
    from dfc.worlds import null

    result = null.null(run)
    print(
        f"{result.exclusive} of {result.dedicated} dedicated features ({result.share:.1%}) came out exclusive; none is."
    )


@app.command()
def stability(
    names: Annotated[list[str], typer.Argument(metavar="RUN...", help="trained runs over the same pairs")],
    seeds: Annotated[int, typer.Option(min=0, help="train so many runs more, as the first but for the seed")] = 0,
) -> None:
    """Match the features of several runs: in how many of them does each finding recur?"""
    given = [runs.find(name) for name in names]
    from dfc.worlds import stability

    given += stability.more_seeds(given[0], seeds)
    stability.say(given, stability.compare(given))


@app.command()
def calibration(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a verified run's name or folder")] = "demo",
    folder: Annotated[Path, typer.Option(help="where calibration.md and its figures are written")] = Path("docs"),
) -> None:
    """Write docs/calibration.md: what a run's evidence is to be read against, its null run and its stability."""
    run = runs.find(name)
    from dfc.worlds import calibration

    print(calibration.write(run, folder))


@app.command()
def choices(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a harvested run's name or folder")] = "demo",
    folder: Annotated[Path, typer.Option(help="where choices.md is written")] = Path("docs"),
    workers: Annotated[int, typer.Option(min=1, help="toy worlds trained side by side")] = os.cpu_count() or 1,
    steps: Annotated[int | None, typer.Option(min=1, help="steps on the run; as many as it says")] = None,
) -> None:
    """Train a crosscoder for each setting that is open, on toy worlds and on a run, and write docs/choices.md."""
    run = runs.find(name)
    from dfc.worlds import choices

    print(choices.write(run, folder, workers, steps))


@app.command()
def planted(
    seeds: Annotated[int, typer.Option(min=1, help="worlds, each with two models of its own")] = 3,
    first: Annotated[int, typer.Option(min=0, help="seed of the first world")] = 3,
    folder: Annotated[Path, typer.Option(help="where planted.md is written")] = Path("docs"),
    workers: Annotated[int, typer.Option(min=1, help="worlds made side by side")] = os.cpu_count() or 1,
) -> None:
    """Train pairs of small models that differ in what was planted in them, and write docs/planted.md: is it found?"""
    from dfc.worlds import planted, planted_report

    setting = planted.Setting()
    results = planted.run(range(first, first + seeds), setting, workers)
    print(planted_report.summary(results))
    print(f"\n{planted_report.met(results)}\n")
    print(planted_report.write(results, setting, folder, f"python -m dfc planted --seeds {seeds} --first {first}"))


@app.command()
def organisms(
    only: Annotated[list[str] | None, typer.Option(help="one quirk; may be repeated; default: all eight")] = None,
    nulls: Annotated[bool, typer.Option("--nulls/--no-nulls", help="judge the nulls with signal, too")] = True,
    folder: Annotated[Path, typer.Option(help="for organisms.md, and in organisms/ what came of each")] = Path("docs"),
    training_only: Annotated[bool, typer.Option("--training-only", help="train and check; compare nothing")] = False,
) -> None:
    """Put narrow quirks into the demo's model A, look whether they are found, and write docs/organisms.md."""
    from dfc import demo
    from dfc.organisms import page, quirks, setting, study
    from dfc.worlds import planted

    names = quirks.chosen(only)
    demo.fetch()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is local now
    how = setting.demo_setting(folder / "organisms")
    setting.keep(how)
    if training_only:
        steps = study.train(how, names)
    else:
        steps = chain(study.run(how, names), study.run_nulls(how, planted.Setting(), NULL_SEED) if nulls else ())
    for _ in steps:  # after each there is a page of what is known so far
        path = page.write(page.read(how.results), how, folder, "python -m dfc organisms")
    print(page.summary(page.read(how.results)))
    print(path)
