"""The verdict on a toy world: a perfect crosscoder is judged rightly, and the page counts what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from dfc.crosscoder.model import Crosscoder
from dfc.worlds import toy_evidence, toy_experiment
from dfc.worlds.toy import World, draw
from dfc.worlds.toy_evidence import RULES
from dfc.worlds.toy_experiment import Experiment
from tests.worlds.test_toy import SMALL, perfect


@pytest.fixture(scope="module")
def world() -> World:
    return draw(SMALL, seed=0)


def exact(world: World, shuffled: bool = False) -> Crosscoder:
    """`perfect`, with encoders that read each concept's strength exactly: there are fewer concepts than dimensions."""
    crosscoder = perfect(world, shuffled)
    for part in crosscoder.parts:
        for side in part.sides:
            directions = world.directions[side][world.in_model[side]]
            decoder = part.decoder_weight.data[:, part.of_side(side)]
            concepts = (normalize(decoder) @ normalize(directions).T).argmax(dim=1)
            part.encoder.data[:, part.of_side(side)] = torch.linalg.pinv(directions)[:, concepts].T
        part.threshold.fill_(0.1)
    return crosscoder


def test_exclusive_concepts_in_exclusive_partitions(world: World) -> None:
    for row in toy_evidence.measure(world, 1.0, exact(world)):
        assert (row["recall_exclusive"], row["true"], row["exclusive"]) == (1.0, 8, 8)


def test_shared_concepts_in_exclusive_partitions(world: World) -> None:
    norms, verdict = toy_evidence.measure(world, 1.0, exact(world, shuffled=True))
    assert (norms["rule"], norms["exclusive"], norms["true"], norms["false_shared"]) == ("norms", 8, 0, 8)
    assert (verdict["rule"], verdict["exclusive"]) == ("verdict", 0)


def test_samples_are_held_out_as_said(world: World) -> None:
    rows = toy_evidence.sample(world, exact(world))
    found = list(rows.batches)
    assert sum(len(batch.x) for batch in found) == rows.own.kept
    assert sum(len(batch.x) for batch in found if batch.held_out) == rows.own.held_out == rows.own.kept // 4
    assert len({int(number) for batch in found for number in batch.document}) == rows.own.kept


def test_the_page(tmp_path: Path) -> None:
    training = toy_experiment.PRESETS["small"].training.model_copy(
        update={"steps": 12, "batch": 64, "k_anneal_steps": 4, "threshold_start": 4}
    )
    experiment = Experiment(SMALL, training, fractions=(0.5, 1.0), seeds=1)
    rows = toy_evidence.run(experiment, workers=1)
    assert [(row["fraction"], row["rule"]) for row in rows] == [(f, rule) for f in (0.5, 1.0) for rule in RULES]
    page = toy_evidence.write(rows, experiment, tmp_path, "the command").read_text()
    for row in rows:
        assert row["exclusive"] == row["true"] + row["false_shared"] + row["false_none"]
        counts = " | ".join(str(row[name]) for name in ("exclusive", "true", "false_shared", "false_none"))
        assert f"| {row['fraction']:g} | {RULES[row['rule']]} | {row['recall_exclusive']:.2f} | {counts} |" in page
    assert page.count("| **all** |") == 2
    for figure in (tmp_path / "images").iterdir():
        assert f"images/{figure.name}" in page
