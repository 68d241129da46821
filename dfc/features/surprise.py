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

from dfc.crosscoder.model import Codes

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SurpriseGap:
    """By how many nats a character model B is more surprised than model A by what follows where a feature fires.

    Attributes:
        gap: (features,), weighted by activation, less the same over all pairs; NaN where it was not measured.
        error: its standard error, each document taken as one observation; NaN with fewer than two of them.
    """

    gap: Numbers
    error: Numbers


class SurpriseSums:
    """Sums over rows from which the gaps follow; memory grows with the documents on which each feature fires."""

    def __init__(self, features: int) -> None:
        self._features = features
        self._all = torch.zeros(2, dtype=torch.float64)
        self._keys = [torch.zeros(0, dtype=torch.long)]
        self._sums = [torch.zeros(0, 2, dtype=torch.float64)]

    def add(self, codes: Codes, document: Tensor, ahead: Tensor) -> None:
        """Take in rows: their codes, documents (rows,), and what comes after each, (rows, 2), as `ahead` gives it."""
        known = ahead[:, 0].isfinite()
        self._all += ahead[known].sum(0)
        chosen = known[codes.rows]
        rows, features, values = (getattr(codes, name)[chosen] for name in ("rows", "features", "values"))
        keys, place = torch.unique((document[rows].long() << 32) + features, return_inverse=True)
        weighted = values.double()[:, None] * ahead[rows]
        self._keys.append(keys)
        self._sums.append(torch.zeros(len(keys), 2, dtype=torch.float64).index_add_(0, place, weighted))

    def gaps(self) -> SurpriseGap:
        """The gap of every feature; a ratio of sums, its error by linearisation with documents as clusters."""
        keys, place = torch.unique(torch.cat(self._keys), return_inverse=True)
        sums = torch.zeros(len(keys), 2, dtype=torch.float64).index_add_(0, place, torch.cat(self._sums))
        features = keys & (2**32 - 1)
        nats, characters = torch.zeros(2, self._features, dtype=torch.float64).index_add_(1, features, sums.T)
        gap = nats / characters  # 0 / 0 where it fires on nothing that was measured
        rest = (sums[:, 0] - gap[features] * sums[:, 1]).square()
        documents = torch.bincount(features, minlength=self._features).double()
        spread = torch.bincount(features, rest, self._features) * documents / (documents - 1)
        error = torch.where(documents > 1, spread.sqrt() / characters, torch.nan)
        return SurpriseGap((gap - self._all[0] / self._all[1]).numpy(), error.numpy())
