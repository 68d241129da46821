"""The paper's experiment on the toy world: which kind of crosscoder finds what only one model has?

Every kind and size is trained on the same samples of the same world, for several seeds, and scored against the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

from dfc.config import CrosscoderConfig, TrainingConfig
from dfc.machine import disk
from dfc.report.line_chart import Line, line_chart
from dfc.worlds.seeds import all_rows
from dfc.worlds.toy import WorldConfig, draw, score, train_together

PAPER: Any = {"exclusive_reads": "stream"}
"""As in the paper; what else was tried is in docs/findings.md."""
VARIANTS: dict[str, dict[str, Any]] = {
    "standard": {"kind": "standard"},
    "DSF": {"kind": "dsf"},
    "DFC, joint budget": {"kind": "dfc", "budget": "joint"},
    "DFC, budget per partition": {"kind": "dfc", "budget_a": 0.05, "budget_b": 0.05},
}
_COLOURS = dict(zip(VARIANTS, ("#7a7a7a", "#009e73", "#0072b2", "#c25500"), strict=True))
_SCORES = ("recall_exclusive", "recall_shared", "false_shared", "false_none", "fve", "alive")


@dataclass(frozen=True)
class Experiment:
    """What is trained.

    Attributes:
        fractions: dictionary sizes as multiples of the number of concepts.
        seeds: worlds, each with its own samples and weights.
        curve_points: how often each crosscoder is scored while it is trained.
    """

    world: WorldConfig
    training: TrainingConfig
    fractions: tuple[float, ...]
    seeds: int
    k: int = 5
    curve_points: int = 8


def _training(steps: int, batch: int, rate: float) -> TrainingConfig:
    return TrainingConfig(
        steps=steps,
        batch=batch,
        learning_rate=rate,
        warmup_steps=min(1_000, steps // 20),
        k_start=25,
        k_anneal_steps=min(5_000, steps // 10),
        aux_k=32,
        dead_after_pairs=min(10_000_000, steps * batch // 20),
        threshold_decay=0.99,
        threshold_start=steps // 4,
    )


PRESETS = {
    "small": Experiment(
        WorldConfig(concepts=256, width=64), _training(1_500, 512, 2e-3), (0.1, 0.25, 0.5, 1.0, 2.0), seeds=4
    ),
    "paper": Experiment(WorldConfig(), _training(50_000, 2_048, 3e-4), (0.1, 0.25, 0.5, 1.0, 1.5, 2.0), seeds=5),
}


Row = dict[str, Any]


def run(experiment: Experiment, workers: int) -> list[Row]:
    """Train and score everything; one row for each seed, variant, size and scored step."""
    rows = all_rows("toy world", partial(_one_seed, experiment), range(experiment.seeds), workers)
    return sorted(rows, key=lambda row: (row["variant"], row["fraction"], row["step"], row["seed"]))


def write(rows: list[Row], experiment: Experiment, folder: Path, command: str) -> Path:
    """The results as a page with a table and three figures, in `folder`."""
    last = [row for row in rows if row["step"] == experiment.training.steps]
    largest = [row for row in rows if row["fraction"] == max(experiment.fractions)]
    size = "dictionary size / number of concepts"
    figures = {
        "toy-recall.svg": _chart(last, "fraction", "recall_exclusive", size),
        "toy-false.svg": _chart(last, "fraction", "false_shared", size),
        "toy-curves.svg": _chart(largest, "step", "recall_exclusive", "step, largest dictionary"),
    }
    for name, figure in figures.items():
        disk.write_text(folder / "images" / name, figure)
    path = folder / "toy.md"
    disk.write_text(path, _page(last, experiment, command, list(figures)))
    return path


def _one_seed(experiment: Experiment, seed: int) -> list[Row]:
    torch.set_num_threads(1)  # worlds run side by side
    world = draw(experiment.world, seed)
    named = [
        (
            variant,
            fraction,
            CrosscoderConfig(features=round(fraction * experiment.world.concepts), k=experiment.k, **PAPER, **choice),
        )
        for variant, choice in VARIANTS.items()
        for fraction in experiment.fractions
    ]
    training = experiment.training.model_copy(update={"seed": seed})
    every = max(1, training.steps // experiment.curve_points)
    rows: list[Row] = []
    for step, crosscoders in train_together(world, [(config, training) for _, _, config in named], every):
        for (variant, fraction, _), crosscoder in zip(named, crosscoders, strict=True):
            scores = score(world, crosscoder)
            scores["recall_exclusive"] = (scores["recall_a"] + scores["recall_b"]) / 2
            scores["fve"] = (scores["fve_a"] + scores["fve_b"]) / 2
            rows.append({"seed": seed, "variant": variant, "fraction": fraction, "step": step, **scores})
    return rows


def _chart(rows: list[Row], by: str, name: str, across: str) -> str:
    """Means over seeds of one score, a line for each variant."""
    lines = []
    for variant in VARIANTS:
        places = sorted({row[by] for row in rows})
        means = [fmean(row[name] for row in rows if (row["variant"], row[by]) == (variant, place)) for place in places]
        lines.append(Line(variant, _COLOURS[variant], places, means))
    return line_chart(lines, across, name.replace("_", " "))


def _page(last: list[Row], experiment: Experiment, command: str, figures: list[str]) -> str:
    world, training = experiment.world, experiment.training
    table = ["| variant | size / n | " + " | ".join(name.replace("_", " ") for name in _SCORES) + " |"]
    table.append("|---|---|" + "---|" * len(_SCORES))
    for variant in VARIANTS:
        for fraction in experiment.fractions:
            own = [row for row in last if (row["variant"], row["fraction"]) == (variant, fraction)]
            cells = [f"{fmean(row[name] for row in own):.2f}" for name in _SCORES]
            cells[0] += f" ± {stdev(row['recall_exclusive'] for row in own):.2f}"
            table.append(f"| {variant} | {fraction:g} | " + " | ".join(cells) + " |")
    pictures = "\n\n".join(f"![{name}](images/{name})" for name in figures)
    return f"""# The toy world with known truth

Made by `{command}`; do not edit by hand.

{world.concepts} concepts as random directions of width {world.width} in model A, affinely mapped into model B;
{world.exclusive:.1%} of them in A alone and as many in B alone; {world.active:g} concepts active at once.
k = {experiment.k}, {training.steps:,} steps of {training.batch:,} samples, {experiment.seeds} seeds (worlds); all
variants of one seed see the same samples. The paper's world has 2,048 concepts of width 256 (`--preset paper`).

A concept is recovered if the cosine between its direction and some living feature's decoder vector exceeds 0.8;
exclusive recall counts only features classed as that model's by their relative norm (above 0.8, below 0.2).
Of the features so classed, *false shared* recover a concept that both models have, *false none* recover nothing.

{pictures}

{chr(10).join(table)}

± is the standard deviation over seeds; FVE is the mean of both models.

## What the paper reports, and what is seen here

{_agreement(last, experiment)}

[training.md](training.md) discusses the differences.
"""


def _agreement(last: list[Row], experiment: Experiment) -> str:
    """The paper's statements about the toy world, each with the figures that bear on it."""

    def mean(variant: str, fraction: float, name: str) -> float:
        return fmean(row[name] for row in last if (row["variant"], row["fraction"]) == (variant, fraction))

    def gains(variant: str, baseline: str, name: str, fractions: list[float]) -> list[float]:
        return [mean(variant, f, name) - mean(baseline, f, name) for f in fractions]

    def at_equal_fve(variant: str, baseline: str) -> float:
        """Its exclusive recall less the baseline's where that explains as much, read between the baseline's sizes."""
        known = sorted((mean(baseline, f, "fve"), mean(baseline, f, "recall_exclusive")) for f in sizes)
        explained, recalled = zip(*known, strict=True)
        return fmean(
            mean(variant, f, "recall_exclusive") - float(np.interp(mean(variant, f, "fve"), explained, recalled))
            for f in sizes
        )

    sizes = list(experiment.fractions)
    small, large = [size for size in sizes if size < 1], [size for size in sizes if size >= 1]
    lines = ["| statement | here | agrees |", "|---|---|---|"]
    for variant in (name for name in VARIANTS if name.startswith("DFC")):
        for baseline in ("standard", "DSF"):
            gained = gains(variant, baseline, "recall_exclusive", sizes)
            more = sum(gain > 0 for gain in gained)
            lines.append(
                f"| {variant}: finds more exclusive concepts than {baseline} | at {more} of {len(sizes)} sizes, "
                f"{fmean(gained):+.2f} on average | {_verdict(more > len(sizes) / 2 and fmean(gained) > 0)} |"
            )
            equal = at_equal_fve(variant, baseline)
            lines.append(f"| {variant}: also at equal FVE | {equal:+.2f} against {baseline} | {_verdict(equal > 0)} |")
        below, above = (fmean(gains(variant, "standard", "recall_exclusive", some)) for some in (small, large))
        lines.append(
            f"| {variant}: most so where the dictionary is small | {below:+.2f} below n features, {above:+.2f} from "
            f"n on | {_verdict(below > above)} |"
        )
        false = [fmean(gains(variant, "standard", name, sizes)) for name in ("false_shared", "false_none")]
        lines.append(
            f"| {variant}: at a higher rate of false positives | {false[0]:+.2f} that are shared, {false[1]:+.2f} "
            f"that are nothing | {_verdict(sum(false) > 0)} |"
        )
    return "\n".join(lines)


def _verdict(agrees: bool) -> str:
    return "yes" if agrees else "**no**"


def main(preset: str, folder: Path, workers: int) -> Path:
    """Run a preset and write its page."""
    experiment = PRESETS[preset]
    return write(run(experiment, workers), experiment, folder, f"python -m dfc toy --preset {preset}")
