"""The comparison of scales: the same worlds under every rule, and a table that averages them."""

from __future__ import annotations

import pytest

from dfc.config import TrainingConfig
from dfc.worlds import scale_choices
from dfc.worlds.toy import WorldConfig
from dfc.worlds.toy_experiment import Experiment


@pytest.fixture(scope="module")
def rows() -> list[scale_choices.Row]:
    quick = TrainingConfig(steps=20, batch=64, k_start=5, k_anneal_steps=0, warmup_steps=0, aux_k=4, threshold_start=5)
    return scale_choices.run(Experiment(WorldConfig(concepts=40, width=16), quick, (1.0,), seeds=1), 2, workers=1)


def test_every_rule_on_every_world(rows: list[scale_choices.Row]) -> None:
    assert sorted({(row["world"], row["rule"], row["seed"]) for row in rows}) == sorted(
        (world, rule, seed) for world in scale_choices.WORLDS for rule in scale_choices.RULES for seed in (0, 1)
    )
    alike, constant, both = scale_choices.WORLDS
    for row in rows:
        if row["rule"] != "median":
            assert row["ratio"] == pytest.approx(1, rel=0.2)
        elif row["world"] == constant:  # 1 + 2.8² were the stream without a mean of its own
            assert row["ratio"] == pytest.approx(8.8, rel=0.6)
    of = {(row["world"], row["rule"]): row["ratio"] for row in rows}
    assert of[alike, "median"] < of[both, "median"] < of[constant, "median"]


def test_the_table_averages_over_seeds(rows: list[scale_choices.Row]) -> None:
    lines = scale_choices.table(rows).splitlines()
    assert len(lines) == 2 + 9
    own = [row for row in rows if (row["world"], row["rule"]) == ("B like A", "median")]
    mean = sum(row["FVE A"] for row in own) / 2
    cells = [cell.strip() for cell in lines[2].split("|")]
    assert cells[1:4] == ["B like A", "median", f"{sum(row['ratio'] for row in own) / 2:.1f}"]
    assert cells[9].startswith(f"{mean:.2f} ± ")
    assert all(line.count("|") == lines[0].count("|") for line in lines)
