"""How well a linear function of each model's stream predicts each feature, on held-out documents.

Ridge regression from moments alone: one factorisation a model serves all features, and
held-out errors follow from held-out sums, so that no tensor of rows × features exists. Only
AUROC needs single rows: a bounded sample of them, in blocks of features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.config import SIDES, Side
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.crosscoder.prediction import ridged
from dfc.evidence.moments import Collected, Sums, of_features
from dfc.evidence.pieces import Columns, Found, Piece
from dfc.machine import progress

Numbers = npt.NDArray[np.float64]
_FEATURES_AT_ONCE = 512


@dataclass(frozen=True)
class Probes:
    """Held-out quality of the probes, by side, (features,); NaN where there is nothing to predict.

    Attributes:
        r2: of the activation; negative where the mean of held-out pairs would be the better guess.
        auroc: of firing, on the sample.
    """

    r2: dict[Side, Numbers]
    auroc: dict[Side, Numbers]


def piece(crosscoder: Crosscoder) -> Piece:
    """R² and AUROC by side, those of a feature's own model and of the other, and what the other's are of its own's."""

    def columns(found: Found) -> Columns:
        probes = measure(found.collected, found.config.ridge)
        found.columns |= {f"probe_r2_{side}": values for side, values in probes.r2.items()}
        own, other = found.own_first(probes.r2["a"], probes.r2["b"])
        fires, fires_other = found.own_first(probes.auroc["a"], probes.auroc["b"])
        return {
            **{f"auroc_{side}": values for side, values in probes.auroc.items()},
            "own_r2": own,
            "other_r2": other,
            "probe_ratio": share(other, own),
            "auroc_ratio": share(fires_other - 0.5, fires - 0.5),
        }

    return Piece(columns)


def share(other: Numbers, own: Numbers) -> Numbers:
    """What is positive of `other` over `own`, NaN where `own` is not positive."""
    return np.maximum(other, 0) / np.where(own > 0, own, np.nan)


@torch.no_grad()
def measure(collected: Collected, ridge: float) -> Probes:
    """Probe every feature from both models.

    Args:
        collected: sums over training and held-out pairs, and the sample.
        ridge: relative to the mean variance of a stream.
    """
    features = len(collected.train.z)
    r2 = {side: torch.full((features,), torch.nan, dtype=torch.float64) for side in SIDES}
    auroc = {side: torch.full((features,), torch.nan, dtype=torch.float64) for side in SIDES}
    with progress.bar("evidence: probes", 2 * features, "probes") as bar:
        for side in SIDES:
            own = collected.train.columns(side)
            covariance = collected.train.about(collected.train.mean)[own, own]
            factor = torch.linalg.cholesky(ridged(covariance, ridge))
            spread = collected.held_out.about(collected.train.mean)[own, own]
            stream = collected.sample[:, own] - collected.train.mean[own].float()
            for first in range(0, features, _FEATURES_AT_ONCE):
                block = slice(first, min(first + _FEATURES_AT_ONCE, features))
                covariances = _with_stream(collected.train, collected.train.mean, block)[:, own]
                weights = torch.cholesky_solve(covariances.T, factor).T
                r2[side][block] = _held_out_r2(collected, weights, spread, block, own)
                codes = of_features(collected.sample_codes, block.start, block.stop)
                auroc[side][block] = firing_auroc(weights.float() @ stream.T, codes)
                bar.update(len(weights))
    return Probes({side: r2[side].numpy() for side in SIDES}, {side: auroc[side].numpy() for side in SIDES})


def firing_auroc(scores: Tensor, codes: Codes) -> Tensor:
    """AUROC of firing, (features,): the chance that a firing row scores above another, ties counting half.

    From the firing rows' mean rank (Mann and Whitney); NaN where all rows fire, or none.

    Args:
        scores: (features, rows).
        codes: of these rows and features, sorted by feature; an entry is a firing.
    """
    ordered = torch.from_numpy(np.sort(scores.numpy(), axis=1))  # several times as fast as torch's
    features, rows = scores.shape
    count = torch.bincount(codes.features, minlength=features)
    place = torch.arange(len(codes.features)) - torch.repeat_interleave(count.cumsum(0) - count, count)
    at_firings = torch.full((features, int(count.max())), torch.inf)
    at_firings[codes.features, place] = scores[codes.features, codes.rows]
    below, upto = (torch.searchsorted(ordered, at_firings, side=side) for side in ("left", "right"))
    ranks = (below + upto + 1)[codes.features, place].double() / 2
    rank_sum = torch.zeros(features, dtype=torch.float64).index_add_(0, codes.features, ranks)
    fired = count.double()
    return (rank_sum - fired * (fired + 1) / 2) / (fired * (rows - fired))


def _with_stream(sums: Sums, point: Tensor, block: slice) -> Tensor:
    """Mean of z (x − point) of a block of features, (block, D)."""
    return (sums.zx[block].double() - torch.outer(sums.z[block], point)) / sums.rows


def _held_out_r2(collected: Collected, weights: Tensor, spread: Tensor, block: slice, own: slice) -> Tensor:
    """1 − Σ(z − z̄ − w·(x − x̄))² / Σ(z − held-out mean)², x̄ and z̄ being means of training pairs."""
    train, held_out = collected.train, collected.held_out
    mean, seen = train.z[block] / train.rows, held_out.z[block] / held_out.rows
    squares = held_out.zz[block] / held_out.rows
    shift = (held_out.mean - train.mean)[own]
    products = _with_stream(held_out, train.mean, block)[:, own] - torch.outer(mean, shift)
    error = squares - 2 * mean * seen + mean.square()
    error += ((weights @ spread - 2 * products) * weights).sum(1)
    return 1 - torch.where(squares > 0, error / (squares - seen.square()), torch.nan)
