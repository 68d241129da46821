"""The command line: `python -m dfc`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from dfc import config, demo, doctor, parallel, pipeline, progress, rollouts, runs
from dfc.config import RunConfig, UserError
from dfc.rollouts import Sampling
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
    """Do everything: pair, harvest, train, index, verify. What is done is not done again."""
    sites = _find(name)
    pipeline.run_sites(sites)
    for made in sites if parallel.leads() else ():
        pipeline.verify(made, again=False)
        progress.say(f"{made.path}: ready; open it with `python -m dfc app`.")


@app.command()
def harvest(
    name: RunName,
    repair: Annotated[bool, typer.Option("--repair", help="check all checksums; make again what is damaged")] = False,
) -> None:
    """Pair tokens and collect the activations of both models; under `torchrun`, in several processes at once."""
    sites = _find(name)
    if not repair:
        pipeline.run_sites(sites, until="harvest")
        return
    for found in sites:
        pipeline.repair(found)


@app.command(name="align")
def show_alignment(
    name: RunName,
    report: Annotated[bool, typer.Option("--report", help="how much of the corpus is paired, by source")] = False,
    documents: Annotated[int, typer.Option(min=1, help="documents that the report draws")] = 1_000,
    text: Annotated[str | None, typer.Option(help="a text whose tokens and pairs are shown side by side")] = None,
) -> None:
    """Show how the two models' tokens are paired, in the corpus or in a text; no model is run, nothing is written."""
    from dfc.activations import coverage

    if not report and text is None:
        raise UserError(
            "align: give --report to see how much of the corpus is paired, or --text TEXT to see the pairs of a text."
        )
    settings = _described(name)
    if report:
        print(coverage.as_table(coverage.measure(settings, documents)))
    if text is not None:
        print(coverage.side_by_side(coverage.windows(settings, text)))


@app.command()
def train(name: RunName) -> None:
    """Train the crosscoder, going on from the last checkpoint; under `torchrun`, in several processes at once."""
    pipeline.run_sites(_find(name), until="train")


@app.command()
def index(
    name: RunName,
    again: Annotated[bool, typer.Option("--again", help="write the feature store anew even if there is one")] = False,
) -> None:
    """Write features.duckdb: statistics, contexts and logit lens of every feature."""
    pipeline.run_sites(_find(name), until="index", again="index" if again else None)


@app.command(name="rollouts")
def run_rollouts(
    name: RunName,
    prompts: Annotated[str, typer.Option(help="what is asked: a file, a glob, a folder, or the id of a dataset")],
    samples: Annotated[int, typer.Option(min=1, help="answers of each model to each prompt")] = Sampling.samples,
    tokens: Annotated[int, typer.Option(min=1, help="longest answer")] = Sampling.tokens,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedily")] = Sampling.temperature,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="share of probability drawn from")] = Sampling.top_p,
    seed: Annotated[int, typer.Option(help="of the draws")] = Sampling.seed,
    batch: Annotated[int, typer.Option(min=1, help="answers given together")] = Sampling.batch,
    limit: Annotated[int | None, typer.Option(min=1, help="so many prompts, drawn at random; default: all")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="where the answers are written; default: data/texts/rollouts/RUN")
    ] = None,
) -> None:
    """Sample answers of a run's two models to prompts, as a corpus on which to compare them."""
    described = _described(name)
    sampling = Sampling(samples, tokens, temperature, top_p, seed, batch)
    target = folder or rollouts.default_folder(described)
    made = rollouts.write(described, rollouts.read_prompts(prompts, limit), sampling, target)
    progress.say(f"{target / 'rollouts.yaml'}: a run on these answers; or paste their sources into another:")
    print(rollouts.sources_yaml(made), end="")


@app.command()
def verify(name: RunName) -> None:
    """Judge for every feature whether one model alone has it, and add the evidence to features.duckdb."""
    for found in _find(name):
        pipeline.verify(found)


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
    pipeline.verify(made, again=False)
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
def null(name: Annotated[str, typer.Argument(metavar="RUN", help="a harvested run's name or folder")]) -> None:
    """Compare a run's model A with itself, rotated: how many features does the evidence falsely call exclusive?"""
    from dfc.worlds import null

    found = null.null(runs.find(name))
    print(f"{found.exclusive} of {found.dedicated} dedicated features ({found.share:.1%}) came out exclusive; none is.")


@app.command()
def choices(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a harvested run's name or folder")] = "demo",
    folder: Annotated[Path, typer.Option(help="where choices.md is written")] = Path("docs"),
    workers: Annotated[int, typer.Option(min=1, help="toy worlds trained side by side")] = os.cpu_count() or 1,
    steps: Annotated[int | None, typer.Option(min=1, help="steps on the run; as many as it says")] = None,
) -> None:
    """Train a crosscoder for each setting that is open, on toy worlds and on a run, and write docs/choices.md."""
    from dfc.worlds import choices

    print(choices.write(runs.find(name), folder, workers, steps))


@app.command()
def bench(
    name: Annotated[Literal["train", "align", "harvest"], typer.Argument(help="what to measure")],
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of a table")] = False,
) -> None:
    """Measure side by side with the floor and a peer."""
    from dfc.bench import align, figures, harvest, train

    measured = {"train": train.run, "align": align.run, "harvest": harvest.run}[name]()
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
        if parallel.leads():
            progress.say(f"dfc: {error}")
        sys.exit(2)


def _find(name: str) -> list[Run]:
    """The run of a name or a folder, or those that a YAML describes, one for each layer, made if need be."""
    if _is_yaml(name):
        # One of several processes makes the folders; the others meet it before they read them.
        return [runs.create(site) if parallel.leads() else runs.of(site) for site in config.load_sites(Path(name))]
    return [runs.find(name)]


def _described(name: str) -> RunConfig:
    """Settings of the run of a name or a folder, or of the first that a YAML describes; none is made."""
    return config.load_sites(Path(name))[0] if _is_yaml(name) else runs.find(name).config()


def _is_yaml(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))
