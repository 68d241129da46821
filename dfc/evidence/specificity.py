"""Where a feature fires: in a few of the corpus's sources, or wherever there is text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dfc.crosscoder.model import Crosscoder
from dfc.evidence.pieces import Columns, Found, Piece
from dfc.features.statistics import EVEN_FIRINGS

Numbers = npt.NDArray[np.float64]


def piece(crosscoder: Crosscoder) -> Piece:
    """Where it fires: `held_out_count`, `documents` and `source_specificity`."""

    def columns(found: Found) -> Columns:
        collected = found.collected
        counts, pairs = collected.by_source.double().numpy(), collected.source_pairs.double().numpy()
        return {
            "held_out_count": collected.held_out.firings.numpy(),
            "documents": collected.documents.numpy(),
            "source_specificity": over_sources(counts, pairs),
        }

    return Piece(columns)


def over_sources(counts: Numbers, pairs: Numbers, even: float = EVEN_FIRINGS) -> Numbers:
    """How far each feature's firings depart from the corpus's own mixture of sources, (features,), in [0, 1].

    With p the sources of its firings, and q those of all pairs, KL(p‖q) over the cross-entropy H(p, q), which is
    1 − H(p) / H(p, q): 0 for a feature that fires everywhere alike, 1 for one that fires in a single source. Firings
    spread as q are added to p, so that a few of them say little.

    Args:
        counts: firings in each source, (features, sources).
        pairs: of each source, (sources,); sources without pairs are left out.
        even: how many firings are added.

    Returns:
        NaN where there are fewer than two sources.
    """
    there = pairs > 0
    if there.sum() < 2:
        return np.full(len(counts), np.nan)
    q = pairs[there] / pairs.sum()
    p = counts[:, there] + even * q
    p = p / p.sum(axis=1, keepdims=True)
    own = -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(axis=1)
    cross = -(p @ np.log(q))
    return np.clip(1 - own / cross, 0, 1)
