"""The verdict on each feature: is it one that only its model has?

A decoder norm of zero only says where a feature was allowed to act. The verdict rests on whether its model
knows better what follows where it fires, on what the other model's activations tell about it, and on whether
another feature fires like it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfc.config import EvidenceConfig
from dfc.crosscoder.model import Crosscoder
from dfc.evidence.pieces import Columns, Found, Piece
from dfc.evidence.probe import share
from dfc.report import score

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What the verdict is made of; arrays are (features,), NaN where a piece is missing.

    `own` is the model of an exclusive feature, and of a shared feature that from which it is predicted better.

    Attributes:
        firings, held_out_firings: pairs on which it fires, of all kept ones and of held-out ones.
        own_r2, other_r2: held-out R² of the probe of its activation.
        own_auroc, other_auroc: of its firing.
        mirror: largest correlation with a feature of the other exclusive partition.
        shared: largest correlation with a shared feature.
        gap: by how many nats a character the other model is more surprised than its own by what follows where it fires,
            more than at matched places.
        gap_error: standard error of that.
    """

    firings: Numbers
    held_out_firings: Numbers
    own_r2: Numbers
    other_r2: Numbers
    own_auroc: Numbers
    other_auroc: Numbers
    mirror: Numbers
    shared: Numbers
    gap: Numbers
    gap_error: Numbers

    @property
    def surprised(self) -> bool:
        """Whether the models' surprise was measured at all."""
        return bool(np.isfinite(self.gap).any())

    @property
    def ratio(self) -> Numbers:
        """The other model's R² over its own, 0 where the other predicts nothing; NaN where its own predicts nothing."""
        return share(self.other_r2, self.own_r2)

    @property
    def auroc_ratio(self) -> Numbers:
        """What the other model's AUROC exceeds chance by, over what its own does; NaN where its own does not."""
        return share(self.other_auroc - 0.5, self.own_auroc - 0.5)


def piece(crosscoder: Crosscoder) -> Piece:
    """`verdict` and `confidence`, from the columns of all other pieces."""

    def columns(found: Found) -> Columns:
        evidence = Evidence(
            found.collected.firings.numpy().astype(float),
            found.numbers("held_out_count"),
            found.numbers("own_r2"),
            found.numbers("other_r2"),
            *found.own_first(found.numbers("auroc_a"), found.numbers("auroc_b")),
            found.numbers("mirror_correlation"),
            found.numbers("shared_correlation"),
            found.numbers("matched_gap"),
            found.numbers("matched_error"),
        )
        return {"verdict": of(evidence, found.config), "confidence": confidence(evidence, found.config)}

    return Piece(columns)


def of(evidence: Evidence, thresholds: EvidenceConfig) -> npt.NDArray[np.str_]:
    """One word for each feature, (features,): the first of these that holds, else `unclear`.

    - `dead`: fires on fewer than `min_firings` pairs, too few to judge by.
    - `mirrored`: correlates with a feature of the other exclusive partition at `mirror_correlation` or more; one
      concept stands on both sides.
    - `shared-like`: correlates with a shared feature at `shared_correlation` or more; or the other model predicts it
      nearly as well as its own, with at least `shared_ratio` of its R² and `shared_auroc` of its AUROC above chance.
    - `exclusive`: its own model predicts it well enough to compare (R² of `own_r2`, on `min_held_out_firings` held-out
      firings); and what follows where it fires surprises the other model more, by `surprise_gap` nats a character and
      `surprise_errors` standard errors at least. If surprise was not measured, the other model predicts the feature
      clearly worse instead: at most `exclusive_ratio` of that R², and `exclusive_auroc` of the AUROC above chance.

    A shared feature has no mirror, and is judged by the rest: as the reference for exclusive ones, and because
    one that is called exclusive acts in one model only, whatever its decoder norms say.
    """
    # A comparison with NaN is false: a missing piece supports nothing.
    judged = (evidence.own_r2 >= thresholds.own_r2) & (evidence.held_out_firings >= thresholds.min_held_out_firings)
    alike = (evidence.ratio >= thresholds.shared_ratio) & (evidence.auroc_ratio >= thresholds.shared_auroc)
    apart = (evidence.ratio <= thresholds.exclusive_ratio) & (evidence.auroc_ratio <= thresholds.exclusive_auroc)
    knows = (evidence.gap >= thresholds.surprise_gap) & (
        evidence.gap >= thresholds.surprise_errors * evidence.gap_error
    )
    return np.select(
        [
            evidence.firings < thresholds.min_firings,
            evidence.mirror >= thresholds.mirror_correlation,
            (evidence.shared >= thresholds.shared_correlation) | (judged & alike),
            judged & (knows if evidence.surprised else apart),
        ],
        ["dead", "mirrored", "shared-like", "exclusive"],
        "unclear",
    )


def confidence(evidence: Evidence, thresholds: EvidenceConfig) -> Numbers:
    """The evidence score, in [0, 1], (features,): how convincing each feature is as one that only its model has.

    The product of `score.factors`, so that one strong objection is enough. 0 where the verdict would be `dead` or its
    own probe predicts nothing.
    """
    pieces = score.Pieces(
        evidence.ratio,
        evidence.auroc_ratio,
        evidence.gap,
        evidence.gap_error,
        evidence.mirror,
        evidence.shared,
        evidence.own_r2,
        evidence.held_out_firings,
        evidence.surprised,
    )
    result = np.prod([*score.factors(pieces, thresholds).values()], axis=0)
    return np.where(evidence.firings < thresholds.min_firings, 0, result)
