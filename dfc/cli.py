"""The command line: `python -m dfc`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dfc import config, demo, doctor, pipeline, progress, runs
from dfc.config import UserError
from dfc.runs import Run

app = typer.Typer(
    help="What does one language model know or do that another does not? See README.md for the path through a run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_APP = Path(__file__).parent.parent / "app.py"

RunName = Annotated[str, typer.Argument(metavar="RUN", help="a run's name, folder or YAML; see data/presets/")]
Port = Annotated[int, typer.Option(help="port of the app on localhost")]


@app.command()
def run(name: RunName) -> None:
    """Do everything: pair, harvest, train, index. What is done is not done again."""
    made = _find(name)
    pipeline.run_stages(made)
    progress.say(f"{made.path}: ready; open it with `python -m dfc app`.")


@app.command()
def harvest(
    name: RunName,
    repair: Annotated[bool, typer.Option("--repair", help="check all checksums; make again what is damaged")] = False,
) -> None:
    """Pair tokens and collect the activations of both models; under `torchrun`, in several processes at once."""
    found = _find(name)
    if repair:
        pipeline.repair(found)
    else:
        pipeline.run_stages(found, until="harvest")


@app.command()
def train(name: RunName) -> None:
    """Train the crosscoder, going on from the last checkpoint; under `torchrun`, in several processes at once."""
    pipeline.run_stages(_find(name), until="train")


@app.command()
def index(
    name: RunName,
    again: Annotated[bool, typer.Option("--again", help="write the feature store anew even if there is one")] = False,
) -> None:
    """Write features.duckdb: statistics, contexts and logit lens of every feature."""
    pipeline.run_stages(_find(name), until="index", again="index" if again else None)


@app.command()
def verify(name: RunName) -> None:
    """Judge for every feature whether one model alone has it, and add the evidence to features.duckdb."""
    pipeline.verify(_find(name))


@app.command(name="demo")
def run_demo(
    port: Port = 8501,
    open_app: Annotated[bool, typer.Option("--app/--no-app", help="open the app at the end")] = True,
) -> None:
    """Fetch two small real models and texts, do everything, and open the app."""
    made = runs.create(config.load(demo.PRESET))
    if not made.done()["index"]:
        demo.fetch()
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is local now
        pipeline.run_stages(made)
    if open_app:
        open_in_browser(port)


@app.command(name="app")
def open_in_browser(port: Port = 8501) -> None:
    """Open the app on the runs of this machine."""
    raise typer.Exit(subprocess.call([sys.executable, "-m", "streamlit", "run", str(_APP), "--server.port", str(port)]))


@app.command()
def toy(
    preset: Annotated[
        Literal["small", "paper"], typer.Option(help="some minutes on two cores, or the paper's size")
    ] = "small",
    folder: Annotated[Path, typer.Option(help="where toy.md and its figures are written")] = Path("docs"),
    workers: Annotated[int, typer.Option(min=1, help="worlds trained side by side")] = os.cpu_count() or 1,
) -> None:
    """Train every kind of crosscoder on worlds with known truth and write docs/toy.md."""
    from dfc.worlds import toy_experiment

    print(toy_experiment.main(preset, folder, workers))


@app.command()
def choices(
    name: RunName = "demo",
    folder: Annotated[Path, typer.Option(help="where choices.md is written")] = Path("docs"),
    workers: Annotated[int, typer.Option(min=1, help="toy worlds trained side by side")] = os.cpu_count() or 1,
) -> None:
    """Train a crosscoder for each setting that is open, on toy worlds and on a run, and write docs/choices.md."""
    from dfc.worlds import choices

    print(choices.write(_find(name), folder, workers))


@app.command()
def bench(
    name: Annotated[Literal["train"], typer.Argument(help="what to measure")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of a table")] = False,
) -> None:
    """Measure side by side with the floor and a peer."""
    from dfc.bench import figures, train

    measured = {"train": train.run}[name]()
    print(figures.as_json(name, measured) if as_json else figures.as_table(name, measured))


@app.command(name="doctor")
def run_doctor() -> None:
    """Print versions, cores, memory, models and runs, and what is missing."""
    print(doctor.report())


def main() -> None:
    """Run the command line; what the user can mend is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":  # one of several processes speaks for all
            progress.say(f"dfc: {error}")
        sys.exit(2)


def _find(name: str) -> Run:
    """The run of a name or a folder, or the one that a YAML describes, made if need be."""
    if name.endswith((".yaml", ".yml")):
        return runs.create(config.load(Path(name)))
    return runs.find(name)
