"""What a run's store says, printed and as JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc.store.reader import FeatureQuery, Store
from tests.cli.told import printed, refused, told
from tests.ui.folders import HOSTILE_FEATURE, find, make_broken_run, make_half_run, make_run


def test_runs_and_how_far_each_is(data: Path) -> None:
    assert told("runs") == []
    assert "There are no runs in" in printed("runs")
    find(make_run(data).store)
    make_half_run(data)
    make_broken_run(data)
    found = {run["name"]: run for run in told("runs")}
    assert found["demo"]["done"] == ["pair", "harvest", "train", "encode", "index", "verify"]
    assert found["demo"]["models"] == {"a": "SmolLM2-135M-Instruct", "b": "Gemma-3-270m"}
    assert "train" not in found["half"]["done"]
    assert "broken" in found["broken"]["problem"]
    assert "demo                 done: pair, harvest, train, encode, index, verify" in printed("runs")


def test_an_overview(data: Path) -> None:
    run = make_run(data)
    assert told("overview", "demo")["rule"].startswith("Not judged yet")
    find(run.store)
    store, found = Store(run.store), told("overview", "demo")
    assert found["findings"] == {"a": 12, "b": 1}
    assert found["tested"] == 299
    assert found["models"]["a"]["layer"] == 15
    assert found["facts"]["kept_pairs"] == store.facts()["kept_pairs"]
    assert found["partitions"]["shared"]["features"] == int(store.partitions().loc["shared", "features"])
    assert found["verdicts"]["a"] == {"exclusive": 1, "unclear": 59}
    assert {row["name"]: row["error"] for row in found["texts"]}["latin"] is None
    assert "A  SmolLM2-135M-Instruct, layer 15 of " in printed("overview", "demo")


def test_features_are_filtered_sorted_and_searched(data: Path) -> None:
    store = Store(make_run(data).store)
    first = told("features", "demo", "--partition", "b", "--order", "density", "--first", "3", "--skip", "1")
    expected = store.features(FeatureQuery(partitions=("b",), order="density", limit=3, offset=1))
    assert [row["feature_id"] for row in first["features"]] == expected["feature_id"].tolist()
    assert first["total"] == store.count(FeatureQuery(partitions=("b",)))
    rising = told("features", "demo", "--order", "density", "--rising", "--first", "1")["features"]
    assert rising[0]["density"] == store.features(FeatureQuery(order="density", descending=False))["density"][0]
    lowest = told("features", "demo", "--order", "feature_id", "--rising", "--first", "1")["features"]
    assert lowest[0]["feature_id"] == 0
    words = "".join(store.contexts(0)[0].tokens_a).strip()[:12]
    hits = told("features", "demo", "--search", words, "--first", "2")
    assert hits["order"] == "relevance"
    assert all(words.lower() in row["match"].lower() for row in hits["features"] if row["match"])
    assert f"{len(hits['features'])} of {hits['total']:,} features, by relevance" in printed(
        "features", "demo", "--search", words, "--first", "2"
    )


def test_features_of_a_finding_and_of_a_verdict(data: Path) -> None:
    find(make_run(data).store)
    of_finding = told("features", "demo", "--finding", "0")
    assert of_finding["order"] == "confidence"
    assert {row["feature_id"] for row in of_finding["features"]} == {0, 150, 151}
    exclusive = told("features", "demo", "--verdict", "exclusive")
    assert {row["feature_id"] for row in exclusive["features"]} == {0, 60}


def test_one_feature(data: Path) -> None:
    run = make_run(data)
    alone = told("feature", "demo", "3")
    assert (alone["evidence"], alone["weighed"], alone["finding"]) == (None, None, "")
    find(run.store)
    store, found = Store(run.store), told("feature", "demo", "150", "--contexts", "1")
    assert found["label"] == store.feature(150).label
    assert found["evidence"]["finding"] == 0
    assert found["finding"].startswith("Finding 1 of 12 where SmolLM2-135M-Instruct does better")
    assert found["weighed"]["sentence"]
    assert [one["rank"] for one in found["contexts"]] == [0] * len({one["band"] for one in found["contexts"]})
    assert all("[" in one["text"] for one in found["contexts"])
    assert len(found["logits"]) == len(store.logits(150))
    assert printed("feature", "demo", "150").startswith("feature 150 (shared)")
    assert "\x1b" not in printed("feature", "demo", str(HOSTILE_FEATURE))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["feature", "demo", "4000"], "feature 4000 does not exist in this run"),
        (["feature", "none", "3"], "none: "),
        (["overview", "none"], "none: "),
        (["features", "demo", "--order", "'; DROP"], "there is no order `'; DROP`; it is one of feature_id, "),
        (["features", "demo", "--partition", "c"], "there is no partition `c`; it is one of a, b, shared."),
        (["features", "demo", "--verdict", "true"], "there is no verdict `true`; it is one of exclusive, "),
        (["features", "demo", "--source", "nosuch"], "there is no source `nosuch`; it is one of "),
        (["features", "demo", "--finding", "99"], "there is no finding `99`; the run has none."),
        (["prompt", "demo"], "give one of --text TEXT, --chat FILE and --document NUMBER"),
    ],
)
def test_what_cannot_be_told_is_one_sentence(data: Path, arguments: list[str], sentence: str) -> None:
    make_run(data)
    assert sentence in refused(*arguments)
