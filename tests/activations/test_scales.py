"""Scales against plain numpy: equal variance, equal columns, and streams that are hard on arithmetic."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dfc.activations import manifest, scales
from dfc.activations.manifest import Manifest, ShardFacts, SideFacts
from dfc.config import DamagedError, ScaleRule

TARGET = 5.0
Floats = npt.NDArray[np.float64]


def rows(mean: float = 0.0, dead: tuple[int, ...] = ()) -> npt.NDArray[np.float32]:
    """Columns of very unlike deviations about a mean; dead ones do not move."""
    random = np.random.default_rng(3)
    made = mean + random.normal(size=(500, 12)) * np.geomspace(0.05, 20, 12)
    made[:, list(dead)] = mean
    return made.astype(np.float32)


def found(rule: ScaleRule, x: npt.NDArray[np.float32]) -> Floats:
    """The scale of each column, from rows that come in pieces."""
    pieces = torch.from_numpy(x).split(130)
    factor = scales.factors(rule, np.linalg.norm(x, axis=1), lambda: scales.variances(pieces), TARGET)
    return np.broadcast_to(np.array(factor), x.shape[1:])


@pytest.mark.parametrize("mean", [0.0, 3e5])
def test_variances_of_pieces_are_numpys(mean: float) -> None:
    x = rows(mean)
    pieces = [torch.from_numpy(piece) for piece in (x[:0], x[:1], x[1:300], x[300:])]
    np.testing.assert_allclose(scales.variances(pieces), x.astype(np.float64).var(axis=0), rtol=1e-9)


@pytest.mark.parametrize("mean", [0.0, 3e5])
def test_variance_brings_the_whole_about_its_mean_to_the_target(mean: float) -> None:
    x = rows(mean).astype(np.float64)
    factor = found("variance", rows(mean))
    np.testing.assert_allclose(factor, TARGET / np.sqrt(x.var(axis=0).sum()), rtol=1e-9)
    assert (x * factor).var(axis=0).sum() == pytest.approx(TARGET**2)


@pytest.mark.parametrize("mean", [0.0, 3e5])
def test_columns_have_one_deviation_and_the_whole_the_target(mean: float) -> None:
    x = rows(mean).astype(np.float64)
    scaled = x * found("columns", rows(mean))
    np.testing.assert_allclose(scaled.std(axis=0), TARGET / np.sqrt(12), rtol=1e-6)
    assert scaled.var(axis=0).sum() == pytest.approx(TARGET**2)


def test_a_column_that_hardly_moves_does_not_explode() -> None:
    x = rows(dead=(4,))
    x[:, 0] *= 1e-6
    deviations = x.astype(np.float64).std(axis=0)
    assert deviations[4] == 0
    least = 0.01 * np.median(np.delete(deviations, 4))
    plain = 1 / np.maximum(deviations, least)
    factor = found("columns", x)
    np.testing.assert_allclose(factor / factor[1], plain / plain[1], rtol=1e-9)
    assert factor[0] == factor[4] == pytest.approx(factor[1] * deviations[1] / least)
    assert (x.astype(np.float64) * factor).var(axis=0).sum() == pytest.approx(TARGET**2)


def test_most_columns_may_be_dead() -> None:
    x = rows(dead=tuple(range(9)))
    scaled = x * found("columns", x)
    np.testing.assert_allclose(scaled[:, 9:].std(axis=0), TARGET / np.sqrt(3), rtol=1e-5)


def test_norms_are_brought_to_the_target() -> None:
    x = rows(2.0)
    norms = np.linalg.norm(x, axis=1)
    assert found("median", x)[0] == pytest.approx(TARGET / np.median(norms))
    assert found("rms", x)[0] == pytest.approx(TARGET / np.sqrt((norms.astype(np.float64) ** 2).mean()))
    assert found("none", x)[0] == 1


@pytest.mark.parametrize(
    ("rule", "value", "reason"),
    [("median", 0.0, "norm 0"), ("rms", 0.0, "norm 0"), ("variance", 7.0, "the same"), ("columns", 7.0, "the same")],
)
def test_rows_that_are_all_alike_have_no_scale(rule: ScaleRule, value: float, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        found(rule, np.full((20, 3), value, dtype=np.float32))
    with pytest.raises(ValueError, match="no rows"):
        scales.variances([torch.zeros(0, 3)])


def facts(scale: float | tuple[float, ...]) -> SideFacts:
    return SideFacts("m", "s", None, "w", "t", "c", True, 1, 3, 4, "float32", 1.0, 2.0, scale)


def test_a_manifest_holds_a_factor_or_one_a_column(tmp_path: Path) -> None:
    written = Manifest(facts(0.5), facts((1.0, 2.0, 3.0, 0.25)), 4, (ShardFacts(9, 7, 1),))
    manifest.write(tmp_path, written)
    again = manifest.read(tmp_path)
    assert again == written
    assert again.a.column_scale().tolist() == [0.5] * 4
    assert again.b.column_scale().tolist() == [1.0, 2.0, 3.0, 0.25]


def test_a_manifest_of_before_is_read_and_means_the_same(tmp_path: Path) -> None:
    side = """{"name": "m", "source": "s", "revision": null, "weights": "w", "tokenizer": "t", "template": "c",
               "bos": true, "layer": 1, "layers": 3, "width": 4, "dtype": "float32", "median_norm": 1.0,
               "norm_limit": 2.0, "scale": 0.5}"""
    text = f'{{"a": {side}, "b": {side}, "skip_first": 4, "shards": [{{"pairs": 9, "train": 7, "held_out": 1}}]}}'
    (tmp_path / "manifest.json").write_text(text)
    assert manifest.read(tmp_path) == Manifest(facts(0.5), facts(0.5), 4, (ShardFacts(9, 7, 1),))


def test_scales_of_other_columns_are_damage(tmp_path: Path) -> None:
    content = asdict(Manifest(facts((1.0, 2.0)), facts(1.0), 4, ()))
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(DamagedError, match=r"manifest\.json: is damaged .*2 scales for 4 columns.*dfc harvest"):
        manifest.read(tmp_path)
