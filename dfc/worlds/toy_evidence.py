"""The verdict against the truth of toy worlds, beside the paper's rule of relative norms.

Dedicated Feature Crosscoders of several sizes are trained on each world; both rules then say of
the same features which are one model's alone, and are counted against the same truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from dfc.config import CrosscoderConfig, EvidenceConfig, Side
from dfc.crosscoder.model import Crosscoder
from dfc.evidence import verify
from dfc.evidence.moments import Batch, Count, Rows, by_feature
from dfc.evidence.verify import Judgement
from dfc.machine import disk
from dfc.report.line_chart import Line, line_chart
from dfc.worlds.seeds import all_rows
from dfc.worlds.toy import World, batches, by_norms, count, draw, recovered, train_together
from dfc.worlds.toy_experiment import PAPER, PRESETS, VARIANTS, Experiment

VARIANT = "DFC, budget per partition"
RULES = {"norms": "relative norms", "verdict": "the verdict"}
_COLOURS = dict(zip(RULES, ("#7a7a7a", "#c25500"), strict=True))
_BATCH = 4_096
_TRAINING_BATCHES, _HELD_OUT_BATCHES = 12, 4
_ROWS_SEED = 2_000_003
_ROUNDING = 1e-6

Row = dict[str, Any]


def run(experiment: Experiment, workers: int) -> list[Row]:
    """Train, judge and count; one row for each seed, size and rule."""
    rows = all_rows("toy evidence", partial(_one_seed, experiment), range(experiment.seeds), workers)
    return sorted(rows, key=lambda row: (row["fraction"], row["rule"], row["seed"]))


def measure(world: World, fraction: float, crosscoder: Crosscoder) -> list[Row]:
    """Both rules on one crosscoder: a row each, with the counts of `toy.count` and the true positives."""
    judgement = verify.judge_rows(crosscoder, sample(world, crosscoder), EvidenceConfig())
    alive = torch.from_numpy(judgement.columns["documents"].astype(int) > 0)
    classed = {"norms": by_norms(crosscoder, alive), "verdict": by_verdict(judgement)}
    hits = recovered(world, crosscoder)
    rows = []
    for rule, features in classed.items():
        counted = count(world, hits, features)
        counted["true"] = counted["exclusive"] - counted["false_shared"] - counted["false_none"]
        counted["recall_exclusive"] = (counted["recall_a"] + counted["recall_b"]) / 2
        rows.append({"rule": rule, "fraction": fraction, **counted})
    return rows


def by_verdict(judgement: Judgement) -> dict[Side, Tensor]:
    """Features that the evidence calls exclusive, by the model that has them, (features,) of bool.

    A shared feature that is called exclusive is counted as that model's from which it is predicted better.
    """
    exclusive = judgement.verdicts == "exclusive"
    return {"a": torch.from_numpy(exclusive & judgement.of_a), "b": torch.from_numpy(exclusive & ~judgement.of_a)}


def sample(world: World, crosscoder: Crosscoder) -> Rows:
    """Fresh rows of a world and their codes, the last quarter of them held out; every row is a document of its own."""
    total = _TRAINING_BATCHES + _HELD_OUT_BATCHES
    return Rows(_batches(world, crosscoder, total), [Count(total * _BATCH, _HELD_OUT_BATCHES * _BATCH)], 1)


def write(rows: list[Row], experiment: Experiment, folder: Path, command: str) -> Path:
    """The comparison as a page with a table and two figures, in `folder`."""
    size = "dictionary size / number of concepts"
    figures = {
        "toy-evidence-recall.svg": _chart(rows, "recall_exclusive", size, "recall exclusive"),
        "toy-evidence-false.svg": _chart(rows, "false", size, "false positives a world"),
    }
    for name, figure in figures.items():
        disk.write_text(folder / "images" / name, figure)
    path = folder / "toy-evidence.md"
    disk.write_text(path, _page(rows, experiment, command, list(figures)))
    return path


def main(preset: str, folder: Path, workers: int) -> Path:
    """Run a preset and write its page."""
    experiment = PRESETS[preset]
    return write(run(experiment, workers), experiment, folder, f"python -m dfc toy --evidence --preset {preset}")


def _batches(world: World, crosscoder: Crosscoder, total: int) -> Iterator[Batch]:
    for number, x in zip(range(total), batches(world, _BATCH, _ROWS_SEED), strict=False):
        document = torch.arange(number * _BATCH, (number + 1) * _BATCH)
        codes = by_feature(crosscoder.encode(x))
        yield Batch(number >= _TRAINING_BATCHES, x, codes, document, torch.zeros_like(document))


def _one_seed(experiment: Experiment, seed: int) -> list[Row]:
    torch.set_num_threads(1)  # worlds run side by side
    world = draw(experiment.world, seed)
    training = experiment.training.model_copy(update={"seed": seed})
    settings = [
        (CrosscoderConfig(features=features, k=experiment.k, **PAPER, **VARIANTS[VARIANT]), training)
        for features in (round(fraction * experiment.world.concepts) for fraction in experiment.fractions)
    ]
    [(_, crosscoders)] = train_together(world, settings, training.steps)
    trained = zip(experiment.fractions, crosscoders, strict=True)
    return [{"seed": seed, **row} for fraction, crosscoder in trained for row in measure(world, fraction, crosscoder)]


def _chart(rows: list[Row], name: str, across: str, up: str) -> str:
    """Means over seeds, a line for each rule."""
    fractions = sorted({row["fraction"] for row in rows})
    lines = [
        Line(title, _COLOURS[rule], fractions, [_mean(_own(rows, rule, place), name) for place in fractions])
        for rule, title in RULES.items()
    ]
    return line_chart(lines, across, up)


def _own(rows: list[Row], rule: str, fraction: float | None = None) -> list[Row]:
    return [row for row in rows if row["rule"] == rule and fraction in (None, row["fraction"])]


def _mean(rows: list[Row], name: str) -> float:
    if name == "false":
        return fmean(row["false_shared"] + row["false_none"] for row in rows)
    return fmean(row[name] for row in rows)


def _cells(rows: list[Row]) -> str:
    """Recall, classed features, true ones, false ones of both kinds, and precision, over several crosscoders."""
    total = {name: sum(row[name] for row in rows) for name in ("exclusive", "true", "false_shared", "false_none")}
    precision = f"{total['true'] / total['exclusive']:.2f}" if total["exclusive"] else "–"
    return " | ".join([f"{_mean(rows, 'recall_exclusive'):.2f}", *map(str, total.values()), precision])


def _page(rows: list[Row], experiment: Experiment, command: str, figures: list[str]) -> str:
    fractions = sorted({row["fraction"] for row in rows})
    table = [
        f"| {fraction:g} | {title} | {_cells(_own(rows, rule, fraction))} |"
        for fraction in fractions
        for rule, title in RULES.items()
    ]
    table += [f"| **all** | {title} | {_cells(_own(rows, rule))} |" for rule, title in RULES.items()]
    recall = {rule: _mean(_own(rows, rule), "recall_exclusive") for rule in RULES}
    false = {rule: sum(row["false_shared"] + row["false_none"] for row in _own(rows, rule)) for rule in RULES}
    met = recall["verdict"] >= recall["norms"] - _ROUNDING and 2 * false["verdict"] <= false["norms"]
    pictures = "\n\n".join(f"![{name}](images/{name})" for name in figures)
    world = experiment.world
    return f"""# The verdict on toy worlds

Made by `{command}`; do not edit by hand. [evidence.md](evidence.md) explains the verdict,
[toy.md](toy.md) the worlds.

{world.concepts} concepts of width {world.width}, {world.exclusive:.1%} of them in each model alone; {VARIANT},
k = {experiment.k}, {experiment.training.steps:,} steps of {experiment.training.batch:,}; {experiment.seeds} worlds.
Evidence from {_TRAINING_BATCHES * _BATCH:,} fresh samples and {_HELD_OUT_BATCHES * _BATCH:,} held-out ones, with the
default thresholds.

Both rules judge the same living features. *Relative norms* calls a feature A's above 0.8 and B's below 0.2, which a
dedicated feature always is. A feature is *true* if its decoder vector recovers (cosine above 0.8) a concept that its
model alone has; *false shared* if it recovers only concepts of both, *false none* if it recovers nothing.

{pictures}

| size / n | rule | recall exclusive | called exclusive | true | false shared | false none | precision |
|---|---|---|---|---|---|---|---|
{chr(10).join(table)}

Counts are sums over worlds, recall the mean. Target: at equal or higher recall at most half the false positives.
Here: recall {recall["verdict"]:.3f} against {recall["norms"]:.3f}, false positives {false["verdict"]} against
{false["norms"]}: {"met" if met else "**missed**"}.
"""
