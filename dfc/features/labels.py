"""A label for each feature, made offline from words that set its top contexts apart from the corpus.

How often a word stands at the peaks, and how often words in a row stand around them, is set
against how often they stand at random places of the corpus. At a peak, forms of a word count
as one if they differ in their endings alone, and are shown in the commonest form. A label is
given only if its words alone tell other top contexts from random places: a feature
with nothing distinctive, such as one that fires everywhere, gets none rather than a bad one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfc.features import label_check
from dfc.features.label_check import Named
from dfc.features.passages import KINDS, WINDOW, Corpus, Entry, Ints, Stretch, in_a_row, stem, units, words
from dfc.machine import progress

Numbers = npt.NDArray[np.float64]

WORDS = "words"  # label_origin of these labels
SAMPLE_CHARACTERS = 2_000_000  # of the corpus that is counted

_LEAST = 3  # top contexts that have to agree
_TOKEN_SHARE, _TOKEN_LIFT = 0.3, 3.0  # least, to count as distinctive: at the peak
_PHRASE_SHARE, _PHRASE_LIFT = 0.4, 8.0  # around it
_GROUP_SHARE, _GROUP_SURE = 0.15, 3.0  # of several features, whose contexts share less: standard errors of the log-odds
_LISTED = 8  # of each kind in the table
_PARTS = 3  # of a label
_LONGEST = 24  # characters of one
_CLOSED = 0.8  # of a phrase's contexts: if a longer one has so many, the shorter is a piece of it
_FEATURES_AT_ONCE = 2_048


@dataclass(frozen=True)
class Common:
    """What several top contexts of a feature have in common; arrays and a list of one length, sorted by feature.

    Attributes:
        features: feature of each.
        kinds: index into KINDS.
        keys: what is counted: words as they are written, or the stem of the word at the peak.
        texts: the words; for a stem, the form in which the feature's peaks have it most often.
        counts: top contexts that have them.
        of: top contexts that the feature has.
    """

    features: Ints
    kinds: Ints
    keys: list[str]
    texts: list[str]
    counts: Ints
    of: Ints


@dataclass(frozen=True)
class Labels:
    """What features are called.

    Attributes:
        texts: of each feature, '' where no words tell where it fires, (features,).
        auroc: how well these words alone tell it, NaN without a label, (features,).
        phrases: the table `phrases`.
    """

    texts: list[str]
    auroc: Numbers
    phrases: pa.Table


def describe(corpus: Corpus, features: int) -> Labels:
    """Labels of all features, each tested on contexts from which no word was taken."""
    with progress.bar("features: labels", features, "features") as bar:
        common = _common(corpus, features, bar.update)
    lift = _lift(common, corpus.sample)
    share, token = common.counts / common.of, common.kinds == 0
    enough = np.where(
        token, (share >= _TOKEN_SHARE) & (lift >= _TOKEN_LIFT), (share >= _PHRASE_SHARE) & (lift >= _PHRASE_LIFT)
    )
    listed, offered = _distinctive(common, enough, np.log(np.maximum(lift, 1)) * common.counts)
    rows = [
        (feature, kind, rank, common.texts[place], int(common.counts[place]), float(lift[place]))
        for feature, kind, own in listed
        for rank, place in enumerate(own)
    ]
    # Where a feature peaks on a common word or sign, that is all there is to say.
    offered += [[place] for place in _commonest(common, np.flatnonzero(token & (share >= _TOKEN_SHARE))).tolist()]
    texts, auroc = _tested(offered, common, corpus, features)
    return Labels(texts, auroc, _phrases(rows))


def of_groups(corpus: Corpus, groups: int) -> tuple[list[str], Numbers]:
    """Names of groups of features, and how well they tell each group's contexts from those of the others.

    Args:
        corpus: whose features are the groups; its `places` are contexts that are set apart, of the `owners`.
        groups: how many there are.

    Returns:
        A text for each, '' where no words tell it, and the AUROC of each, NaN without a name, (groups,).
    """
    common = _common(corpus, groups)
    sure = _sure(common, corpus)
    _, offered = _distinctive(common, (common.counts / common.of >= _GROUP_SHARE) & (sure >= _GROUP_SURE), sure)
    return _tested(offered, common, corpus, groups)


def _distinctive(
    common: Common, enough: npt.NDArray[np.bool_], score: Numbers
) -> tuple[list[tuple[int, int, list[int]]], list[list[int]]]:
    """What sets each feature's contexts apart: (feature, kind, places in `common`, the best first), and of each feature
    the places that make a label."""
    order = np.lexsort((-score, common.kinds, common.features))
    order = order[enough[order]]
    listed: list[tuple[int, int, list[int]]] = []
    offered: list[list[int]] = []
    for mine in np.split(order, np.flatnonzero(np.diff(common.features[order])) + 1) if len(order) else ():
        feature = int(common.features[mine[0]])
        own = [
            _whole([place for place in mine.tolist() if common.kinds[place] == kind], common)[:_LISTED]
            for kind in range(len(KINDS))
        ]
        listed += [(feature, kind, places) for kind, places in enumerate(own)]
        offered.append(_chosen([place for places in own for place in places], common, score))
    return listed, [places for places in offered if places]


def _tested(offered: list[list[int]], common: Common, corpus: Corpus, features: int) -> tuple[list[str], Numbers]:
    """The first label offered of each feature that its words bear out, and how well they do."""
    named = [
        Named(
            int(common.features[places[0]]),
            tuple((int(common.kinds[place]), common.keys[place]) for place in places),
        )
        for places in offered
    ]
    texts, auroc = [""] * features, np.full(features, np.nan)
    for one, places, reached in zip(named, offered, label_check.auroc(named, corpus).tolist(), strict=True):
        if reached >= label_check.ENOUGH and not texts[one.feature]:
            texts[one.feature] = " · ".join(common.texts[place] for place in places)
            auroc[one.feature] = reached
    return texts, auroc


def _commonest(common: Common, places: Ints) -> Ints:
    """Of each feature's among these the one with most contexts, where it is short enough to be read."""
    places = places[[len(common.texts[place]) <= _LONGEST for place in places.tolist()]]
    ranked = places[np.lexsort((-common.counts[places], common.features[places]))]
    return ranked[np.unique(common.features[ranked], return_index=True)[1]]


def _phrases(rows: list[tuple[int, int, int, str, int, float]]) -> pa.Table:
    """The table of feature, kind, rank, text, count and lift."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    return pa.table(
        {
            "feature_id": pa.array(columns[0], pa.int32()),
            "kind": pa.array([KINDS[kind] for kind in columns[1]], pa.string()),
            "rank": pa.array(columns[2], pa.int16()),
            "text": pa.array(columns[3], pa.string()),
            "count": pa.array(columns[4], pa.int32()),
            "lift": pa.array(columns[5], pa.float32()),
        }
    )


def _common(corpus: Corpus, features: int, advance: Callable[[int], object] = lambda features: None) -> Common:
    """What at least _LEAST top contexts of a feature have in common; `advance` is told how many more were looked at."""
    of = np.bincount(corpus.features, minlength=features)
    behind = np.searchsorted(corpus.features, np.arange(features + 1))
    parts: list[tuple[Ints, Ints, Ints]] = []
    keys: list[str] = []
    texts: list[str] = []
    for first in range(0, features, _FEATURES_AT_ONCE):
        stop = min(first + _FEATURES_AT_ONCE, features)
        counted = [_Counted() for _ in KINDS]
        known: dict[Stretch, list[list[int]]] = {}  # features share peaks
        forms: Counter[tuple[int, str, str]] = Counter()
        owners = corpus.features[behind[first] : behind[stop]]
        for feature, around in zip(owners.tolist(), corpus.stretches[behind[first] : behind[stop]], strict=True):
            there = words(around)
            if there.peak:
                forms[feature, stem(there.peak), there.peak] += 1
            if around not in known:
                known[around] = [own.numbers(found) for own, found in zip(counted, there.entries, strict=True)]
            for own, numbers in zip(counted, known[around], strict=True):
                own.add(numbers)
        shown = {(f, stem): word for (f, stem, word), _ in sorted(forms.items(), key=lambda form: form[::-1])}
        for kind, own in enumerate(counted):
            feature_of, mine, counts = own.shared(owners)
            parts.append((feature_of, np.full(len(mine), kind), counts))
            keys += mine
            texts += mine if kind else [shown[at] for at in zip(feature_of.tolist(), mine, strict=True)]
        advance(stop - first)
    features_of, kinds, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(features_of, kind="stable")
    keys, texts = ([column[place] for place in order.tolist()] for column in (keys, texts))
    features_of = features_of[order]
    return Common(features_of, kinds[order], keys, texts, counts[order], of[features_of])


class _Counted:
    """In how many top contexts of each feature words of one kind stand; memory grows with what is added."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._found: list[int] = []
        self._behind = [0]

    def numbers(self, found: tuple[str, ...]) -> list[int]:
        """Words as `add` takes them."""
        known = self._numbers
        return [known.setdefault(key, len(known)) for key in found]

    def add(self, numbers: list[int]) -> None:
        """Take in the next context's words, each once."""
        self._found += numbers
        self._behind.append(len(self._found))

    def shared(self, owners: Ints) -> tuple[Ints, list[str], Ints]:
        """Feature, words and contexts of what at least _LEAST contexts of a feature have, by feature.

        Args:
            owners: the feature of each context, (contexts,).
        """
        owner, size = np.repeat(owners, np.diff(self._behind)), max(1, len(self._numbers))
        cells, counts = np.unique(owner * size + np.array(self._found, dtype=np.int64), return_counts=True)
        features, number = np.divmod(cells[counts >= _LEAST], size)
        named = list(self._numbers)
        return features, [named[n] for n in number.tolist()], counts[counts >= _LEAST]


def _lift(common: Common, sample: list[str]) -> Numbers:
    """How many times as often each stands in the top contexts as at random places of the sample.

    Half an occurrence is added to what is counted, so that what the sample does not hold is rare, not impossible.
    """
    wanted = [{key for key, k in zip(common.keys, common.kinds.tolist(), strict=True) if k == kind} for kind in (0, 1)]
    counts: Counter[tuple[int, str]] = Counter()
    total = 0
    for text in sample:
        spans = units(text)
        total += len(spans)
        counts.update((0, stem) for stem in (stem(text[begin:end]) for begin, end in spans) if stem in wanted[0])
        for start, end in in_a_row(text, spans):
            written = text[spans[start][0] : spans[end][1]]
            if written in wanted[1]:
                counts[1, written] += 1
            if end > start and written in wanted[0]:  # a token of several characters
                counts[0, written] += 1
    known = [counts[kind, key] for kind, key in zip(common.kinds.tolist(), common.keys, strict=True)]
    rate = (np.array(known) + 0.5) / (total + 1)
    by_chance = np.where(common.kinds == 0, rate, 1 - (1 - np.minimum(rate, 1)) ** WINDOW)
    return common.counts / common.of / by_chance


def _sure(common: Common, corpus: Corpus) -> Numbers:
    """By how many standard errors the log-odds of each are higher in its group's contexts than in those of others.

    Half a context is added to each count (Haldane and Anscombe; of words in texts, Monroe et al., Political Analysis
    16, 2008).
    """
    listed = list(zip(common.kinds.tolist(), common.keys, strict=True))
    wanted = set(listed)
    held: Counter[Entry] = Counter()
    for around in corpus.stretches:
        for kind, found in enumerate(words(around).entries):
            held.update(wanted.intersection((kind, key) for key in found))
    elsewhere = np.array([held[entry] for entry in listed], np.float64) - common.counts
    counts = (common.counts, common.of - common.counts, elsewhere, len(corpus.stretches) - common.of - elsewhere)
    own, lacking, other, without = (count + 0.5 for count in counts)
    return np.log(own / lacking * without / other) / np.sqrt(1 / own + 1 / lacking + 1 / other + 1 / without)


def _whole(places: list[int], common: Common) -> list[int]:
    """Those that are not merely a piece of a longer one that is about as common."""
    return [
        place
        for place in places
        if not any(
            common.texts[place] in common.texts[other]
            and len(common.texts[other]) > len(common.texts[place])
            and common.counts[other] >= _CLOSED * common.counts[place]
            for other in places
        )
    ]


def _chosen(places: list[int], common: Common, score: Numbers) -> list[int]:
    """The most distinctive of these that say different things, what stands at the peak first."""
    chosen: list[int] = []
    for place in sorted(places, key=lambda place: -score[place]):
        text = common.texts[place]
        if len(text) <= _LONGEST and not any(_alike(text, common.texts[other]) for other in chosen):
            chosen.append(place)
        if len(chosen) == _PARTS:
            break
    chosen.sort(key=lambda place: (common.kinds[place], -score[place]))
    return chosen


def _alike(one: str, other: str) -> bool:
    """Whether the shorter of two shares half of its words, or of its characters in a script without spaces."""
    first, second = ({stem(text[begin:end]) for begin, end in units(text)} for text in (one, other))
    return 2 * len(first & second) >= min(len(first), len(second))
