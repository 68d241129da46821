"""The toy world: its truth holds, and the scores count it rightly."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from torch import Tensor

from dfc.config import CrosscoderConfig, ScaleRule
from dfc.crosscoder.model import Crosscoder
from dfc.report.line_chart import Line, line_chart
from dfc.worlds import toy, toy_experiment
from dfc.worlds.toy import World, WorldConfig, batches, draw, score
from dfc.worlds.toy_experiment import VARIANTS, Experiment

SMALL = WorldConfig(concepts=40, width=64, exclusive=0.1, noise=0.0)


@pytest.fixture(scope="module")
def world() -> World:
    return draw(SMALL, seed=0)


def test_each_model_lacks_what_is_the_others_alone(world: World) -> None:
    in_a, in_b = world.in_model["a"], world.in_model["b"]
    assert (int((~in_a).sum()), int((~in_b).sum()), int((~in_a & ~in_b).sum())) == (4, 4, 0)
    sample = next(batches(world, 500, seed=1))
    for columns, side in ((slice(0, 64), "a"), (slice(64, 128), "b")):
        present = world.directions[side][world.in_model[side]]  # type: ignore[index]
        strengths = torch.linalg.lstsq(present.T, sample[:, columns].T).solution
        torch.testing.assert_close(present.T @ strengths, sample[:, columns].T, atol=1e-2, rtol=1e-3)


def test_scale_and_sparsity(world: World) -> None:
    sample = next(batches(world, 8_000, seed=2))
    for part in sample.split(64, dim=1):
        assert float(part.norm(dim=1).median()) == pytest.approx(8.0, rel=0.05)
    assert torch.equal(next(batches(world, 10, seed=3)), next(batches(world, 10, seed=3)))


LOPSIDED = SMALL.model_copy(update={"constant": 20.0, "dominant": 2.0})


def test_a_constant_and_a_dominant_column_are_added_to_b_alone(world: World) -> None:
    """The rest of the world is the same; both are measured in B's root mean square norm without them."""
    other = draw(LOPSIDED, seed=0)
    for side in ("a", "b"):
        assert torch.equal(other.directions[side], world.directions[side])  # type: ignore[index]
    generator = torch.Generator().manual_seed(5)
    plain = world.raw(40_000, generator)
    generator.manual_seed(5)
    a, b = other.raw(40_000, generator).split(64, dim=1)
    assert torch.equal(a, plain[:, :64])
    unit = float(plain[:, 64:].square().sum(dim=1).mean().sqrt())
    added = b - plain[:, 64:]
    assert float(other.constant.norm()) == pytest.approx(20 * unit, rel=0.02)
    torch.testing.assert_close(added[:, 1:], other.constant[1:].expand(40_000, 63), atol=1e-4, rtol=1e-4)
    assert float(added[:, 0].mean()) == pytest.approx(float(other.constant[0]), abs=0.05 * unit)
    assert float(added[:, 0].std()) == pytest.approx(2 * unit, rel=0.03)


@pytest.mark.parametrize("config", [SMALL, LOPSIDED], ids=["alike", "lopsided"])
@pytest.mark.parametrize("rule", ["variance", "columns"])
def test_worlds_are_scaled_as_runs_are(config: WorldConfig, rule: ScaleRule) -> None:
    sample = next(batches(draw(config, 0, rule), 8_192, seed=2)).double().numpy()
    for part in np.split(sample, 2, axis=1):
        assert part.var(axis=0).sum() == pytest.approx(64, rel=0.08)
        if rule == "columns":
            assert part.std(axis=0) == pytest.approx(1, rel=0.15)
    if (config, rule) == (LOPSIDED, "variance"):
        assert sample.var(axis=0)[64] > 0.7 * 64


@pytest.mark.parametrize("rule", ["median", "columns"])
def test_directions_are_recovered_in_the_models_own_streams(rule: ScaleRule) -> None:
    world = draw(LOPSIDED, 0, rule)
    found = perfect(world, scale=world.scale)
    both = world.in_model["a"] & world.in_model["b"]
    for side, ids in (("a", range(4)), ("b", range(4, 8))):
        hits = toy.recovered(world, found)[side]  # type: ignore[index]
        assert (hits[list(ids)].sum(dim=1) == 1).all()
        assert torch.equal(hits[8:, both], torch.eye(32, dtype=torch.bool))


def perfect(world: World, shuffled: bool = False, scale: Tensor | None = None) -> Crosscoder:
    """Every concept has a feature in its own partition; `shuffled` puts shared concepts into the exclusive ones.

    `scale` is of the columns, and its vectors are scaled as they are.
    """
    crosscoder = Crosscoder(
        CrosscoderConfig(features=40, k=5, exclusive_a=0.1, exclusive_b=0.1, rank_by="value"), (64, 64)
    )
    in_a, in_b = world.in_model["a"], world.in_model["b"]
    both = (in_a & in_b).nonzero()[:, 0]
    only_a, only_b = (~in_b).nonzero()[:, 0], (~in_a).nonzero()[:, 0]
    if shuffled:
        only_a, only_b = both[:4], both[4:8]
    a, b, shared = crosscoder.parts
    a.decoder_weight.data = world.directions["a"][only_a].clone()
    b.decoder_weight.data = world.directions["b"][only_b].clone()
    shared.decoder_weight.data = torch.cat([world.directions["a"][both], world.directions["b"][both]], dim=1)
    if scale is not None:
        crosscoder.scale.copy_(scale)
    for part in crosscoder.parts:
        part.decoder_weight.data *= crosscoder.scale[part.columns]
        part.encoder.data = part.decoder_weight.data.clone()
    return crosscoder


def test_a_perfect_crosscoder_scores_perfectly(world: World) -> None:
    found = score(world, perfect(world))
    assert (found["recall_a"], found["recall_b"], found["recall_shared"]) == (1.0, 1.0, 1.0)
    assert (found["exclusive"], found["false_shared"], found["false_none"], found["alive"]) == (8, 0.0, 0.0, 1.0)


def test_shared_concepts_in_exclusive_partitions_are_false(world: World) -> None:
    found = score(world, perfect(world, shuffled=True))
    assert (found["recall_a"], found["recall_b"]) == (0.0, 0.0)
    assert (found["false_shared"], found["false_none"]) == (1.0, 0.0)


def test_directions_of_nothing_are_false(world: World) -> None:
    crosscoder = perfect(world)
    torch.manual_seed(99)  # not the seed of the world, whose directions would come again
    for part in crosscoder.parts[:2]:
        part.encoder.data = torch.randn_like(part.encoder)
        part.decoder_weight.data = torch.randn_like(part.decoder_weight)
    found = score(world, crosscoder)
    assert (found["false_shared"], found["false_none"]) == (0.0, 1.0)
    assert found["recall_shared"] == 1.0


def test_the_experiment_writes_a_page_and_its_figures(tmp_path: Path) -> None:
    training = toy_experiment.PRESETS["small"].training.model_copy(
        update={"steps": 24, "batch": 64, "k_anneal_steps": 4, "threshold_start": 4}
    )
    experiment = Experiment(SMALL, training, fractions=(0.5, 1.0), seeds=2, curve_points=3)
    rows = toy_experiment.run(experiment, workers=1)
    assert len(rows) == len(VARIANTS) * 2 * 2 * 3
    page = toy_experiment.write(rows, experiment, tmp_path, "python -m dfc toy").read_text()
    assert all(page.count(f"| {variant} | ") == 2 for variant in VARIANTS)
    assert page.count("| yes |") + page.count("| **no** |") == 2 * 6  # both kinds of DFC, six statements
    figures = sorted((tmp_path / "images").iterdir())
    assert len(figures) == 3
    for figure in figures:
        assert f"images/{figure.name}" in page
        assert len(ElementTree.parse(figure).getroot().findall(".//{*}polyline")) == len(VARIANTS)


def test_a_line_chart_is_to_scale() -> None:
    chart = line_chart([Line("<one>", "#000", [0, 1, 2], [0, 1, 4]), Line("two", "#111", [0, 2], [2, 2])], "x", "y & z")
    first, second = ElementTree.fromstring(chart).findall(".//{*}polyline")
    places = [
        [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()] for line in (first, second)
    ]
    (x0, bottom), (x1, quarter), (x2, top) = places[0]
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert bottom - quarter == pytest.approx((bottom - top) / 4, abs=0.2)
    assert places[1][0][1] == places[1][1][1] == pytest.approx((bottom + top) / 2, abs=0.2)
    assert "&lt;one&gt;" in chart
