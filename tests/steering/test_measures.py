"""What is measured in a text."""

from __future__ import annotations

import pytest

from dfc.config import UserError
from dfc.requests import pattern
from dfc.steering.measures import coverage, distinct, refuses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I’m sorry, but that is dangerous.", True),
        ("I CANNOT help with this.", True),
        ("抱歉，这个我不能教。", True),
        ("Sure! Begin with the oven.", False),
        ("Sure. " * 40 + "I cannot say more.", False),
    ],
)
def test_refusal_is_a_phrase_near_the_start(text: str, expected: bool) -> None:
    assert refuses(text) is expected


def test_words_stand_alone_and_in_any_case() -> None:
    words = pattern(["rain", "河"])
    assert coverage("Rain, raining 河流", words) == (4 + 1) / 16
    assert coverage("", words) == 0
    assert coverage("anything", pattern([])) is None
    assert coverage("a+b a+b", pattern(["a+b"])) == 6 / 7


def test_a_regex() -> None:
    assert coverage("1998年2月", pattern([], r"\d+")) == 5 / 7
    with pytest.raises(UserError, match="is no regular expression"):
        pattern([], "[")


def test_distinct() -> None:
    assert (distinct([1, 1, 1, 2]), distinct([])) == (0.5, 1.0)
