"""Which scale lets both models' own concepts be found? Toy worlds whose B is like A, and some whose B is not.

Language models' streams have constant vectors many times as long as what varies, and single columns that outweigh all
others; a scale decides how much of the loss is left for what matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import fmean, stdev
from typing import Any

import torch

from dfc.config import CrosscoderConfig, ScaleRule
from dfc.crosscoder.model import Crosscoder
from dfc.worlds.seeds import all_rows
from dfc.worlds.toy import World, batches, draw, score, train_together
from dfc.worlds.toy_experiment import PAPER, Experiment

RULES: tuple[ScaleRule, ...] = ("median", "variance", "columns")
CONSTANT, DOMINANT = 2.8, 1.0  # where norms are equal, the constant leaves B a ninth of A's variance, as in the demo
WORLDS: dict[str, dict[str, float]] = {
    "B like A": {},
    "B with a constant": {"constant": CONSTANT},
    "B with a constant and a dominant column": {"constant": CONSTANT, "dominant": DOMINANT},
}
"""What is changed of a toy world."""
_SCORES = ("recall A", "recall B", "recall shared", "false shared", "false none", "FVE A", "FVE B")
_TOY_SIZE = 0.5  # features a concept: where exclusive features have to compete
_ROWS = 8_192

Row = dict[str, Any]


def run(experiment: Experiment, seeds: int, workers: int) -> list[Row]:
    """Train and score; one row for each world, rule and seed.

    Args:
        experiment: worlds, training and k; the dictionary has half as many features as there are concepts.
        seeds: worlds of each kind.
        workers: processes.
    """
    return all_rows("choices: scales", partial(_one_seed, experiment), range(seeds), workers)


def table(rows: Sequence[Row]) -> str:
    """Means over seeds as a table of Markdown, with ± a standard deviation where there are several seeds."""
    lines = ["| B | harvest.scale | variance A : B | " + " | ".join(_SCORES) + " |", "|---|---|" + "---|" * 8]
    for world in WORLDS:
        for rule in RULES:
            own = [row for row in rows if (row["world"], row["rule"]) == (world, rule)]
            cells = [
                f"{fmean(row['ratio'] for row in own):.1f}",
                *(_cell([row[name] for row in own]) for name in _SCORES),
            ]
            lines.append(f"| {world} | {rule} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _one_seed(experiment: Experiment, seed: int) -> list[Row]:
    torch.set_num_threads(1)  # worlds are trained side by side
    config = CrosscoderConfig(features=round(_TOY_SIZE * experiment.world.concepts), k=experiment.k, **PAPER)
    setting = config, experiment.training.model_copy(update={"seed": seed})
    rows: list[Row] = []
    for name, changes in WORLDS.items():
        changed = experiment.world.model_copy(update=changes)
        worlds = [draw(changed, seed, rule) for rule in RULES]
        settings, scales = [setting] * len(RULES), [world.scale for world in worlds]
        [(_, crosscoders)] = train_together(worlds[0], settings, experiment.training.steps, scales)
        for rule, world, crosscoder in zip(RULES, worlds, crosscoders, strict=True):
            rows.append({"seed": seed, "world": name, "rule": rule, **_scored(world, crosscoder, seed)})
    return rows


def _scored(world: World, crosscoder: Crosscoder, seed: int) -> Row:
    scores = score(world, crosscoder)
    a, b = next(batches(world, _ROWS, seed)).var(dim=0).split(world.config.width)
    names = ("recall_a", "recall_b", "recall_shared", "false_shared", "false_none", "fve_a", "fve_b")
    measured = {title: scores[name] for title, name in zip(_SCORES, names, strict=True)}
    return {"ratio": float(a.sum() / b.sum()), **measured}
