"""Words for people."""

from __future__ import annotations

import pytest

from dfc.config import UserError
from dfc.ui.shell.text import around, failure, number


def test_what_can_be_mended_says_so_and_anything_else_is_named_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert failure(UserError("the prompt is empty; type one."), "It failed") == "The prompt is empty; type one."
    assert not caplog.records
    assert failure(RuntimeError("boom"), "It failed") == "It failed: RuntimeError: boom"
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["boom"]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("in comparison with all of Paris, the city", "paris", "…ll of Paris, the city"),
        ("by comparison", "Paris", "by comparison"),
        ("到北京去", "北京", "到北京去"),
        ("x" * 50 + " Paris " + "y" * 50, "Paris", "…" + "x" * 5 + " Paris " + "y" * 29 + "…"),
        ("北京" + "国" * 50, "北京", "北京" + "国" * 15 + "…"),
        ("a\u202eb", "b", "a‹U+202E›b"),
    ],
)
def test_what_is_shown_around_words(text: str, words: str, expected: str) -> None:
    assert around(text, words) == expected


def test_a_number_has_separators_and_a_minus_sign() -> None:
    assert [number(value) for value in (-1234.567, 0.5, None, float("nan"))] == ["−1,234.57", "0.50", "–", "–"]
    assert number(-2.25, 1) == "−2.2"
