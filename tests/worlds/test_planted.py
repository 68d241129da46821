"""The planted world from its texts to its page, on models too small to learn anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfc import runs
from dfc.config import UserError
from dfc.worlds import planted, planted_report
from dfc.worlds.planted import Setting
from dfc.worlds.planted_models import ModelTraining
from dfc.worlds.planted_result import Feature, PlantResult, SeedResult

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
        assert plant.best is None or plant.best.plant == plant.name
    made = runs.find("planted-5")
    assert {source.name for source in made.config().corpus.sources} > {plant.name for plant in result.plants}
    assert runs.read_json(made.path / "planted.json")["seed"] == 5

    weights = data / "models" / "planted-5" / "a" / "model.safetensors"
    trained = weights.stat().st_mtime_ns
    assert planted.one_seed(5, SMALL) == result
    assert weights.stat().st_mtime_ns == trained
    with pytest.raises(UserError, match=r"planted-5: the models were trained with other settings; delete it"):
        planted.one_seed(5, replace(SMALL, topics=2))


def _feature(feature_id: int, **changes: Any) -> Feature:
    found = Feature(feature_id, "a", "exclusive", 0.5, 0.75, "a-fishing", 0.75, {"a-fishing": 3, "sport": 1}, 0.9)
    return replace(found, **changes)


def test_the_page_counts_what_is_found_and_what_is_false(tmp_path: Path) -> None:
    good, false = _feature(3), _feature(4, own=0.25, share=0.25, sources={"sport": 3, "a-fishing": 1}, steered=None)
    plants = [
        PlantResult("a-fishing", "a", "topic", {"a": 0.1, "b": 0.4}, {"exclusive": 1, "dead": 2}, 0.0, good, True),
        PlantResult("b-mining", "b", "topic", {"a": 0.4, "b": 0.1}, {}, 0.0, None, False),
    ]
    results = [
        SeedResult(0, {"a": 0.2, "b": 0.21}, plants, {"a": 9, "b": 8}, [good, false], [false, false]),
        SeedResult(1, {"a": 0.3, "b": 0.2}, plants[1:], {"a": 9, "b": 8}, [], [good]),
    ]
    assert results[0].false == [false]
    assert planted_report.summary(results).splitlines()[2:] == [
        "| 0 | 2 | 1 | 2 | 1 | 0.50 | 2 | 2 |",
        "| 1 | 1 | 0 | 0 | 0 | – | 1 | 0 |",
        "| all | 3 | 1 | 2 | 1 | 0.50 | 3 | 2 |",
    ]
    page = planted_report.write(results, Setting(), tmp_path, "python -m dfc planted").read_text(encoding="utf-8")
    assert "by 0.200 and 0.210, 0.300 and 0.200 nats" in page
    assert "| 0 | a-fishing | 0.10 / 0.40 | 1 exclusive, 2 dead | 3 | 0.50 | 0.75 | 0.90 | 0.00 | yes |" in page
    assert "| 0 | b-mining | 0.10 / 0.40 | none | – | – | – | – | 0.00 | **no** |" in page
    assert "| 0 | 4 | A | 0.50 | 0.25 | 3 sport, 1 a-fishing |" in page
    assert "| 3 × topic | 1 | 1 | 1 exclusive, 2 dead |" in page
