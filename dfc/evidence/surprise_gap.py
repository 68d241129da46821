"""Does a feature's model know better what follows where the feature fires?

Linear probes tell what the other model's activations say about a feature. They do not tell what it makes of that: a
model may hold the words of a story and not know how it goes on. So both models' surprise by the text is compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.crosscoder.model import Codes, Crosscoder
from dfc.evidence.moments import Batch
from dfc.evidence.pieces import Columns, Found, Piece

Numbers = npt.NDArray[np.float64]


def piece(crosscoder: Crosscoder) -> Piece:
    """`surprise_gap` and `surprise_error`: in favour of the feature's own model."""
    sums = SurpriseSums(crosscoder.config.features)

    def columns(found: Found) -> Columns:
        gaps = sums.gaps()
        return {"surprise_gap": np.where(found.of_a, gaps.gap, -gaps.gap), "surprise_error": gaps.error}

    return Piece(columns, sums.observe)


@dataclass(frozen=True)
class SurpriseGap:
    """By how many nats a character model B is more surprised than model A by what follows where a feature fires.

    Attributes:
        gap: (features,), weighted by activation, less the same over all of the middle document (the median): a mean
            would be moved by a minority of texts that one model hardly knows, and these are looked for; NaN where it
            was not measured.
        error: its standard error, each document taken as one observation; NaN with fewer than two of them.
    """

    gap: Numbers
    error: Numbers


class SurpriseSums:
    """Sums over rows from which the gaps follow; memory grows with the documents on which each feature fires."""

    def __init__(self, features: int) -> None:
        self._features = features
        self._keys = [torch.zeros(0, dtype=torch.long)]
        self._sums = [torch.zeros(0, 2, dtype=torch.float64)]

    def observe(self, batch: Batch, codes: Codes) -> None:
        """Take in a batch, if what comes after its rows was measured."""
        if batch.ahead is not None:
            self.add(codes, batch.document, batch.ahead)

    def add(self, codes: Codes, document: Tensor, ahead: Tensor) -> None:
        """Take in rows: their codes, documents (rows,), and what comes after each, (rows, 2), as `ahead` gives it."""
        known = ahead[:, 0].isfinite()
        chosen = known[codes.rows]
        every = known.nonzero()[:, 0]  # all rows, as if one more feature fired on each
        rows = torch.cat([codes.rows[chosen], every])
        features = torch.cat([codes.features[chosen], torch.full_like(every, self._features)])
        weights = torch.cat([codes.values[chosen].double(), torch.ones(len(every), dtype=torch.float64)])
        keys, sums = _by_key((document[rows].long() << 32) + features, weights[:, None] * ahead[rows])
        self._keys.append(keys)
        self._sums.append(sums)

    def gaps(self) -> SurpriseGap:
        """The gap of every feature; a ratio of sums, its error by linearisation with documents as clusters."""
        keys, sums = _by_key(torch.cat(self._keys), torch.cat(self._sums))
        features, count = keys & (2**32 - 1), self._features + 1
        nats, characters = torch.zeros(2, count, dtype=torch.float64).index_add_(1, features, sums.T)
        gap = nats / characters  # 0 / 0 where it fires on nothing that was measured
        rest = (sums[:, 0] - gap[features] * sums[:, 1]).square()
        documents = torch.bincount(features, minlength=count).double()
        spread = torch.bincount(features, rest, count) * documents / (documents - 1)
        error = torch.where(documents > 1, spread.sqrt() / characters, torch.nan)
        whole = sums[features == self._features]
        middle = float(np.median(whole[:, 0] / whole[:, 1])) if len(whole) else np.nan
        return SurpriseGap((gap[:-1] - middle).numpy(), error[:-1].numpy())


def _by_key(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of the values, (n, 2), of equal keys."""
    distinct, place = torch.unique(keys, return_inverse=True)
    return distinct, torch.zeros(len(distinct), 2, dtype=torch.float64).index_add_(0, place, values)
