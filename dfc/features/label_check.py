"""Whether a label's words alone tell where a feature fires strongly: in contexts from which no word of it was taken.

As detection scores explanations that models write (Paulo et al., arXiv 2410.13928), with the counting of words in place
of the model that reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfc.features.passages import KINDS, Corpus, Entry, words

PLACES = 4_096  # random pairs of the corpus that contexts are told from
ENOUGH = 0.7
"""The least AUROC with which a label is shown: its words stand in two of five such contexts, and hardly elsewhere."""
_LEAST = 2  # contexts without which nothing is known


@dataclass(frozen=True)
class Named:
    """A feature, and what its label is made of."""

    feature: int
    parts: tuple[Entry, ...]


def auroc(named: Sequence[Named], corpus: Corpus) -> npt.NDArray[np.float64]:
    """How well the number of a label's parts that stand around a place tells the feature's contexts from random places.

    Args:
        named: labels, several of a feature if need be.
        corpus: with the contexts that are set apart for it, and random places, or those of other features.

    Returns:
        (labels,): the probability that more parts stand around a context than around a place, half of that that there
        are as many added; NaN where there are fewer than two contexts, or no places.
    """
    most = 1 + max((len(one.parts) for one in named), default=0)
    at_contexts, at_places = (np.zeros((len(named), most)) for _ in range(2))
    owners = np.full(len(corpus.places), -1) if corpus.owners is None else corpus.owners
    others = np.array([len(owners) - int((owners == one.feature).sum()) for one in named])
    of_feature: dict[int, list[int]] = {}
    holders: list[dict[str, list[int]]] = [{} for _ in KINDS]
    for number, one in enumerate(named):
        of_feature.setdefault(one.feature, []).append(number)
        for kind, key in one.parts:
            holders[kind].setdefault(key, []).append(number)
    for feature, around in zip(corpus.tested.tolist(), corpus.tests, strict=True):
        if mine := of_feature.get(feature):
            there = words(around).entries
            for number in mine:
                at_contexts[number, sum(key in there[kind] for kind, key in named[number].parts)] += 1
    for owner, around in zip(owners.tolist(), corpus.places, strict=True):
        there = words(around).entries
        held = Counter(
            number for own, of in zip(there, holders, strict=True) for key in of.keys() & own for number in of[key]
        )
        for number, parts in held.items():
            if named[number].feature != owner:
                at_places[number, parts] += 1
    at_places[:, 0] = others - at_places[:, 1:].sum(axis=1)
    below = np.cumsum(at_places, axis=1) - at_places
    contexts = at_contexts.sum(axis=1)
    won = (at_contexts * (below + at_places / 2)).sum(axis=1)
    known = (contexts >= _LEAST) & (others > 0)
    return np.where(known, won / np.maximum(contexts * others, 1), np.nan)
