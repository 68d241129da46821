from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from dfc.config import VERDICTS
from dfc.store.query import FeatureQuery, ranges
from dfc.ui.shell import address, text
from dfc.ui.shell import feature_filters as filters
from dfc.ui.shell.address import Place
from dfc.ui.shell.notebook import Kept

words = st.text(min_size=1, max_size=20).filter(str.isprintable)
ends = st.tuples(st.floats(-1, 1) | st.just(-math.inf), st.floats(0, 50) | st.just(math.inf))
queries = st.builds(
    FeatureQuery,
    partitions=st.sampled_from([("a",), ("b",), ("shared",), ("a", "b"), ("a", "b", "shared")]),
    alive_only=st.booleans(),
    within=st.dictionaries(st.sampled_from(ranges()), ends).map(lambda chosen: tuple(sorted(chosen.items()))),
    main_source=st.none() | words,
    source=st.none() | words,
    role=st.none() | words,
    label=st.just("") | words,
    search=st.just("") | words,
    strongest=st.booleans(),
    verdicts=st.sampled_from([(), ("exclusive",), ("exclusive", "unclear"), VERDICTS]),
    found=st.sampled_from([None, "a", "b"]),
    finding=st.none() | st.integers(0, 5_000),
    order=st.sampled_from(["specificity", "density", "feature_id", "confidence", "relevance"]),
    descending=st.booleans(),
)
kept = st.builds(Kept, st.booleans(), st.booleans(), st.none() | words, st.none() | words)


@settings(deadline=None)
@given(st.builds(Place, queries, st.integers(0, 200_000), st.booleans(), kept, st.just("") | words))
def test_a_list_survives_the_address(place: Place) -> None:
    assert address.unpack(address.pack(place)) == place


@given(st.text(max_size=60))
def test_any_text_for_a_list_is_a_place_or_nothing(entry: str) -> None:
    found = address.unpack(entry)
    assert found is None or found.position >= 0


@pytest.mark.parametrize(
    ("entry", "number"),
    [("0", 0), ("2147483647", 2**31 - 1), ("2147483648", None), ("9" * 5_000, None), ("-1", None), ("²", None)],
)
def test_a_whole_number_of_the_address(entry: str, number: int | None) -> None:
    assert address.whole(entry) == number
    place = address.unpack(f"at={entry}&in=a")
    assert (place and place.position) == number


@pytest.mark.parametrize("entry", filters.ranges(), ids=lambda entry: entry.field)
def test_a_filter_shows_what_it_asks(entry: filters.Range) -> None:
    """Every choice on a slider comes back from the query that it makes, and has words of its own in the address."""
    pairs = [(low, high) for low in entry.steps for high in entry.steps if low <= high]
    for chosen in pairs:
        assert entry.shown(entry.chosen(chosen)) == chosen
    assert entry.chosen((entry.steps[0], entry.steps[-1])) is None
    assert len({entry.format(step) for step in entry.steps}) == len(entry.steps)


@pytest.mark.parametrize(("share", "shown"), [(0, "never"), (0.001, "1 in 1,000"), (0.9, "more often than not")])
def test_one_in(share: float, shown: str) -> None:
    assert text.one_in(share) == shown


@given(st.text(max_size=40))
def test_plain_text_stays_text_in_markdown(words: str) -> None:
    shown = text.plain(words)
    marks = [place for place, mark in enumerate(shown) if mark in "`*_[]()<>#!|~$"]
    assert all(shown[place - 1] == "\\" for place in marks)


def test_chips_are_escaped() -> None:
    shown = text.chips(["<script>", '"><img onerror=alert(1)>', "\n"])
    assert "<script" not in shown
    assert "<img" not in shown
    assert "↵" in shown


def test_guard_turns_errors_into_one_sentence() -> None:
    def page() -> None:
        from dfc.config import UserError
        from dfc.ui.shell.frame import guard

        with guard():
            raise UserError("the ![prompt](//a.b) is empty; type something.")

    user = AppTest.from_function(page).run()
    assert [error.value for error in user.error] == [r"The \!\[prompt\]\(//a\.b\) is empty; type something\."]
    assert not user.exception
