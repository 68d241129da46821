"""For each exclusive feature, the feature that fires most like it where it should have no like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.crosscoder.model import Codes, Crosscoder
from dfc.evidence import correlation
from dfc.evidence.moments import exclusive_count
from dfc.evidence.pieces import Columns, Found, Piece
from dfc.machine import progress

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Likeness:
    """The most correlated feature of another partition, for every feature, (features,).

    Attributes:
        ids: -1 where there is none.
        correlations: NaN where there is none.
    """

    ids: Ints
    correlations: Numbers


def piece(crosscoder: Crosscoder) -> Piece:
    """The likest feature of the other exclusive partition (`mirror_…`), and of the shared one (`shared_…`)."""

    def columns(found: Found) -> Columns:
        mirrors, shared = correlations(crosscoder, found.collected.codes, found.collected.pairs)
        return {
            "mirror_id": mirrors.ids,
            "mirror_correlation": mirrors.correlations,
            "shared_id": shared.ids,
            "shared_correlation": shared.correlations,
        }

    return Piece(columns)


@torch.no_grad()
def correlations(crosscoder: Crosscoder, codes: Codes, pairs: int) -> tuple[Likeness, Likeness]:
    """For each exclusive feature the largest correlation with the other exclusive partition, and with shared features.

    Args:
        crosscoder: whose features these are.
        codes: sorted by feature.
        pairs: how many pairs they are the codes of.
    """
    features = crosscoder.config.features
    partition = np.array(crosscoder.partitions())
    partner = {side: torch.from_numpy(partition == other) for side, other in (("a", "b"), ("b", "a"))}
    shared = torch.from_numpy(partition == "shared")
    ids = torch.full((2, features), -1)
    largest = torch.full((2, features), torch.nan, dtype=torch.float64)
    with progress.bar("evidence: mirrors", exclusive_count(crosscoder), "features") as bar:
        for part in crosscoder.parts:
            if part.partition == "shared":
                continue
            own = range(part.first_id, part.first_id + len(part))
            for block, coefficients in correlation.blocks(codes, own, codes, features, pairs):
                for row, allowed in enumerate((partner[part.partition], shared)):
                    ids[row, block], largest[row, block] = _largest(coefficients, allowed)
                bar.update(block.stop - block.start)
    mirror, other = (Likeness(i.numpy(), c.numpy()) for i, c in zip(ids, largest, strict=True))
    return mirror, other


def _largest(coefficients: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """Column and value of the largest correlation among allowed columns; -1 and NaN where none is defined."""
    usable = torch.where(allowed & coefficients.isfinite(), coefficients, -torch.inf)
    value, column = usable.max(dim=1)
    there = value.isfinite()
    return torch.where(there, column, -1), torch.where(there, value, torch.nan)
