"""Does a feature's model do better beside the other one where the feature fires?

Linear probes tell what the other model's activations say about a feature. They do not tell what it makes of that: a
model may hold the words of a story and not know how it goes on. So both models' surprise by the text is compared, and
compared with the same at matched places where the feature does not fire (`matching`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.crosscoder.model import Codes, Crosscoder
from dfc.evidence.following import Following
from dfc.evidence.keyed_sums import KeyedSums
from dfc.evidence.moments import Batch
from dfc.evidence.pieces import Columns, Found, Piece, Profiles
from dfc.machine.processes import Group

Numbers = npt.NDArray[np.float64]
_REST = 0.1
"""Share of the characters after a kind of place that a feature must leave alone; with less there is nothing to match
its firings with."""
_AT_ONCE = 512
_LEAST = torch.finfo(torch.float64).tiny


def piece(crosscoder: Crosscoder) -> Piece:
    """The gaps, plain and matched, on all documents and on held-out ones, in favour of the feature's own model."""
    sums = SurpriseSums(crosscoder.config.features)

    def columns(found: Found) -> Columns:
        gaps = sums.gaps()
        found.profiles = gaps.profiles
        own = np.where(found.of_a, 1.0, -1.0)
        return {
            "plain_gap": own * gaps.plain.gap,
            "plain_error": gaps.plain.error,
            "matched_gap": own * gaps.matched.gap,
            "matched_error": gaps.matched.error,
            "matched_share": gaps.share,
            "matched_documents": gaps.documents,
            "held_out_gap": own * gaps.held_out.gap,
            "held_out_error": gaps.held_out.error,
        }

    return Piece(columns, sums)


@dataclass(frozen=True)
class SurpriseGap:
    """By how many nats a character model B is more surprised than model A by what follows where a feature fires.

    Attributes:
        gap: (features,), weighted by activation; NaN where it was not measured.
        error: its standard error, each document taken as one observation; NaN with fewer than two of them.
    """

    gap: Numbers
    error: Numbers


@dataclass(frozen=True)
class Gaps:
    """What the sums come to.

    Attributes:
        plain: as it is.
        matched: less the same at matched places where the feature does not fire.
        held_out: that of its firings on documents kept out of training alone; NaN with fewer than two of them.
        share: of a feature's firing, what has matched places, (features,).
        documents: as how many documents those count in which a feature fires, (features,): fewer than there are, where
            most of its firing lies in some of them.
        profiles: where it fires.
    """

    plain: SurpriseGap
    matched: SurpriseGap
    held_out: SurpriseGap
    share: Numbers
    documents: Numbers
    profiles: Profiles


class SurpriseSums:
    """Sums over rows from which the gaps follow; memory grows with the documents on which each feature fires."""

    def __init__(self, features: int) -> None:
        self._features = features
        self._fired = KeyedSums(3)  # by feature and passage: z · nats, z · characters, z · nats beyond
        # By feature and cell: nats beyond, characters; z · characters, z · nats beyond, and both on held-out documents.
        self._alike = KeyedSums(6)
        self._rarer = KeyedSums(2)  # by feature and slope: z · rarity, on held-out documents again
        self._cells = KeyedSums(2)  # by cell and document: nats beyond, characters
        self._slopes = KeyedSums(2)  # by slope and document: rarity · nats beyond, rarity²
        self._whole = KeyedSums(1)  # by document and passage: characters
        self._held_out: set[int] = set()

    def observe(self, batch: Batch) -> None:
        """Take in a batch, if what comes after its rows was measured."""
        if batch.following is not None:
            self.add(batch.codes, batch.document, batch.following, batch.held_out)

    def add(self, codes: Codes, document: Tensor, following: Following, held_out: bool = False) -> None:
        """Take in rows: codes, documents (rows,), what follows each, and whether they were kept out of training."""
        every = (following.cell >= 0).nonzero()[:, 0]
        known, place = following.take(every), document[every]
        self._cells.add(known.cell, place, torch.stack([known.beyond, known.characters], 1))
        self._slopes.add(known.slope, place, torch.stack([known.rare * known.beyond, known.rare.square()], 1))
        self._whole.add(place, known.passage, known.characters[:, None])
        chosen = following.cell[codes.rows] >= 0
        rows, features, z = codes.rows[chosen], codes.features[chosen], codes.values[chosen].double()
        own = following.take(rows)
        weighted = z[:, None] * torch.stack([own.gap, own.characters, own.beyond, own.rare], 1)
        out = weighted * float(held_out)
        self._fired.add(features, own.passage, weighted[:, :3])
        alike = [own.beyond, own.characters, *weighted[:, 1:3].T, *out[:, 1:3].T]
        self._alike.add(features, own.cell, torch.stack(alike, 1))
        self._rarer.add(features, own.slope, torch.stack([weighted[:, 3], out[:, 3]], 1))
        if held_out:
            self._held_out.update(torch.unique(document).tolist())

    def gather(self, group: Group) -> None:
        """In the first process, take in what all were shown."""
        for sums in (self._fired, self._alike, self._rarer, self._cells, self._slopes, self._whole):
            sums.gather(group)
        self._held_out = set(group.collect(torch.tensor(sorted(self._held_out), dtype=torch.long)).tolist())

    def gaps(self) -> Gaps:
        """The gaps of every feature; ratios of sums, their errors by linearisation with documents as clusters.

        Matched places: with R and C the nats beyond the expected and the characters of a feature's firings in a cell of
        C₀ characters, over all of which the nats beyond add up to 0, what is expected where it does not fire is lower
        by R / (C₀ − C) a character. A document moves what the feature comes to, what it is compared with, and what
        rarity is worth.
        """
        document, passage, whole = self._whole.total()
        stands = torch.zeros(int(passage.max()) + 1 if len(passage) else 0, dtype=torch.long)
        stands[passage] = document
        size = torch.zeros(len(stands), dtype=torch.float64).index_add_(0, passage, whole[:, 0])
        fired, where, parts = self._fired.total()
        documents, number = torch.unique(document, return_inverse=True)
        numbered = torch.zeros(len(stands), dtype=torch.long)
        numbered[passage] = number
        feature, number, sums = _merged(fired, numbered[where], parts)
        nats, characters, beyond = sums.unbind(1)
        plain = self._ratio(feature, number, nats, characters)
        matched, share = self._matched((feature, number, beyond, characters), documents, held_out=False)
        out = torch.isin(documents, torch.tensor(sorted(self._held_out), dtype=torch.long))[number]
        held_out, _ = self._matched((feature[out], number[out], beyond[out], characters[out]), documents, held_out=True)
        held_out.gap[np.isnan(held_out.error)] = np.nan
        return Gaps(
            SurpriseGap(plain[0].numpy(), plain[1].numpy()),
            matched,
            held_out,
            share.numpy(),
            self._effective(feature, characters).numpy(),
            Profiles(*(part.numpy() for part in (fired, where, *parts.T[1:], stands, size))),
        )

    def _matched(
        self, firings: tuple[Tensor, Tensor, Tensor, Tensor], documents: Tensor, held_out: bool
    ) -> tuple[SurpriseGap, Tensor]:
        """The matched gap of every feature, and the share of its firing that has matched places, (features,).

        The error takes the feature's own firings as part of what it is compared with, and is then multiplied by what
        leaving them out multiplies.

        Args:
            firings: feature, document, nats beyond what is expected and characters: a row for each feature and
                document, in their order.
            documents: their numbers.
            held_out: whether these firings are those on held-out documents alone.
        """
        cell, _, cells = self._cells.total()
        size = torch.bincount(cell, cells[:, 1])
        feature, alike, sums = self._alike.total()
        beyond, characters, *both = sums.unbind(1)
        weight, weighted = both[2:] if held_out else both[:2]
        fired = self._sum(feature, weight)
        rest = size[alike] - characters
        left = rest >= _REST * size[alike]
        own = self._sum(feature[left], weight[left])
        gap = self._sum(feature[left], (weighted + beyond / rest * weight)[left]) / own
        inflation = self._sum(feature[left], (size[alike] / rest * weight)[left]) / own
        error = self._ratio(*firings, self._expected(documents, held_out))[1]
        return SurpriseGap(gap.numpy(), (inflation * error).numpy()), own / fired

    def _expected(self, documents: Tensor, held_out: bool) -> Expected:
        """How what each feature is compared with moves with each of the documents."""
        feature, cell, parts = self._alike.total()
        weight = parts[:, 4 if held_out else 2]
        fired = self._sum(feature, weight)
        rarer, slope, rarity = self._rarer.total()
        return Expected(
            Moves.of(self._cells, documents, feature, cell, weight / fired[feature]),
            Moves.of(self._slopes, documents, rarer, slope, rarity[:, int(held_out)] / fired[rarer]),
        )

    def _sum(self, feature: Tensor, values: Tensor) -> Tensor:
        return torch.zeros(self._features, dtype=torch.float64).index_add_(0, feature, values)

    def _ratio(
        self,
        feature: Tensor,
        document: Tensor,
        upper: Tensor,
        lower: Tensor,
        expected: Expected | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Σ upper / Σ lower of each feature, and its standard error.

        Args:
            feature, document, upper, lower: a row for each feature and document, in their order.
            expected: if what the feature is compared with moves as well.
        """
        total = self._sum(feature, lower)
        ratio = self._sum(feature, upper) / total  # 0 / 0 where it fires on nothing that was measured
        moves = (upper - ratio[feature] * lower) / total[feature]
        documents = self._effective(feature, lower)
        squares = self._sum(feature, moves.square())
        if expected is not None:
            for first in range(0, self._features, _AT_ONCE):
                own = slice(first, min(first + _AT_ONCE, self._features))
                against = expected.of(own)
                begin, end = torch.searchsorted(feature, torch.tensor([own.start, own.stop])).tolist()
                against[feature[begin:end] - first, document[begin:end]] -= moves[begin:end]
                squares[own] = against.square().sum(1)
        spread = squares * documents / (documents - 1)
        several = torch.bincount(feature, minlength=self._features) > 1
        return ratio, torch.where(several, spread.sqrt(), torch.nan)

    def _effective(self, feature: Tensor, weight: Tensor) -> Tensor:
        """As how many documents each feature's count that weigh unevenly, (Σ w)² / Σ w² (Kish)."""
        return self._sum(feature, weight).square() / self._sum(feature, weight.square())


@dataclass(frozen=True)
class Moves:
    """How some numbers move with documents, and what each feature takes of them.

    Attributes:
        feature, number, share: how much each feature takes of each number, in the order of features, (entries,).
        moves: what each document adds to each number, (numbers, documents).
    """

    feature: Tensor
    number: Tensor
    share: Tensor
    moves: Tensor

    @classmethod
    def of(cls, sums: KeyedSums, documents: Tensor, feature: Tensor, number: Tensor, share: Tensor) -> Moves:
        """Of ratios Σ first / Σ second whose sums, by number and document, are given."""
        numbers, document, parts = sums.total()
        size = torch.bincount(numbers, parts[:, 1])
        moves = torch.zeros(len(size), len(documents), dtype=torch.float64)
        moves[numbers, torch.searchsorted(documents, document)] = parts[:, 0] / size[numbers].clamp_min(_LEAST)
        return cls(feature, number, share, moves)

    def add_to(self, features: slice) -> Tensor:
        """What each document adds to what these features take, (features, documents)."""
        begin, end = torch.searchsorted(self.feature, torch.tensor([features.start, features.stop])).tolist()
        shares = torch.zeros(features.stop - features.start, len(self.moves), dtype=torch.float64)
        shares[self.feature[begin:end] - features.start, self.number[begin:end]] = self.share[begin:end]
        return shares @ self.moves


@dataclass(frozen=True)
class Expected:
    """What each feature is compared with: what its cells come to, and what the rarity of what follows is worth."""

    cells: Moves
    slopes: Moves

    def of(self, features: slice) -> Tensor:
        """What each document adds to what these features are compared with, (features, documents)."""
        return self.cells.add_to(features) + self.slopes.add_to(features)


def _merged(feature: Tensor, document: Tensor, sums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sums by feature and document, of sums by feature and passage."""
    merged = KeyedSums(sums.shape[1])
    merged.add(feature, document, sums)
    return merged.total()
