"""A model against itself: nothing is exclusive, and the evidence says so."""

from __future__ import annotations

import shutil

import pytest
import torch

from dfc import runs
from dfc.activations import shards
from dfc.activations.shards import ActivationStore
from dfc.config import UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.machine import disk
from dfc.runs import Run
from dfc.worlds import null, null_result


@pytest.fixture
def run(tiny_copy: Run) -> Run:
    return tiny_copy


def test_nothing_is_called_exclusive(run: Run) -> None:
    assert null_result.read(run) is None
    found = null.null(run)
    assert found.dedicated == 6
    assert found.exclusive == 0
    assert found.share == 0
    assert sum(found.verdicts["shared"].values()) == 58
    assert null_result.read(run) == found


def test_the_copies_differ_by_a_rotation_alone(run: Run) -> None:
    null.null(run)
    made = runs.find("tiny-null")
    assert made.made_for == "tiny"
    store, original = ActivationStore(made.activations), ActivationStore(run.activations)
    assert store.manifest.pairs == original.manifest.pairs
    assert (store.manifest.a.width, store.manifest.b.width) == (32, 32)
    raw = torch.cat([store.raw(shard) for shard in range(len(store))]).float()
    a, b = raw.split(32, dim=1)
    assert torch.equal(a, torch.cat([original.raw(shard)[:, :32] for shard in range(len(original))]).float())
    scale = original.manifest.a.column_scale()
    a = a * (scale / scale.median())  # what is rotated is the scaled stream
    rotation = torch.linalg.lstsq(a, b).solution
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(32), atol=2e-2, rtol=0)
    assert float((a @ rotation - b).norm() / b.norm()) < 5e-3
    assert float((a - b).norm() / b.norm()) > 1
    for shard in range(len(store)):
        rows = store.rows(shard)
        assert (rows.index_a == rows.index_b).all()


def test_with_a_scale_for_each_column_the_scaled_stream_is_rotated(run: Run) -> None:
    scale = torch.linspace(0.2, 3.0, 32)
    content = disk.read_json(run.activations / "manifest.json")
    content["a"]["scale"] = scale.tolist()
    disk.write_json(run.activations / "manifest.json", content)
    made = Run(run.path.with_name("rotated"))
    made.path.mkdir()
    shutil.copy(run.path / "run.yaml", made.path)
    null._rotate(run, made, seed=0)
    raw = torch.cat([shards.read_rows(made.activations, "a", shard) for shard in range(2)]).float()
    copied = torch.cat([shards.read_rows(made.activations, "b", shard) for shard in range(2)]).float()
    rotation = torch.linalg.lstsq(raw * scale, copied).solution * scale.median()
    torch.testing.assert_close(rotation.T @ rotation, torch.eye(32), atol=2e-2, rtol=0)


def test_it_goes_on_where_it_was(run: Run) -> None:
    first = null.null(run)
    made = runs.find("tiny-null")
    weights = (made.crosscoder / "model.safetensors").stat().st_mtime_ns
    assert null.null(run) == first
    assert (made.crosscoder / "model.safetensors").stat().st_mtime_ns == weights
    assert crosscoder_model.load(made.crosscoder).widths == (32, 32)


def test_damaged_results_and_runs_without_activations(run: Run) -> None:
    (run.path / "null.json").write_text("{")
    with pytest.raises(UserError, match=r"null\.json: is damaged .*; make it again with `python -m dfc null"):
        null_result.read(run)
    shutil.rmtree(run.activations)
    with pytest.raises(UserError, match="the activations are not complete"):
        null.null(run)
