"""Labels that are tested: the counting against the definition, pair by pair."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfc.corpus import plain
from dfc.features import label_check
from dfc.features.label_check import Named
from dfc.features.passages import Corpus, Stretch, stretch

WORDS = ("ash", "birch", "cedar", "dogwood")
Text = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6)


def around(words: list[str]) -> Stretch:
    """Peaks on its last word."""
    text = " ".join(words)
    return stretch(plain(text), len(text) - len(words[-1]), len(text))


def corpus(tests: list[list[str]], places: list[list[str]]) -> Corpus:
    nothing = np.zeros(0, dtype=np.int64)
    of = np.zeros(len(tests), dtype=np.int64)
    return Corpus(nothing, [], [], of, [around(text) for text in tests], [around(text) for text in places])


@given(tests=st.lists(Text, min_size=3, max_size=6), places=st.lists(Text, min_size=1, max_size=8))
def test_it_is_the_chance_that_more_words_stand_around_a_context(
    tests: list[list[str]], places: list[list[str]]
) -> None:
    """The label: a peak on ash, and birch before the peak."""
    label = Named(0, ((0, "ash"), (1, "birch")))

    def parts(text: list[str]) -> int:
        return (text[-1] == "ash") + ("birch" in text[:-1])

    won = [(parts(one) > parts(other)) + (parts(one) == parts(other)) / 2 for one, other in product(tests, places)]
    [found, nothing] = label_check.auroc([label, Named(1, ((0, "ash"),))], corpus(tests, places))
    assert found == pytest.approx(np.mean(won))
    assert np.isnan(nothing)  # no contexts of feature 1 are set apart


def test_too_few_contexts_or_no_places_tell_nothing() -> None:
    label, few = Named(0, ((0, "ash"),)), [["ash"]]
    assert np.isnan(label_check.auroc([label], corpus(few, [["birch"]]))).all()
    assert np.isnan(label_check.auroc([label], corpus([["ash"]] * 5, []))).all()
    assert label_check.auroc([], corpus(few, [])).shape == (0,)


def test_places_of_the_same_feature_are_none_to_be_told_from() -> None:
    """Two of four places are its own: beside all four it would tell half of what it tells."""
    label, tests = Named(0, ((0, "ash"),)), [["ash"]] * 3
    known = corpus(tests, [["ash"], ["ash"], ["birch"], ["cedar"]])
    [among_all] = label_check.auroc([label], known)
    [among_others] = label_check.auroc([label], replace(known, owners=np.array([0, 0, 1, 1])))
    assert among_all == pytest.approx(0.75)
    assert among_others == 1
    assert np.isnan(label_check.auroc([label], replace(known, owners=np.zeros(4, np.int64)))).all()
