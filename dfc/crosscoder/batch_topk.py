"""BatchTopK and the sparse arithmetic around it.

Of a batch's pre-activations only k per row stay. One dense product finds them; all that
follows, the reconstruction and every weight's gradient, touches the active entries alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

_SAMPLE = 1 << 16

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


@dataclass(frozen=True)
class Entries:
    """Non-zero activations of a batch, sorted by row.

    Attributes:
        rows, columns: place of each entry, (entries,).
        values: activations, (entries,), all > 0.
    """

    rows: Tensor
    columns: Tensor
    values: Tensor


def batch_topk(scores: Sequence[Tensor], activations: Sequence[Tensor], k: int) -> tuple[list[Entries], Tensor]:
    """The k largest positive scores of all blocks together, exactly k even among ties, fewer if fewer are positive.

    A quantile of a sample gives a bound that leaves about twice as many candidates as are needed;
    should it leave too few, all positive scores are candidates.

    Args:
        scores: ranking values, non-negative (rows, features) tensors.
        activations: what is kept where a score is chosen, of the same shapes.
        k: how many, at least 1.

    Returns:
        Entries of each block, and the smallest chosen score (0 if fewer than k are positive).
    """
    bound = _sampled_bound(scores, 2 * k)
    places = [(block > bound).nonzero(as_tuple=True) for block in scores]
    if bound > 0 and sum(len(rows) for rows, _ in places) < k:
        places = [(block > 0).nonzero(as_tuple=True) for block in scores]
    found = torch.cat([block[place] for block, place in zip(scores, places, strict=True)])
    threshold = found.new_zeros(())
    chosen = torch.ones_like(found, dtype=torch.bool)
    if len(found) > k:
        threshold = found.kthvalue(len(found) - k + 1).values
        chosen = found > threshold
        ties = (found == threshold).nonzero()[:, 0]
        chosen[ties[: k - int(chosen.sum())]] = True
    elif len(found) == k:
        threshold = found.min()
    parts = chosen.split([len(rows) for rows, _ in places])
    entries = []
    for block, (rows, columns), part in zip(activations, places, parts, strict=True):
        rows, columns = rows[part], columns[part]
        entries.append(Entries(rows, columns, block[rows, columns]))
    return entries, threshold


def reaching(scores: Tensor, activations: Tensor, threshold: Tensor) -> Entries:
    """Entries of `activations` (rows, features) whose score is positive and reaches the threshold."""
    rows, columns = ((scores >= threshold) & (scores > 0)).nonzero(as_tuple=True)
    return Entries(rows, columns, activations[rows, columns])


def largest_in_each_row(activations: Tensor, k: int, columns: Tensor) -> Entries:
    """The k largest positive activations of each row among some columns (AuxK's choice among dead features)."""
    values, place = activations[:, columns].topk(min(k, len(columns)), dim=1)
    positive = values > 0
    rows = positive.nonzero(as_tuple=True)[0]
    return Entries(rows, columns[place[positive]], values[positive])


def reconstruct(entries: Entries, decoder: Tensor, rows: int) -> Tensor:
    """Sum of activation × decoder vector over each row's entries, (rows, width)."""
    if not entries.rows.numel():
        return decoder.new_zeros(rows, decoder.shape[1])
    return embedding_bag(
        entries.columns, decoder, _starts(entries.rows, rows), mode="sum", per_sample_weights=entries.values
    )


class SparsePass(torch.autograd.Function):
    """Encode and decode restricted to given entries; exact gradients for all weights, none for x.

    With v = gain · W_enc[c] · (x[r] − b_pre) + b_enc[c] for each entry (r, c), gives Σ_c v · W_dec[c] for each row.
    The values are not computed anew in the forward pass: the selection had them.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        pre_bias: Tensor,
        encoder: Tensor,
        bias: Tensor,
        decoder: Tensor,
        gain: float,
        entries: Entries,
    ) -> Tensor:
        ctx.save_for_backward(x, pre_bias, encoder, decoder)
        ctx.gain, ctx.entries = gain, entries
        return reconstruct(entries, decoder, len(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | float | None, ...]:
        x, pre_bias, encoder, decoder = ctx.saved_tensors
        gradient, entries, gain = gradients[0].contiguous(), ctx.entries, ctx.gain
        by_value = _products(entries, gradient, decoder)
        order = torch.argsort(entries.columns.int(), stable=True)  # 32 bits sort three times as fast
        rows, features = entries.rows[order], len(encoder)
        sorted_columns = entries.columns[order]
        by_decoder = reconstruct(Entries(sorted_columns, rows, entries.values[order]), gradient, features)
        by_encoder = reconstruct(Entries(sorted_columns, rows, by_value[order] * gain), x - pre_bias, features)
        by_bias = torch.zeros(features, dtype=by_value.dtype, device=by_value.device).index_add_(
            0, entries.columns, by_value
        )
        by_pre_bias = -gain * (by_bias @ encoder)
        return None, by_pre_bias, by_encoder, by_bias, by_decoder, None, None


def _products(entries: Entries, left: Tensor, right: Tensor) -> Tensor:
    """⟨left[r], right[c]⟩ for each entry (r, c), (entries,), without gathering either."""
    starts = torch.searchsorted(entries.rows, torch.arange(len(left) + 1, device=left.device))
    pattern = torch.sparse_csr_tensor(
        starts, entries.columns, torch.zeros_like(entries.values), (len(left), len(right)), check_invariants=False
    )
    return torch.sparse.sampled_addmm(pattern, left, right.t()).values()


def _sampled_bound(scores: Sequence[Tensor], k: int) -> Tensor:
    """About the k-th largest of all scores, from a sample; 0 where they are few."""
    flat = [block.reshape(-1) for block in scores]
    total = sum(len(block) for block in flat)
    if total < 4 * _SAMPLE:
        return flat[0].new_zeros(())
    step = total // _SAMPLE | 1  # odd, so that the sample walks through all columns
    sample = torch.cat([block[::step] for block in flat])
    return sample.kthvalue(max(1, int(len(sample) * (1 - k / total)))).values


def _starts(rows: Tensor, count: int) -> Tensor:
    """Index of each row's first entry, (count,), from sorted row numbers."""
    return torch.searchsorted(rows, torch.arange(count, device=rows.device))
