"""The toy world with known truth of arXiv 2602.11729: concepts as directions, some in one model only.

A concept is recovered if some decoder vector has a cosine above 0.8 with its direction.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from dfc.activations import scales
from dfc.config import SIDES, CrosscoderConfig, ScaleRule, Section, Side, TrainingConfig
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.training import fit, held_out_fve, new_state

RECOVERED = 0.8
RELATIVE_NORM_A, RELATIVE_NORM_B = 0.8, 0.2
_CALIBRATION_ROWS = 8_192
_DENSE_RANKS = 2_048  # the paper's rank decay is for so many concepts; smaller worlds decay as far in all


class WorldConfig(Section):
    concepts: int = Field(default=2_048, ge=8, description="directions that exist, n in the paper")
    width: int = Field(default=256, ge=4, description="width of both models' activations")
    exclusive: float = Field(default=0.025, gt=0, lt=0.5, description="fraction of concepts in one model only, each")
    active: float = Field(default=5.0, gt=0, description="concepts active at once, on average")
    correlation_rank: int = Field(default=10, ge=1, description="rank of the correlations between concepts")
    decay: float = Field(default=0.001, ge=0, description="how fast frequency falls with a concept's rank")
    noise: float = Field(default=0.01, ge=0, description="standard deviation of the noise on every coordinate")
    constant: float = Field(
        default=0.0,
        ge=0,
        description="length of a vector that is added to every row of B, in B's root mean square norm",
    )
    dominant: float = Field(
        default=0.0, ge=0, description="standard deviation that one column of B has on its own, in the same unit"
    )


@dataclass(frozen=True)
class World:
    """One draw of a toy world.

    Attributes:
        directions: for each model, (concepts, width); a concept that is not in it has a direction all the same.
        in_model: for each model, which concepts it has, (concepts,).
        loadings, decay: of the firing logits and probabilities.
        scale: of each column of both models' activations, (2 · width,).
        constant: what is added to every row of B, (width,).
        dominant: standard deviation of what B's first column has on its own.
    """

    config: WorldConfig
    directions: dict[Side, Tensor]
    in_model: dict[Side, Tensor]
    loadings: Tensor
    decay: Tensor
    scale: Tensor
    constant: Tensor
    dominant: float = 0.0

    def sample(self, rows: int, generator: torch.Generator) -> Tensor:
        """Both models' activations side by side, scaled, (rows, 2 · width)."""
        return self.raw(rows, generator) * self.scale

    def raw(self, rows: int, generator: torch.Generator) -> Tensor:
        """The same as the models have them, unscaled."""
        n, r = self.loadings.shape
        shared = torch.randn(rows, r, generator=generator) @ self.loadings.T
        logits = shared + torch.randn(rows, n, generator=generator)
        p = torch.sigmoid(logits) * self.decay
        p = (p * (self.config.active / p.sum(dim=1, keepdim=True))).clamp(1e-4, 1)
        fires = torch.rand(rows, n, generator=generator) < p
        strengths = fires * torch.rand(rows, n, generator=generator)
        sides = []
        for side in SIDES:
            clean = (strengths * self.in_model[side]) @ self.directions[side]
            noise = self.config.noise * torch.randn(rows, self.config.width, generator=generator)
            sides.append(clean + noise)
        sides[1] += self.constant
        if self.dominant:  # others draw what they have always drawn
            sides[1][:, 0] += self.dominant * torch.randn(rows, generator=generator)
        return torch.cat(sides, dim=1)


def draw(config: WorldConfig, seed: int, rule: ScaleRule = "median") -> World:
    """A world: B's directions are a random affine map of A's, of the same median norm.

    Its activations are scaled by a rule of `harvest.scale`, as a run's are. Worlds that differ in the rule alone are
    the same, and so are their samples but for their scale.
    """
    generator = torch.Generator().manual_seed(seed)
    n, d, r = config.concepts, config.width, config.correlation_rank
    in_a = torch.nn.functional.normalize(torch.randn(n, d, generator=generator), dim=1)
    affine = 0.5 * torch.randn(d, d, generator=generator), 0.1 * torch.randn(d, generator=generator)
    in_b = in_a @ affine[0].T + affine[1]
    in_b /= in_b.norm(dim=1).median()
    only = max(1, round(config.exclusive * n))
    order = torch.randperm(n, generator=generator)
    in_model = {side: torch.ones(n, dtype=torch.bool) for side in SIDES}
    in_model["b"][order[:only]] = False
    in_model["a"][order[only : 2 * only]] = False
    loadings = torch.randn(n, r, generator=generator) * (0.5 / r**0.5) ** 0.5
    rank = torch.randperm(n, generator=generator).float()
    decay = torch.exp(-config.decay * rank * (_DENSE_RANKS / n))
    world = World(config, {"a": in_a, "b": in_b}, in_model, loadings, decay, torch.ones(2 * d), torch.zeros(d))
    if config.constant or config.dominant:
        world = _lopsided(world, generator)
    sample = world.raw(_CALIBRATION_ROWS, generator)
    return replace(world, scale=torch.cat([_column_scale(rule, part) for part in sample.split(d, dim=1)]))


def _lopsided(world: World, generator: torch.Generator) -> World:
    """The same with B's constant vector and dominant column."""
    config, own = world.config, world.raw(_CALIBRATION_ROWS, generator)[:, world.config.width :]
    unit = float(own.square().sum(dim=1).mean().sqrt())
    constant = torch.nn.functional.normalize(torch.randn(config.width, generator=generator), dim=0)
    return replace(world, constant=config.constant * unit * constant, dominant=config.dominant * unit)


def _column_scale(rule: ScaleRule, rows: Tensor) -> Tensor:
    """The scale of each column of a model's activations, (rows, width), as a harvest finds it."""
    width = rows.shape[1]
    norms = rows.norm(dim=1).numpy()
    return torch.tensor(scales.factors(rule, norms, lambda: scales.variances([rows]), width**0.5)).expand(width)


def batches(world: World, rows: int, seed: int) -> Iterator[Tensor]:
    """Endless fresh samples, scaled, (rows, 2 · width) each."""
    return (raw * world.scale for raw in _raw_batches(world, rows, seed))


def _raw_batches(world: World, rows: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield world.raw(rows, generator)


def train_together(
    world: World,
    settings: list[tuple[CrosscoderConfig, TrainingConfig]],
    every: int,
    column_scales: Sequence[Tensor] | None = None,
) -> Iterator[tuple[int, list[Crosscoder]]]:
    """Train several crosscoders on the same samples, step by step; gives them at every `every`-th step and the last.

    Decoder biases begin at B's constant vector, as a run's begin at the median of its first batch.

    Args:
        world: that is sampled.
        settings: of each; their steps, batches and seeds are to be alike.
        every: steps between what is given.
        column_scales: of the world's columns, for each, (2 · width,); by default the world's own for all.
    """
    common = settings[0][1]
    widths = (world.config.width, world.config.width)
    own = column_scales or [world.scale] * len(settings)
    crosscoders = [Crosscoder(config, widths, scale) for (config, _), scale in zip(settings, own, strict=True)]
    feeds = itertools.tee(_raw_batches(world, common.batch, common.seed), len(settings))
    centre = torch.cat([torch.zeros_like(world.constant), world.constant])
    runs = []
    for crosscoder, (_, training), feed in zip(crosscoders, settings, feeds, strict=True):
        crosscoder.initialise(training.seed, crosscoder.scaled(centre))
        if crosscoder.prediction is not None:
            crosscoder.prediction.fit(map(crosscoder.scaled, _raw_batches(world, common.batch, common.seed)))
        runs.append(fit(crosscoder, new_state(crosscoder, training), map(crosscoder.scaled, feed), training))
    for step, _ in enumerate(zip(*runs, strict=True), start=1):
        if step % every == 0 or step == common.steps:
            yield step, crosscoders


@torch.no_grad()
def score(world: World, crosscoder: Crosscoder, rows: int = 8_192, seed: int = 1_000_003) -> dict[str, Any]:
    """What a crosscoder found, counted against the truth, on fresh samples.

    Returns:
        recall_shared: shared concepts recovered by any living feature.
        recall_a, recall_b: exclusive concepts recovered by a living feature that is classed as that model's.
        exclusive: features classed exclusive (relative norm above 0.8 or below 0.2).
        false_shared, false_none: of these, the share that recovers a concept of both models, or none at all.
        fve_a, fve_b, alive.
    """
    x = next(batches(world, rows, seed))
    codes = crosscoder.encode(x)
    alive = torch.bincount(codes.features, minlength=crosscoder.config.features) > 0
    hits = recovered(world, crosscoder)
    both = world.in_model["a"] & world.in_model["b"]
    scores = count(world, hits, by_norms(crosscoder, alive))
    for name in ("false_shared", "false_none"):
        scores[name] = scores[name] / scores["exclusive"] if scores["exclusive"] else 0.0
    fve = held_out_fve(crosscoder, x)
    return scores | {
        "recall_shared": float((hits["a"] | hits["b"])[alive][:, both].any(dim=0).float().mean()),
        "alive": float(alive.float().mean()),
        "fve_a": fve["held_out_fve_a"],
        "fve_b": fve["held_out_fve_b"],
    }


@torch.no_grad()
def recovered(world: World, crosscoder: Crosscoder) -> dict[Side, Tensor]:
    """For each model, which concepts' directions each feature's decoder vector has, (features, concepts) of bool.

    Directions are of the models' own streams, and so decoder vectors are compared there.
    """
    hits = {}
    for side in SIDES:
        ids, vectors = crosscoder.raw_vectors(side)
        concepts = torch.nn.functional.normalize(world.directions[side], dim=1)
        hits[side] = torch.zeros(crosscoder.config.features, len(concepts), dtype=torch.bool)
        hits[side][ids] = torch.nn.functional.normalize(vectors, dim=1) @ concepts.T > RECOVERED
    return hits


@torch.no_grad()
def by_norms(crosscoder: Crosscoder, alive: Tensor) -> dict[Side, Tensor]:
    """Living features that the paper's rule classes as one model's: relative norm above 0.8, or below 0.2."""
    norms = {side: torch.zeros(len(alive)) for side in SIDES}
    for side in SIDES:
        ids, vectors = crosscoder.decoder_vectors(side)
        norms[side][ids] = vectors.norm(dim=1)
    relative = norms["a"] / (norms["a"] + norms["b"]).clamp_min(1e-12)
    return {"a": alive & (relative > RELATIVE_NORM_A), "b": alive & (relative < RELATIVE_NORM_B)}


def count(world: World, hits: dict[Side, Tensor], classed: dict[Side, Tensor]) -> dict[str, Any]:
    """How features that some rule classes as one model's fare against the truth.

    Args:
        world: the truth.
        hits: as `recovered` gives them.
        classed: for each model the features called its own, (features,) of bool.

    Returns:
        recall_a, recall_b: exclusive concepts of that model recovered by a feature classed as its own.
        exclusive: number of classed features.
        false_shared, false_none: how many of them recover a concept of both models and none of their own alone, or
            none at all.
    """
    both = world.in_model["a"] & world.in_model["b"]
    result: dict[str, Any] = {"exclusive": int(classed["a"].sum() + classed["b"].sum())}
    result["false_shared"] = result["false_none"] = 0
    for side, other in zip(SIDES, reversed(SIDES), strict=True):
        own = world.in_model[side] & ~world.in_model[other]
        mine = hits[side][classed[side]]
        result[f"recall_{side}"] = float(mine[:, own].any(dim=0).float().mean())
        result["false_shared"] += int((mine[:, both].any(dim=1) & ~mine[:, own].any(dim=1)).sum())
        result["false_none"] += int((~mine[:, own | both].any(dim=1)).sum())
    return result
