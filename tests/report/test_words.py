from __future__ import annotations

from dfc.report.words import told_apart, whose


def test_models_of_one_name_are_told_apart_by_where_they_are_read() -> None:
    places = {"a": "layer 15", "b": "layer 9"}
    assert told_apart({"a": "Qwen", "b": "Gemma"}, places) == {"a": "Qwen", "b": "Gemma"}
    assert told_apart({"a": "Qwen", "b": "Qwen"}, places) == {"a": "Qwen (A, layer 15)", "b": "Qwen (B, layer 9)"}


def test_whose_a_feature_is() -> None:
    names = {"a": "Qwen", "b": "Gemma"}
    assert [whose(partition, names) for partition in ("a", "b", "shared")] == [
        "only in Qwen",
        "only in Gemma",
        "shared by both",
    ]
