"""What a training step computes: BatchTopK over the whole dictionary, reconstruction, AuxK.

All as in arXiv 2602.11729, training, but for the way to the largest values (docs/training.md).

Of several processes each encodes all rows of the batch with its own features. They agree on which entries are the
strongest of all, and add up their reconstructions; from the residual each has its own features' gradients.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dfc.config import TrainingConfig
from dfc.crosscoder.batch_topk import (
    Entries,
    exactly,
    largest_in_each_row,
    reaching,
)
from dfc.crosscoder.dictionary import Dictionary
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.squared_error import squared_error

_SAMPLED_ROWS = 64
_DEAD_AT_ONCE = 4_096


@dataclass(frozen=True)
class StepResult:
    """What one forward pass of training gives.

    Attributes:
        loss, aux_loss: per pair, of the whole dictionary, differentiable in this process's weights.
        x: the rows, less the decoder bias.
        residual: what the reconstruction leaves of them, detached.
        fired: of each part, which of this process's features each kept entry is of, (entries,).
        thresholds: the smallest kept ranking value of each part.
    """

    loss: Tensor
    aux_loss: Tensor
    x: Tensor
    residual: Tensor
    fired: list[Tensor]
    thresholds: list[Tensor]


def forward(
    crosscoder: Crosscoder,
    x: Tensor,
    k: float,
    dead: Tensor,
    training: TrainingConfig,
    dtype: torch.dtype = torch.float32,
) -> StepResult:
    """One forward pass of training.

    The loss is Σ_m ‖x^m − x̂^m‖² per pair. AuxK: the `aux_k` strongest dead features of each pair, in all or in each
    part, reconstruct what is left over, detached and without the decoder bias.

    Args:
        crosscoder: trained.
        x: scaled rows, (rows, width_a + width_b), the same in all processes.
        k: active features per pair.
        dead: which of this process's features AuxK revives, (features,).
        training: AuxK's settings.
        dtype: of the dense product that finds candidates; all that is kept is computed in float32.
    """
    seen = crosscoder.seen(x)
    entries, thresholds = select(crosscoder, seen, k, dtype)
    centred = x - crosscoder.decoder_bias.detach()
    fixed = centred, seen, crosscoder.decoder_bias, crosscoder.parts
    loss, residual = squared_error(centred, *fixed, entries, crosscoder.group)
    aux_loss = loss.new_zeros(())
    if training.aux_weight and crosscoder.group.total(int(dead.sum())):
        revived = _strongest_dead(crosscoder, seen, dead, training)
        aux_loss, _ = squared_error(residual, *fixed, revived, crosscoder.group)
        if not bool(aux_loss.isfinite()):  # counts as 0 (arXiv 2602.11729), and so do its gradients
            aux_loss = loss.new_zeros(())
    return StepResult(
        loss,
        aux_loss,
        centred,
        residual,
        [chosen.columns for chosen in entries],
        thresholds,
    )


@torch.no_grad()
def select(
    crosscoder: Crosscoder, seen: Tensor, k: float, dtype: torch.dtype = torch.float32
) -> tuple[list[Entries], list[Tensor]]:
    """BatchTopK over all processes' features: this one's entries and the smallest kept ranking value of each part.

    `seen` is what `Crosscoder.seen` gives of the rows. Exact for the ranking values in float32, as long as
    those in `dtype` are right to a few percent.
    """
    parts, budgets = crosscoder.parts, crosscoder.config.part_budgets
    search = _Search(crosscoder, seen, dtype)
    if crosscoder.config.budget == "joint":
        entries, threshold = search.strongest(parts, k)
        return entries, [threshold] * len(parts)
    chosen = [search.strongest([part], k * budgets[part.name]) for part in parts]
    return [entries for [entries], _ in chosen], [threshold for _, threshold in chosen]


@dataclass(frozen=True)
class _Search:
    """Of a batch's pre-activations, those with the largest ranking values, without ever holding all of them."""

    crosscoder: Crosscoder
    seen: Tensor
    dtype: torch.dtype

    def strongest(self, parts: list[Dictionary], k: float) -> tuple[list[Entries], Tensor]:
        """The k · rows strongest entries of some parts together, among those above a bound that leaves enough."""
        group, wanted = self.crosscoder.group, max(1, round(k * len(self.seen)))
        for bound in self._bounds(parts, wanted):
            candidates = [self._reaching(part, bound) for part in parts]
            if group.total(sum(len(entries.rows) for entries in candidates)) >= wanted:
                break
        return exactly(candidates, wanted, group)

    def _bounds(self, parts: list[Dictionary], wanted: int) -> Iterator[float]:
        """A little below the last threshold; what twice as many entries of a few rows reach; 0."""
        last = min(float(part.threshold) for part in parts)
        if last > 0:
            yield 0.9 * last
        if len(self.seen) > _SAMPLED_ROWS:
            sample = self.seen[:_SAMPLED_ROWS]
            blocks = (self.crosscoder.blocks(part, sample, self.dtype) for part in parts)
            scores = torch.cat([scores.flatten() for part in blocks for _, _, scores in part]).float()
            group = self.crosscoder.group
            twice = 2 * wanted * _SAMPLED_ROWS // (len(self.seen) * group.size)  # those of this process's features
            reached = float(scores.kthvalue(max(1, len(scores) - twice)).values) if len(scores) else math.inf
            yield group.least(reached)
        yield 0.0

    def _reaching(self, part: Dictionary, bound: float) -> Entries:
        """Entries of a part whose ranking value reaches the bound, with values and ranking values in float32."""
        if self.dtype == torch.float32:
            return reaching(self.crosscoder.blocks(part, self.seen), bound)
        # Rounding must lose none of those that reach it: the rough ones are asked for a little less.
        rough = reaching(self.crosscoder.blocks(part, self.seen, self.dtype), 0.95 * bound)
        refined = self.crosscoder.refined(part, self.seen, rough)
        return refined.take((refined.scores >= bound) & (refined.scores > 0))


@torch.no_grad()
def _strongest_dead(crosscoder: Crosscoder, seen: Tensor, dead: Tensor, training: TrainingConfig) -> list[Entries]:
    """Each pair's `aux_k` strongest activations among dead features, of all parts together or of each, part by part."""

    def blocks(parts: list[Dictionary]) -> Iterator[tuple[Tensor, Tensor]]:
        for part in parts:
            for own in of_part[part.name].nonzero()[:, 0].split(_DEAD_AT_ONCE):
                x = seen[:, part.reads] - crosscoder.decoder_bias[part.columns]
                yield own + part.first_id, torch.addmm(part.bias[own], x, part.encoder[own].T, alpha=part.gain).relu_()

    parts = crosscoder.parts
    of_part = {part.name: mask for part, mask in zip(parts, crosscoder.by_part(dead), strict=True)}
    together = [parts] if training.aux_scope == "total" else [[part] for part in parts]
    strongest = [largest_in_each_row(blocks(some), training.aux_k, seen, crosscoder.group) for some in together]
    everything = strongest * len(parts) if training.aux_scope == "total" else strongest
    return [_within(entries, part) for entries, part in zip(everything, parts, strict=True)]


def _within(entries: Entries, part: Dictionary) -> Entries:
    """Those of a part, of entries with global ids, counted within it."""
    own = entries.take((entries.columns >= part.ids.start) & (entries.columns < part.ids.stop))
    return replace(own, columns=own.columns - part.first_id)
