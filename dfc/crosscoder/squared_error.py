"""The loss of a training step and its gradients, over the active entries alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dfc.crosscoder.batch_topk import Entries, argsort, products, weighted_sums
from dfc.crosscoder.dictionary import Dictionary
from dfc.machine.processes import Group


def squared_error(
    target: Tensor,
    centred: Tensor,
    seen: Tensor,
    decoder_bias: Tensor,
    parts: Sequence[Dictionary],
    entries: Sequence[Entries],
    group: Group,
) -> tuple[Tensor, Tensor]:
    """Σ_m ‖target^m − Σ_c v · W_dec[c]^m‖² per pair, and what is left of the target.

    With v = gain · W_enc[c] · (seen[r] − b) + b_enc[c] for each entry (r, c), b the decoder bias. The values are not
    computed anew: the selection had them. Of several processes each has its own features' entries, and all the same
    rows.

    Args:
        target: (rows, width_a + width_b). It is a constant, but for `centred` itself, which follows the decoder bias.
        centred: the rows less the decoder bias, detached.
        seen: what `Crosscoder.seen` gives of the rows.
        decoder_bias: (width_a + width_b,).
        parts, entries: of the dictionary, and of each its active entries.
        group: the processes.

    Returns:
        The error, differentiable in this process's weights and the bias, and the residual, which is not.
    """
    weights = [weight for part in parts for weight in (part.encoder, part.bias, part.decoder)]
    found: tuple[Tensor, Tensor] = _SquaredError.apply(
        target, centred, seen, decoder_bias, parts, entries, group, *weights
    )
    return found


class _SquaredError(torch.autograd.Function):
    """All of it as one step: between smaller ones autograd would copy the rows time and again."""

    @staticmethod
    def forward(
        ctx: Any,
        target: Tensor,
        centred: Tensor,
        seen: Tensor,
        decoder_bias: Tensor,
        parts: Sequence[Dictionary],
        entries: Sequence[Entries],
        group: Group,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        written = torch.zeros_like(target)
        for part, chosen, decoder in zip(parts, entries, weights[2::3], strict=True):
            written[:, part.columns] += weighted_sums(chosen.rows, chosen.columns, chosen.values, decoder, len(target))
        residual = target - group.sum(written)
        ctx.save_for_backward(residual, centred, seen, decoder_bias, *weights)
        ctx.follows, ctx.parts, ctx.entries, ctx.group = target is centred, parts, entries, group
        ctx.mark_non_differentiable(residual)
        return residual.square().sum() / len(target), residual

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        residual, centred, seen, decoder_bias, *weights = ctx.saved_tensors
        gradient = residual * (-2 * gradients[0] / len(residual))  # by what is written
        by_read = torch.zeros_like(decoder_bias)
        by_weights: list[Tensor] = []
        for number, (part, chosen) in enumerate(zip(ctx.parts, ctx.entries, strict=True)):
            encoder, _, decoder = weights[3 * number : 3 * number + 3]
            same = part.reads == part.columns
            own = centred[:, part.columns] if same else seen[:, part.reads] - decoder_bias[part.columns]
            by_encoder, by_bias, by_decoder = _by_weights(
                part.gain, chosen, own.contiguous(), gradient[:, part.columns].contiguous(), decoder
            )
            by_read[part.columns] -= part.gain * (by_bias @ encoder)
            by_weights += [by_encoder, by_bias, by_decoder]
        by_decoder_bias = ctx.group.sum(by_read)  # each process knows its own features' share
        if ctx.follows:
            by_decoder_bias = by_decoder_bias + gradient.sum(0)  # which all have alike
        return None, None, None, by_decoder_bias, None, None, None, *by_weights


def _by_weights(
    gain: float, entries: Entries, read: Tensor, gradient: Tensor, decoder: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of a part's encoder, encoder bias and decoder, shaped as these."""
    order = argsort(entries.columns)  # feature by feature, all is read from the rows, which stay in the cache
    rows, columns, features = entries.rows[order], entries.columns[order], len(decoder)
    by_value = products(columns, rows, decoder, gradient)
    by_decoder = weighted_sums(columns, rows, entries.values[order], gradient, features)
    by_encoder = weighted_sums(columns, rows, by_value * gain, read, features)
    by_bias = torch.zeros(features, dtype=by_value.dtype, device=by_value.device).index_add_(0, columns, by_value)
    return by_encoder, by_bias, by_decoder
