"""Whether a behaviour differs between the models without any steering."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dfc import runs
from dfc.cli.base import app, tell, tell_json, until_stopped
from dfc.config import SIDES, UserError
from dfc.requests import RolloutSampling


@app.command()
def outside(
    name: Annotated[str, typer.Argument(metavar="RUN", help="a run's name or folder")],
    prompts: Annotated[str, typer.Option(help="a set that ships, or a file of prompts")],
    measure: Annotated[
        str, typer.Option(help="on each answer: refusal, mentions, coverage or length; default: mentions of words")
    ] = "mentions",
    word: Annotated[list[str] | None, typer.Option(help="looked for in answers; may be given several times")] = None,
    regex: Annotated[str, typer.Option(help="looked for instead: a regular expression")] = "",
    draws: Annotated[int, typer.Option(min=1, help="answers of each model to each prompt")] = 4,
    tokens: Annotated[int, typer.Option(min=1, help="longest answer")] = 100,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedily")] = RolloutSampling.temperature,
    top_p: Annotated[float, typer.Option(min=0, max=1, help="share of probability drawn from")] = RolloutSampling.top_p,
    seed: Annotated[int, typer.Option(help="of the draws")] = RolloutSampling.seed,
    limit: Annotated[int | None, typer.Option(min=1, help="so many prompts, from the first")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Let both models, left alone, answer prompts, and say by how much they differ; goes on where it was."""
    run = runs.find(name)
    from dfc.report import outside as told
    from dfc.report.words import told_apart
    from dfc.screen import outside as check
    from dfc.steering import prompt_sets
    from dfc.store.reader import Store

    if draws > 1 and temperature == 0:
        raise UserError("outside: at temperature 0 all draws are the same; give --draws 1, or a temperature.")
    store = Store(run.store)
    measured = check.Measured(measure, tuple(word or ()), regex)
    sampling = RolloutSampling(draws, tokens, temperature, top_p, seed)
    with until_stopped("outside: stopped; batches of answers that are done are kept, the same command goes on"):
        check.measure(run, prompts, prompt_sets.read(prompts, limit), sampling, measured)
    [latest, *_] = told.kept(store)
    models: Any = store.models()
    names = told_apart(models["name"], {side: f"layer {models.loc[side, 'layer']}" for side in SIDES})
    if as_json:
        tell_json(latest.plain())
    else:
        tell(told.sentence(latest, names))
