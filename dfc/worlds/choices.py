"""Which settings find what only one model has? One change at a time, on toy worlds and on a run's own activations."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import torch

from dfc.activations.loader import kept_rows, training_batches
from dfc.activations.shards import ActivationStore
from dfc.config import CrosscoderConfig, TrainingConfig
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.crosscoder.training import fit, new_crosscoder, new_state
from dfc.crosscoder.variance import ExplainedVariance
from dfc.machine import disk, progress
from dfc.runs import Run
from dfc.worlds import scale_choices
from dfc.worlds.toy import draw, score, train_together
from dfc.worlds.toy_experiment import PAPER, PRESETS

SEEDS = 3
_TOY_SIZE = 0.5  # features a concept: where exclusive features have to compete
_ROWS = 2_048


@dataclass(frozen=True)
class Variant:
    """Changes to the defaults; those that are `checked` are trained on a run, too."""

    name: str
    crosscoder: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    checked: bool = False


def _share(fraction: float, budget: float) -> dict[str, float]:
    return {"exclusive_a": fraction, "exclusive_b": fraction, "budget_a": budget, "budget_b": budget}


VARIANTS = (
    Variant("**the defaults**", checked=True),
    Variant("kind: standard", {"kind": "standard"}, checked=True),
    Variant("joint budget, mean, norm mean", {"budget": "joint"}, checked=True),
    Variant("joint budget, mean, norm sum", {"budget": "joint", "rank_by": "norm_sum"}),
    Variant("joint budget, mean, norm max", {"budget": "joint", "rank_by": "norm_max"}),
    Variant("joint budget, mean, value", {"budget": "joint", "rank_by": "value"}),
    Variant(
        "joint budget, sum, norm sum",
        {"budget": "joint", "shared_combine": "sum", "rank_by": "norm_sum"},
        checked=True,
    ),
    Variant("shared_combine: sum", {"shared_combine": "sum"}),
    Variant("rank_by: value", {"rank_by": "value"}),
    Variant("rank_by: norm_max", {"rank_by": "norm_max"}),
    Variant("AuxK in total", training={"aux_scope": "total"}),
    Variant("no AuxK", training={"aux_weight": 0.0}, checked=True),
    Variant("budgets of 5 % each", _share(0.05, 0.05)),
    Variant("budgets of 15 % each", _share(0.05, 0.15)),
    Variant("partitions of 1 %, budgets of 2 %", _share(0.01, 0.02), checked=True),
    Variant("partitions of 3 %, budgets of 6 %", _share(0.03, 0.06)),
    Variant("partitions of 10 %, budgets of 20 %", _share(0.1, 0.2), checked=True),
)

Row = dict[str, float]


def on_toy_worlds(workers: int) -> dict[str, Row]:
    """Scores of every variant, means over seeds."""
    by_variant: dict[str, list[Row]] = {variant.name: [] for variant in VARIANTS}
    with (
        progress.bar("choices: toy worlds", SEEDS, "seeds") as bar,
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
    ):
        for scores in pool.map(_one_world, range(SEEDS)):
            for variant, row in zip(VARIANTS, scores, strict=True):
                by_variant[variant.name].append(row)
            bar.update()
    return {name: {key: fmean(row[key] for row in rows) for key in rows[0]} for name, rows in by_variant.items()}


def on_run(run: Run, steps: int) -> dict[str, Row]:
    """What the checked variants find on a run's activations, trained as the run says, for so many steps."""
    store, config = ActivationStore(run.activations), run.config()
    return {
        variant.name: _trained_on(
            store,
            config.crosscoder.model_copy(update={**PAPER, **variant.crosscoder}),
            config.training.model_copy(update={**variant.training, "steps": steps}),
            variant.name,
        )
        for variant in VARIANTS
        if variant.checked
    }


def write(run: Run, folder: Path, workers: int, steps: int | None = None) -> Path:
    """Train everything and write the tables to choices.md; on the run for `steps` steps, or as many as it says."""
    experiment, config = PRESETS["small"], run.config()
    steps = steps or config.training.steps
    toy, own = on_toy_worlds(workers), on_run(run, steps)
    by_scale = scale_choices.run(experiment, SEEDS, workers)
    path = folder / "choices.md"
    disk.write_text(
        path,
        f"""# Settings compared

Made by `python -m dfc choices {run.name}`; do not edit by hand. [training.md](training.md) says what follows from it.
Each line changes the defaults in what it names. Partition fractions are 5 % each and budgets 10 % each unless said.

## Toy worlds with known truth

{experiment.world.concepts} concepts, {round(_TOY_SIZE * experiment.world.concepts)} features, k = {experiment.k},
{experiment.training.steps:,} steps of {experiment.training.batch:,}, means over {SEEDS} worlds. Columns as in
[toy.md](toy.md).

{_table(toy)}

## Scales, on toy worlds

The defaults, with each `harvest.scale`. *B like A*: the worlds above. *Constant*: a vector of
{scale_choices.CONSTANT:g} times B's root mean square norm is added to each of B's rows. *Dominant column*: one column
of B also has a standard deviation of {scale_choices.DOMINANT:g} times that norm, of its own. *variance A : B*: of the
scaled streams, as the loss adds them up. FVE is of the scaled streams, so that its figures under different scales are
about different things. ± is the standard deviation over worlds.

{scale_choices.table(by_scale)}

## {config.models.a.title} against {config.models.b.title}

Run `{run.name}`: {_store_line(run, steps)}. One seed. *alive*: exclusive features that fire on some kept pair.
*L0*: active exclusive features a pair. *density*: median over living ones. *adds*: FVE lost when exclusive features are
left out.

{_table(own)}
""",
    )
    return path


def _store_line(run: Run, steps: int) -> str:
    """What was trained, in words."""
    config, manifest = run.config(), ActivationStore(run.activations).manifest
    return (
        f"{manifest.kept:,} pairs, {config.crosscoder.features:,} features, k = {config.crosscoder.k}, "
        f"{steps:,} steps of {config.training.batch:,}"
    )


def _one_world(seed: int) -> list[Row]:
    torch.set_num_threads(1)  # worlds are trained side by side
    experiment = PRESETS["small"]
    world = draw(experiment.world, seed)
    base = CrosscoderConfig(features=round(_TOY_SIZE * experiment.world.concepts), k=experiment.k, **PAPER)
    training = experiment.training.model_copy(update={"seed": seed})
    settings = [
        (base.model_copy(update=variant.crosscoder), training.model_copy(update=variant.training))
        for variant in VARIANTS
    ]
    [crosscoders] = [trained for _, trained in train_together(world, settings, training.steps)]
    return [_toy_row(score(world, crosscoder)) for crosscoder in crosscoders]


def _toy_row(scores: dict[str, Any]) -> Row:
    return {
        "exclusive recall": (scores["recall_a"] + scores["recall_b"]) / 2,
        "shared recall": scores["recall_shared"],
        "false shared": scores["false_shared"],
        "false none": scores["false_none"],
        "FVE": (scores["fve_a"] + scores["fve_b"]) / 2,
    }


def _trained_on(store: ActivationStore, config: CrosscoderConfig, training: TrainingConfig, name: str) -> Row:
    crosscoder = new_crosscoder(config, training, store)
    batches = training_batches(store, training.batch, training.window_shards, training.seed)
    with progress.bar(f"choices: {name}"[:22], training.steps, "steps") as bar:
        for _ in fit(crosscoder, new_state(crosscoder, training), batches, training):
            bar.update()
    return _measured(crosscoder, store)


@torch.no_grad()
def _measured(crosscoder: Crosscoder, store: ActivationStore) -> Row:
    counts = np.zeros(crosscoder.config.features, dtype=np.int64)
    whole, without = ExplainedVariance(crosscoder.widths), ExplainedVariance(crosscoder.widths)
    partition = np.array(crosscoder.partitions())
    shared = torch.from_numpy(partition == "shared")
    rows = 0
    for x, held_out in _batches(store):
        codes = crosscoder.encode(x)
        counts += np.bincount(codes.features.numpy(), minlength=len(counts))
        rows += len(x)
        if bool(held_out.any()):
            own = crosscoder.encode(x[held_out])
            keep = shared[own.features]
            common = Codes(own.rows[keep], own.features[keep], own.values[keep])
            for explained, part in ((whole, own), (without, common)):
                rebuilt = crosscoder.decode(part, int(held_out.sum()))
                explained.add(x[held_out] - crosscoder.decoder_bias, x[held_out] - rebuilt)
    result: Row = {}
    for side, fve, less in zip(("a", "b"), whole.fve(), without.fve(), strict=True):
        own_counts = counts[partition == side]
        alive = own_counts > 0
        upper = side.upper()
        result[f"FVE {upper}"] = fve
        result[f"alive {upper}"] = float(alive.mean()) if len(alive) else float("nan")
        result[f"L0 {upper}"] = float(own_counts.sum()) / rows
        result[f"density {upper}"] = median(own_counts[alive] / rows) if alive.any() else float("nan")
        result[f"adds {upper}"] = fve - less
    return result


def _batches(store: ActivationStore) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for shard in range(len(store)):
        rows = kept_rows(store, shard)
        yield from zip(rows.x.split(_ROWS), rows.held_out.split(_ROWS), strict=True)


def _table(by_variant: dict[str, Row]) -> str:
    names = list(next(iter(by_variant.values())))
    lines = ["| settings | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for variant, row in by_variant.items():
        lines.append(f"| {variant} | " + " | ".join(_cell(name, row[name]) for name in names) + " |")
    return "\n".join(lines)


def _cell(name: str, value: float) -> str:
    if value != value:
        return "–"
    return f"{value:.4f}" if name.startswith(("density", "adds")) else f"{value:.2f}"
