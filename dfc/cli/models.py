"""What is done with the models of a run beside comparing them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfc.cli.base import RunName, app, described
from dfc.machine import progress
from dfc.requests import RolloutSampling


@app.command(name="rollouts")
def run_rollouts(
    name: RunName,
    prompts: Annotated[str, typer.Option(help="what is asked: a file, a glob, a folder, or the id of a dataset")],
    samples: Annotated[int, typer.Option(min=1, help="answers of each model to each prompt")] = RolloutSampling.samples,
    tokens: Annotated[int, typer.Option(min=1, help="longest answer")] = RolloutSampling.tokens,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedily")] = RolloutSampling.temperature,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="share of probability drawn from")] = RolloutSampling.top_p,
    seed: Annotated[int, typer.Option(help="of the draws")] = RolloutSampling.seed,
    batch: Annotated[
        int | None, typer.Option(min=1, help="answers given together; default: as many as memory allows")
    ] = RolloutSampling.batch,
    limit: Annotated[int | None, typer.Option(min=1, help="so many prompts, drawn at random; default: all")] = None,
    split: Annotated[str, typer.Option(help="of a dataset of prompts that has splits")] = "train",
    folder: Annotated[
        Path | None, typer.Option(help="where the answers are written; default: data/texts/rollouts/RUN")
    ] = None,
) -> None:
    """Sample answers of a run's two models to prompts, as a corpus on which to compare them."""
    settings = described(name)
    from dfc.models import rollouts

    sampling = RolloutSampling(samples, tokens, temperature, top_p, seed, batch)
    target = folder or rollouts.default_folder(settings)
    made = rollouts.write(settings, rollouts.read_prompts(prompts, limit, split), sampling, target)
    progress.say(f"{target / 'rollouts.yaml'}: a run on these answers; or paste their sources into another:")
    print(rollouts.sources_yaml(made), end="")
