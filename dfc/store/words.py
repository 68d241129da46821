"""The words of all contexts, each with the features that have it: what makes a search quick where a text is rare."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import regex

from dfc.config.characters import UNSPACED
from dfc.store.query import BETWEEN, RELEVANCE, FeatureQuery, Narrowing, folded

_WORD = regex.compile(rf"[{UNSPACED}]|(?:(?![{UNSPACED}])[\p{{L}}\p{{M}}\p{{N}}_])+")

_ASCII_WORD = re.compile(r"\w+", re.ASCII)
"""The same where all characters are ASCII, as texts mostly are; found in half the time."""

_BROAD = (
    16  # entries of the index a feature, from which on reading them takes longer than the texts, where it is soon found
)
_LOOKED_UP, _AT_ONCE = 12, 3  # words of what is searched: whose entries are counted, and that narrow the search


def split(text: str) -> list[str]:
    """The words of a text, in their order; of a script without spaces each character.

    What a text holds as a part of it, each of its own words holds as a part: so a search for the words of a text misses
    nothing that a search for the text would find.
    """
    return (_ASCII_WORD if text.isascii() else _WORD).findall(text)


@lru_cache(maxsize=1 << 15)  # features share contexts
def _distinct(context: str) -> frozenset[str]:
    return frozenset(split(context))


def narrowing(query: FeatureQuery, rows: Callable[[str, list[Any]], list[dict[str, Any]]]) -> Narrowing | None:
    """By which words the search of a query is narrowed; None: by none, since all are common, or none were kept.

    Args:
        query: that searches a text.
        rows: runs a statement on the store.
    """
    [lower] = rows(f"SELECT {folded('?')} AS text", [query.search])
    words = sorted(set(split(lower["text"])), key=len)[-_LOOKED_UP:]  # long ones are rare
    if not words:
        return None
    entries = "(SELECT coalesce(sum(len(feature_ids)), 0) FROM words WHERE contains(word, ?))"
    each = ", ".join([f"(?, {entries})"] * len(words))
    found = rows(
        f"""SELECT word, entries, (SELECT count(*) FROM words) AS known, features
            FROM (VALUES {each}) AS each (word, entries), (SELECT count(*) AS features FROM store.features)
            ORDER BY entries, word""",
        [value for word in words for value in (word, word)],
    )
    if not found[0]["known"]:
        return None  # of an earlier version
    narrow = tuple(one["word"] for one in found if one["entries"] <= _BROAD * one["features"])[:_AT_ONCE]
    if words == [lower["text"]] and not query.strongest and (narrow or query.order == RELEVANCE):
        return Narrowing(tuple(words), whole=True)
    return Narrowing(narrow) if narrow else None


class WordIndex:
    """Gathers the words of features that come in the order of their numbers."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._words: list[np.ndarray] = []
        self._features: list[np.ndarray] = []
        self._contexts: list[np.ndarray] = []

    def add(self, feature_ids: np.ndarray, texts: list[str]) -> None:
        """Take in texts of contexts in lower case, BETWEEN them; those of one feature come in a row, in one call."""
        begins = np.flatnonzero(np.diff(feature_ids, prepend=-1))
        for begin, end in zip(begins, [*begins[1:], len(feature_ids)], strict=True):
            held: Counter[str] = Counter()
            for text in texts[begin:end]:
                for context in text.split(BETWEEN):
                    held.update(_distinct(context))
            numbers = self._numbers
            self._words.append(np.array([numbers.setdefault(word, len(numbers)) for word in held], np.int32))
            self._contexts.append(np.array(list(held.values()), np.uint16))
            self._features.append(np.full(len(held), feature_ids[begin], np.int32))

    def table(self) -> pa.Table:
        """word, feature_ids in their order, and contexts, how many of each feature's texts have the word."""
        words = np.concatenate([np.empty(0, np.int32), *self._words])
        order = np.argsort(words, kind="stable")  # features of a word stay in their order
        ends = np.cumsum(np.bincount(words, minlength=len(self._numbers)))
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        features = np.concatenate([np.empty(0, np.int32), *self._features])[order]
        contexts = np.concatenate([np.empty(0, np.uint16), *self._contexts])[order]
        return pa.table(
            {
                "word": pa.array(list(self._numbers), pa.string()),
                "feature_ids": pa.ListArray.from_arrays(offsets, pa.array(features)),
                "contexts": pa.ListArray.from_arrays(offsets, pa.array(contexts)),
            }
        )
