from __future__ import annotations

import math

import pytest

from dfc.report.words import asked, capital, numeral, percent, times, told_apart, unjudged, whose


def test_models_of_one_name_are_told_apart_by_where_they_are_read() -> None:
    places = {"a": "layer 15", "b": "layer 9"}
    assert told_apart({"a": "Qwen", "b": "Gemma"}, places) == {"a": "Qwen", "b": "Gemma"}
    assert told_apart({"a": "Qwen", "b": "Qwen"}, places) == {"a": "Qwen (A, layer 15)", "b": "Qwen (B, layer 9)"}


def test_what_is_negative_has_a_minus_sign() -> None:
    assert [numeral(value, "+.2f") for value in (-1.249, 0.5)] == ["−1.25", "+0.50"]
    assert numeral(-1e-5, "g") == "−1e−05"


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0, "0 %"), (1, "100 %"), (0.5, "50.0 %"), (0.00043217, "0.0432 %"), (-0.125, "−12.5 %"), (math.nan, "–")],
)
def test_a_share_has_as_many_digits_as_are_asked(share: float, shown: str) -> None:
    assert percent(share) == shown


def test_a_share_with_two_digits() -> None:
    shares = (0.0, 1.2e-5, 0.0034, 0.05, 0.5, 1.0)
    assert [percent(share, 2) for share in shares] == ["0 %", "0.0012 %", "0.34 %", "5.0 %", "50 %", "100 %"]


def test_how_many_times_as_often() -> None:
    assert [times(ratio) for ratio in (0.42, 4.0, 9.94, 458.4, 999.7, math.inf)] == [
        "0.4", "4.0", "9.9", "458", "1,000", "over 1,000",
    ]  # fmt: skip


def test_a_sentence_begins_with_a_capital() -> None:
    assert [capital(text) for text in ("no finding", "", "B alone")] == ["No finding", "", "B alone"]


def test_whose_a_feature_is() -> None:
    names = {"a": "Qwen", "b": "Gemma"}
    assert [whose(partition, names) for partition in ("a", "b", "shared")] == [
        "may act only in Qwen",
        "may act only in Gemma",
        "may act in both",
    ]


def test_what_the_verdicts_rest_on() -> None:
    assert "surprises the other model more than at places like it" in asked({"rule": "surprise"})
    assert "as an earlier version of dfc measured it" in asked({"rule": "surprise", "outdated": True})
    told = asked({"rule": "probes", "outdated": True})
    assert "surprises the other" not in told
    assert "How surprised the models are by the text was not asked." in told


def test_why_there_is_no_evidence() -> None:
    assert unjudged({}, "demo").startswith("Not judged yet: `python -m dfc verify demo`")
    assert "another training's features" in unjudged({"stale": True}, "demo")
