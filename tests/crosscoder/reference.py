"""The training loss written plainly: dense, slow, differentiated by autograd alone."""

from __future__ import annotations

import torch
from torch import Tensor

from dfc.config import TrainingConfig
from dfc.crosscoder.model import Crosscoder


def activations(crosscoder: Crosscoder, x: Tensor) -> list[Tensor]:
    """ReLU'd pre-activations of each part, (rows, features)."""
    result = []
    for part in crosscoder.parts:
        stream = x[:, part.columns]
        if crosscoder.config.exclusive_reads == "unpredicted" and part.partition != "shared":
            stream = crosscoder.prediction.unpredicted(x, part.partition)  # type: ignore[union-attr]
        centred = stream - crosscoder.decoder_bias[part.columns]
        result.append(torch.relu(part.gain * (centred @ part.encoder.T) + part.bias))
    return result


def scores(crosscoder: Crosscoder, dense: list[Tensor]) -> list[Tensor]:
    """What BatchTopK ranks."""
    result = []
    for part, values in zip(crosscoder.parts, dense, strict=True):
        norms = [part.decoder[:, part.of_side(side)].norm(dim=1) for side in part.sides]
        weight = {
            "value": torch.ones(len(part)),
            "norm_sum": sum(norms),
            "norm_mean": sum(norms) / len(norms),
            "norm_max": torch.stack(norms).amax(0),
        }[crosscoder.config.rank_by]
        result.append((values * weight).detach())
    return result


def chosen(crosscoder: Crosscoder, ranked: list[Tensor], k: float) -> list[Tensor]:
    """Masks of the entries that BatchTopK keeps."""
    rows = len(ranked[0])
    if crosscoder.config.budget == "joint":
        flat = torch.cat([block.flatten() for block in ranked])
        mask = torch.zeros_like(flat).scatter(0, flat.topk(round(k * rows)).indices, 1.0)
        parts = mask.split([block.numel() for block in ranked])
        return [part.view_as(block) for part, block in zip(parts, ranked, strict=True)]
    masks = []
    for part, block in zip(crosscoder.parts, ranked, strict=True):
        count = max(1, round(k * rows * crosscoder.config.part_budgets[part.name]))
        mask = torch.zeros(block.numel()).scatter(0, block.flatten().topk(count).indices, 1.0)
        masks.append(mask.view_as(block))
    return masks


def decode(crosscoder: Crosscoder, codes: list[Tensor]) -> Tensor:
    """Reconstruction without the decoder bias."""
    total = torch.zeros(len(codes[0]), sum(crosscoder.widths))
    for part, block in zip(crosscoder.parts, codes, strict=True):
        after = sum(crosscoder.widths) - part.columns.stop
        total = total + torch.nn.functional.pad(block @ part.decoder, (part.columns.start, after))
    return total


def strongest(values: Tensor, k: int) -> Tensor:
    """The k largest of each row; 0 elsewhere."""
    best = values.topk(min(k, values.shape[1]), dim=1)
    return torch.zeros_like(values).scatter(1, best.indices, best.values)


def losses(
    crosscoder: Crosscoder, x: Tensor, k: float, dead: Tensor, training: TrainingConfig
) -> tuple[Tensor, Tensor]:
    """The main loss and AuxK's, per pair."""
    dense = activations(crosscoder, x)
    masks = chosen(crosscoder, scores(crosscoder, dense), k)
    kept = [values * mask for values, mask in zip(dense, masks, strict=True)]
    residual = x - crosscoder.decoder_bias - decode(crosscoder, kept)
    sizes = [len(part) for part in crosscoder.parts]
    candidates = [values * mask for values, mask in zip(dense, dead.split(sizes), strict=True)]
    if training.aux_scope == "total":
        revived = list(strongest(torch.cat(candidates, dim=1), training.aux_k).split(sizes, dim=1))
    else:
        revived = [strongest(values, training.aux_k) for values in candidates]
    left = residual.detach() - decode(crosscoder, revived)
    return residual.square().sum(1).mean(), left.square().sum(1).mean()
