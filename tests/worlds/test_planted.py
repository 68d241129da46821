"""The planted world from its texts to its page, on models too small to learn anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfc import runs
from dfc.config import SIDES, UserError
from dfc.machine import disk
from dfc.screen import triage
from dfc.screen.queue import subjects
from dfc.store.reader import Store
from dfc.worlds import planted, planted_report, planted_texts
from dfc.worlds.planted import Setting
from dfc.worlds.planted_models import ModelTraining
from dfc.worlds.planted_result import FIRST, PlantedFinding, PlantResult, SeedResult
from tests.ui.folders import find, make_run

SMALL = Setting(
    training=ModelTraining(steps=12, batch=8, warmup_steps=2, width_a=16, width_b=24, layers=2),
    topics=1,
    documents=60,
    planted=6,
    run={
        "corpus": {"pairs": 1_500, "held_out": 0.2, "drop_duplicates": False},
        "crosscoder": {"features": 64, "k": 4},
        "training": {
            **planted.RUN["training"],
            "steps": 40,
            "batch": 64,
            "warmup_steps": 2,
            "k_start": 8,
            "k_anneal_steps": 5,
            "aux_k": 8,
            "dead_after_pairs": 640,
            "threshold_start": 10,
        },
        "index": {"top_contexts": 4, "band_contexts": 0},
    },
    prompts=2,
    tokens=4,
)


def test_a_whole_world(data: Path) -> None:
    [result] = planted.run([5], SMALL, workers=1)
    assert [plant.name for plant in result.plants] == [
        "a-fishing",
        "a-identity",
        "a-refusal",
        "b-printing",
        "b-identity",
    ]
    for plant in result.plants:
        assert all(0.1 < value < 10 for value in plant.surprise.values())
        assert 0 <= plant.baseline <= 1
        assert all(finding.shows(plant.name) and finding.side == plant.side for finding in plant.findings)
    made = runs.find("planted-5")
    [source] = made.config().corpus.sources
    assert source.name == "texts", "no source tells what is planted"
    assert disk.read_json(made.path / "planted.json")["seed"] == 5
    listed = Store(made.store).findings()
    for side in SIDES:
        own = [finding for finding in result.findings if finding.side == side]
        assert result.listed[side] == (listed["side"] == side).sum()
        assert len(own) == min(FIRST, result.listed[side])
        assert [finding.rank for finding in own] == list(range(len(own)))
        assert all(sum(finding.texts.values()) > 0 and finding.gap > 0 for finding in own)
    queue = triage.ordered(triage.candidates(made))
    for plant in result.plants:
        assert (plant.listed is not None) == plant.found, "the same features are asked, in another order"
        for place, entries in ((plant.listed, listed), (plant.queued, queue)):
            assert place is None or 0 <= place < len(entries)
        if plant.queued is not None:
            assert queue[plant.queued].subject.side == plant.side
        if plant.listed is not None:
            assert plant.queued is not None, "what is in a finding is in the queue"
            assert listed["feature_id"][plant.listed] == plant.findings[0].feature_id

    weights = data / "models" / "planted-5" / "a" / "model.safetensors"
    trained = weights.stat().st_mtime_ns
    assert planted.one_seed(5, SMALL) == result
    assert weights.stat().st_mtime_ns == trained
    with pytest.raises(UserError, match=r"planted-5: the models were trained with other settings; delete it"):
        planted.one_seed(5, replace(SMALL, topics=2))


def _finding(rank: int, **changes: Any) -> PlantedFinding:
    texts = {"a-fishing": 3, "sport": 1}
    found = PlantedFinding(
        rank, "a", 3, "shared", "unclear", 0.25, 0.01, 7, own=0.75, plant="a-fishing", share=0.75, texts=texts
    )
    return replace(found, **changes)


def test_the_page_counts_what_is_found_and_what_is_false(tmp_path: Path) -> None:
    good, again = _finding(0, steered=0.5), _finding(1, partition="a", steered=0.25)
    false = _finding(2, feature_id=4, own=0.25, share=0.25, texts={"sport": 3, "a-fishing": 1})
    plants = [
        PlantResult("a-fishing", "a", "topic", {"a": 0.1, "b": 0.4}, [good, again], 0.25, listed=10, queued=9),
        PlantResult("b-mining", "b", "topic", {"a": 0.4, "b": 0.1}, [], 0.0, queued=24),
    ]
    results = [
        SeedResult(0, {"a": 0.2, "b": 0.21}, plants, [good, again, false], {"a": 3, "b": 0}),
        SeedResult(1, {"a": 0.3, "b": 0.2}, [replace(plants[1], queued=25)], [], {"a": 0, "b": 0}),
    ]
    assert results[0].false == [false]
    assert planted_report.summary(results).splitlines()[2:] == [
        "| 0 | 2 | 1 | 0.50 | 3 | 1 | 0.67 | 1 |",
        "| 1 | 1 | 0 | 0.00 | 0 | 0 | – | 0 |",
        "| all | 3 | 1 | 0.33 | 3 | 1 | 0.67 | 1 |",
    ]
    assert planted_report.met(results).splitlines() == [
        "| seed | planted | in the first 10 of the queue | in the first 25 of the queue "
        "| in the first 10 of the findings | in the first 25 of the findings |",
        "|---|---|---|---|---|---|",
        "| 0 | 2 | 1 (50%) | 2 (100%) | 0 (0%) | 1 (50%) |",
        "| 1 | 1 | 0 (0%) | 0 (0%) | 0 (0%) | 0 (0%) |",
        "| all | 3 | 1 (33%) | 2 (67%) | 0 (0%) | 1 (33%) |",
    ]
    page = planted_report.write(results, Setting(), tmp_path, "python -m dfc planted").read_text(encoding="utf-8")
    assert "by 0.200 and 0.210, 0.300 and 0.200 nats" in page
    assert "| a-fishing | 0.10 / 0.40 | 2 | 1 | shared | 7 | 0.250 ± 0.010 | 0.75 | 10 | 0.50 | 0.25 | yes |" in page
    assert "| b-mining | 0.40 / 0.10 |" not in page
    assert "| b-mining | 0.10 / 0.40 | 0 | – | – | – | – | – | 26 | – | 0.00 | **no** |" in page
    assert "60% in the first 10 (**missed**), 90% in the first 25 (**missed**)." in page
    assert "| 0 | A | 3 | shared | 7 | 0.250 ± 0.010 | 0.25 | 3 sport, 1 a-fishing |" in page
    assert "| 3 × topic | 1 | 0 | 1 |" in page
    other = planted_report.write([replace(results[0], plants=plants[:1])], Setting(), tmp_path, "x")
    assert "60% in the first 10 (met), 90% in the first 25 (met)." in other.read_text(encoding="utf-8")


def test_a_plant_stands_where_the_first_entry_of_its_own_model_is_of_it(data: Path) -> None:
    run = make_run(data, features=200)
    find(run.store)
    store, world = Store(run.store), planted_texts.draw(5, topics=1)
    entries = [(one.feature_id, one.side) for one in subjects(store)]
    top = {
        feature: [context.document for context in store.contexts(feature) if context.band == 0]
        for feature, _ in entries
    }
    wanted = next(feature for feature, side in entries[3:] if side == "a")
    texts = {number: "".join(store.document(number).contents) for some in top.values() for number in some}
    kind_of = {text: "a-fishing" if number in top[wanted] else "sport" for number, text in texts.items()}
    held = [
        side == "a" and 2 * sum(kind_of[texts[number]] == "a-fishing" for number in top[feature]) >= len(top[feature])
        for feature, side in entries
    ]
    assert planted._places(store, world, kind_of, entries) == {"a-fishing": held.index(True)}
    assert planted._places(store, world, kind_of, entries[::-1]) == {"a-fishing": held[::-1].index(True)}
    assert planted._places(store, world, kind_of, [(feature, "b") for feature, _ in entries]) == {}, "not planted in B"


def test_a_difference_of_which_nothing_is_found_is_not_brought_out() -> None:
    plant = PlantResult("a-fishing", "a", "topic", {"a": 0.1, "b": 0.4}, [_finding(0, steered=0.4)], 0.25)
    assert plant.found
    assert not plant.steers
    assert not replace(plant, findings=[]).found
    assert replace(plant, findings=[_finding(0, steered=0.4), _finding(1, steered=0.5)]).steers
