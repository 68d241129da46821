"""The evidence score of features and its factors: what speaks for a feature's being one that only its model has.

`verify` writes the score of every feature, and pages show of what it is made; so the formula stands where both read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dfc.config import EvidenceConfig

Numbers = npt.NDArray[np.float64]

FACTORS = {
    "apart": "how much less the other model's activations tell of it",
    "knows": "how far its model does better than in like texts",
    "alone": "how little any other feature fires like it",
    "readable": "whether its own model's activations tell it at all",
    "seen": "on how many held-out firings this rests",
}
"""What each factor asks, in words."""


@dataclass(frozen=True)
class Pieces:
    """What the score is made of: columns of the evidence, arrays of (features,), NaN where a piece is missing.

    Attributes:
        ratio, auroc_ratio: `probe_ratio`, `auroc_ratio`.
        gap, gap_error: `matched_gap` and its standard error; `surprised`: whether surprise was measured at all.
        mirror, shared: the largest correlations with features of the other model, and with shared ones.
        own_r2: of the probe from its own model.
        held_out_firings: pairs of held-out documents on which it fires.
    """

    ratio: Numbers
    auroc_ratio: Numbers
    gap: Numbers
    gap_error: Numbers
    mirror: Numbers
    shared: Numbers
    own_r2: Numbers
    held_out_firings: Numbers
    surprised: bool


def factors(pieces: Pieces, thresholds: EvidenceConfig) -> dict[str, Numbers]:
    """The factors by the names of FACTORS, each in [0, 1], (features,); their product is the score. 0 where unknown.

    - apart: 1 − the mean of the other model's share of R² and its share of AUROC above chance;
    - knows: g / (g + `surprise_gap`) for the gap beyond matched places less its standard error, g; left out where
      surprise was not measured;
    - alone: 1 − the largest correlation with the other exclusive partition, times the same with shared features;
    - readable: its own R² over `own_r2`, at most 1;
    - seen: n / (n + `min_held_out_firings`) for n held-out firings.
    """
    gap = (pieces.gap - pieces.gap_error).clip(0)
    found = {
        "apart": 1 - (pieces.ratio.clip(0, 1) + pieces.auroc_ratio.clip(0, 1)) / 2,
        "knows": gap / (gap + thresholds.surprise_gap),
        "alone": np.prod([1 - np.nan_to_num(piece).clip(0, 1) for piece in (pieces.mirror, pieces.shared)], axis=0),
        "readable": (pieces.own_r2 / thresholds.own_r2).clip(0, 1),
        "seen": pieces.held_out_firings / (pieces.held_out_firings + thresholds.min_held_out_firings),
    }
    if not pieces.surprised:
        del found["knows"]
    return {name: np.nan_to_num(factor) for name, factor in found.items()}


def of_one(evidence: Any, thresholds: EvidenceConfig, surprised: bool) -> dict[str, float]:
    """The factors of one feature's score.

    Args:
        evidence: its `EvidenceRow`.
        thresholds: of the run.
        surprised: whether surprise was measured in the run.

    Returns:
        By name; nothing where their product is not the score that was kept, as where an earlier version made it.
    """

    def number(name: str) -> Numbers:
        value = evidence.values.get(name)
        return np.array([np.nan if value is None else float(value)])

    pieces = Pieces(
        number("probe_ratio"),
        number("auroc_ratio"),
        number("matched_gap"),
        number("matched_error"),
        number("mirror_correlation"),
        number("shared_correlation"),
        number("own_r2"),
        number("held_out_count"),
        surprised,
    )
    found = {name: float(factor[0]) for name, factor in factors(pieces, thresholds).items()}
    if np.isnan(pieces.mirror[0]) and np.isnan(pieces.shared[0]):
        del found["alone"]  # nothing was compared
    same = abs(float(np.prod([*found.values()])) - (evidence.confidence or 0.0)) < _ROUNDED
    return found if same else {}


_ROUNDED = 0.005  # by which a product of columns in single precision may differ, and more
