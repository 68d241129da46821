"""A label for each feature, made offline from words that set its top contexts apart from the corpus.

How often a word stands at the peaks, and how often words in a row stand around them, is set
against how often they stand at random places of the corpus. A feature with nothing
distinctive, such as one that fires everywhere, gets no label rather than a bad one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfc import progress
from dfc.features.codes import Ints
from dfc.features.passages import WINDOW, Corpus, Passage, is_unspaced, passage, units

WORDS = "words"  # label_origin of these labels
SAMPLE_CHARACTERS = 2_000_000  # of the corpus that is counted
KINDS = ("token", "phrase")

_LEAST = 3  # top contexts that have to agree
_TOKEN_SHARE, _TOKEN_LIFT = 0.25, 3.0  # least, to count as distinctive: at the peak
_PHRASE_SHARE, _PHRASE_LIFT = 0.3, 5.0  # around it
_LISTED = 8  # of each kind in the table
_PARTS = 3  # of a label
_LONGEST = 24  # characters of one
_CLOSED = 0.8  # of a phrase's contexts: if a longer one has so many, the shorter is a piece of it
_FEATURES_AT_ONCE = 2_048
_WORDS_IN_A_ROW, _CHARACTERS_IN_A_ROW = 4, 6


@dataclass(frozen=True)
class Common:
    """What several top contexts of a feature have in common; arrays and a list of one length, sorted by feature.

    Attributes:
        features: feature of each.
        kinds: index into KINDS.
        texts: the words.
        counts: top contexts that have them.
        of: top contexts that the feature has.
    """

    features: Ints
    kinds: Ints
    texts: list[str]
    counts: Ints
    of: Ints


def describe(corpus: Corpus, features: int) -> tuple[list[str], pa.Table]:
    """The label of each feature, '' where nothing is distinctive, and the table `phrases`."""
    found = _common(corpus, features)
    lift = _lift(found, corpus.sample)
    share = found.counts / found.of
    token = found.kinds == 0
    enough = np.where(
        token, (share >= _TOKEN_SHARE) & (lift >= _TOKEN_LIFT), (share >= _PHRASE_SHARE) & (lift >= _PHRASE_LIFT)
    )
    score = found.counts * np.log(np.maximum(lift, 1))
    order = np.lexsort((-score, found.kinds, found.features))
    order = order[enough[order]]
    labels = [""] * features
    rows: list[tuple[int, int, int, str, int, float]] = []
    cuts = np.searchsorted(found.features[order], np.arange(features + 1)).tolist()
    for feature in np.unique(found.features[order]).tolist():
        mine = order[cuts[feature] : cuts[feature + 1]].tolist()
        kept = []
        for kind in range(len(KINDS)):
            own = _whole([place for place in mine if found.kinds[place] == kind], found)[:_LISTED]
            kept += own
            for rank, place in enumerate(own):
                rows.append((feature, kind, rank, found.texts[place], int(found.counts[place]), float(lift[place])))
        labels[feature] = _label(kept, found, score)
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    table = pa.table(
        {
            "feature_id": pa.array(columns[0], pa.int32()),
            "kind": pa.array([KINDS[kind] for kind in columns[1]], pa.string()),
            "rank": pa.array(columns[2], pa.int16()),
            "text": pa.array(columns[3], pa.string()),
            "count": pa.array(columns[4], pa.int32()),
            "lift": pa.array(columns[5], pa.float32()),
        }
    )
    return labels, table


def _common(corpus: Corpus, features: int) -> Common:
    """What at least _LEAST top contexts of a feature have in common."""
    of = np.bincount(corpus.features, minlength=features)
    behind = np.searchsorted(corpus.features, np.arange(features + 1))
    parts: list[tuple[Ints, Ints, Ints]] = []
    texts: list[str] = []
    with progress.bar("features: labels", features, "features") as bar:
        for first in range(0, features, _FEATURES_AT_ONCE):
            stop = min(first + _FEATURES_AT_ONCE, features)
            numbers: dict[tuple[int, str], int] = {}
            owners: list[int] = []
            entries: list[int] = []
            for place in range(behind[first], behind[stop]):
                for entry in set(_entries(passage(corpus.stretches[place]))):
                    entries.append(numbers.setdefault(entry, len(numbers)))
                owners.append(len(entries))
            owner = np.repeat(corpus.features[behind[first] : behind[stop]], np.diff([0, *owners]))
            keys, counts = np.unique(
                owner * len(numbers) + np.array(entries, dtype=np.int64), return_counts=True
            )
            keys, counts = keys[counts >= _LEAST], counts[counts >= _LEAST]
            feature, number = np.divmod(keys, max(1, len(numbers)))
            named = list(numbers)
            texts += [named[n][1] for n in number.tolist()]
            kinds = np.array([named[n][0] for n in number.tolist()], dtype=np.int64)
            parts.append((feature, kinds, counts))
            bar.update(stop - first)
    feature, kinds, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Common(feature, kinds, texts, counts, of[feature])


def _entries(around: Passage) -> Iterator[tuple[int, str]]:
    """(kind, text) of what stands at a peak and around it."""
    if not around.peak:
        return
    first, last = around.peak[0], around.peak[-1]
    yield 0, around.written(first, last)
    for start, end in _in_a_row(around.text, around.units):
        # Signs and numbers at either end say little, unless the peak is there.
        if (start == first or _is_word(around, start)) and (end == last or _is_word(around, end)):
            text = around.written(start, end)
            if "\n" not in text and (start, end) != (first, last):
                yield 1, text


def _in_a_row(text: str, found: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """First and last of units in a row: up to four words, up to six characters of a script without spaces, not one."""
    for start, (begin, _) in enumerate(found):
        unspaced = is_unspaced(text[begin])
        longest = _CHARACTERS_IN_A_ROW if unspaced else _WORDS_IN_A_ROW
        for end in range(start + unspaced, min(start + longest, len(found))):
            yield start, end


def _is_word(around: Passage, place: int) -> bool:
    start, end = around.units[place]
    return any(map(str.isalpha, around.text[start:end]))


def _lift(found: Common, sample: list[str]) -> npt.NDArray[np.float64]:
    """How many times as often each stands in the top contexts as at random places of the sample.

    Half an occurrence is added to what is counted, so that what the sample does not hold is rare, not impossible.
    """
    wanted = set(found.texts)
    counts: Counter[str] = Counter()
    total = 0
    for text in sample:
        spans = units(text)
        total += len(spans)
        counts.update(text[begin:end] for begin, end in spans if text[begin:end] in wanted)
        for start, end in _in_a_row(text, spans):
            if end > start:
                written = text[spans[start][0] : spans[end][1]]
                if written in wanted:
                    counts[written] += 1
    rate = np.array([counts[text] + 0.5 for text in found.texts]) / (total + 1)
    by_chance = np.where(found.kinds == 0, rate, 1 - (1 - np.minimum(rate, 1)) ** WINDOW)
    return found.counts / found.of / by_chance


def _whole(places: list[int], found: Common) -> list[int]:
    """Those that are not merely a piece of a longer one that is about as common."""
    return [
        place
        for place in places
        if not any(
            found.texts[place] in found.texts[other]
            and len(found.texts[other]) > len(found.texts[place])
            and found.counts[other] >= _CLOSED * found.counts[place]
            for other in places
        )
    ]


def _label(places: list[int], found: Common, score: npt.NDArray[np.float64]) -> str:
    """The most distinctive of these that say different things, what stands at the peak first."""
    chosen: list[int] = []
    for place in sorted(places, key=lambda place: -score[place]):
        text = found.texts[place].casefold()
        others = [found.texts[other].casefold() for other in chosen]
        if len(text) <= _LONGEST and not any(text in other or other in text for other in others):
            chosen.append(place)
        if len(chosen) == _PARTS:
            break
    chosen.sort(key=lambda place: (found.kinds[place], -score[place]))
    return " · ".join(found.texts[place] for place in chosen)
