"""Streamed training batches are the rows that a larger store would hold."""

from __future__ import annotations

import json
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from dfc import config, pipeline, runs
from dfc.activations import documents, shards
from dfc.activations.streaming import stream_batches
from dfc.config import UserError
from dfc.crosscoder import checkpoint, training
from dfc.machine import disk
from dfc.runs import Run
from tests import tiny
from tests.processes import together


def made(models: tuple[Path, Path], folder: Path, pairs: int, **choices: object) -> Run:
    settings = tiny.tiny_settings(
        folder / "texts",
        models,
        name=f"pairs-{pairs}",
        corpus={"pairs": pairs},
        harvest={"shard_pairs": 200, "outlier_factor": None},
        training={"batch": 10, "window_shards": 2, **choices},
    )
    run = runs.create(config.parse(settings, origin="test"))
    pipeline.run_stages(run, until="harvest")
    return run


def as_set(rows: Tensor) -> set[bytes]:
    return {row.view(torch.int16).numpy().tobytes() for row in rows.to(torch.bfloat16)}


def test_they_are_the_rows_that_come_after_the_stored_ones(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    small, large = (made(tiny_models, tmp_path, pairs) for pairs in (600, 2_500))
    first = documents.read(small).num_rows
    scale = shards.ActivationStore(small.activations).column_scale()
    expected: set[bytes] = set()
    store = shards.ActivationStore(large.activations)
    for shard in range(len(store)):
        rows = store.rows(shard)
        later = torch.from_numpy(store.keep(shard, rows) & (rows.document >= first))
        expected |= as_set(store.raw(shard)[later])
    found: set[bytes] = set()
    for batch, position in stream_batches(small, None):
        assert batch.shape == (10, 72)
        assert not batch.is_inference()
        if position["epoch"] or position["documents"] >= documents.read(large).num_rows:
            break
        found |= as_set(batch / scale)
    assert len(found & expected) > 0.9 * len(expected) > 500  # a window's last rows are left out


def test_any_position_leads_on_to_the_same_batches(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    run = made(tiny_models, tmp_path, 1_500)
    whole = list(islice(stream_batches(run, None), 400))
    assert whole[-1][1]["epoch"] >= 1  # the corpus was begun anew
    for at in (0, 7, 150, 320):
        resumed = list(islice(stream_batches(run, whole[at][1]), 5))
        for (x, position), (again, where) in zip(whole[at + 1 :], resumed, strict=False):
            torch.testing.assert_close(again, x, atol=1e-5, rtol=1e-4)
            assert where == position


def test_what_is_held_out_stays_out_when_the_corpus_begins_anew(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    run = made(tiny_models, tmp_path, 1_500)
    store = shards.ActivationStore(run.activations)
    held_out: set[bytes] = set()
    trained: set[bytes] = set()
    for shard in range(len(store)):
        rows = store.rows(shard)
        keep = torch.from_numpy(store.keep(shard, rows))
        out = torch.from_numpy(rows.held_out)
        held_out |= as_set(store.raw(shard)[keep & out])
        trained |= as_set(store.raw(shard)[keep & ~out])
    scale = store.column_scale()
    seen: set[bytes] = set()
    for batch, position in stream_batches(run, None):
        if position["epoch"] == 2:
            break
        seen |= as_set(batch / scale)
    assert len(seen & trained) > 100
    assert not seen & (held_out - trained)


def test_a_batch_that_no_window_holds(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    run = made(tiny_models, tmp_path, 600, batch=50_000)
    with pytest.raises(UserError, match=r"hold one batch of 50000 pairs to train on; give more texts or lower"):
        next(stream_batches(run, None))


@pytest.mark.slow
def test_several_processes_train_on_one_stream(
    tiny_models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reads on, and all take the same steps; from the beginning, and from where one process was stopped."""
    one = made(tiny_models, tmp_path, 1_500, stream=True, steps=60, checkpoint_every=20)
    several, further = (Run(Path(shutil.copytree(one.path, one.path.parent / name))) for name in ("several", "further"))
    training.train(one)
    with monkeypatch.context() as patch:
        saved = checkpoint.save

        def save_and_stop(*state: Any) -> None:
            saved(*state)
            raise KeyboardInterrupt

        patch.setattr(checkpoint, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            training.train(further)
    assert checkpoint.saved_step(further.crosscoder) == 20
    for run, number in ((several, 3), (further, 2)):
        for done in together(number, "-m", "dfc", "train", str(run.path)):
            assert done.returncode == 0, done.stderr
        assert disk.read_json(run.provenance)["train"]["processes"] == number
        left, right = (load_file(each.crosscoder / "model.safetensors") for each in (one, run))
        assert left.keys() == right.keys()
        for name, tensor in left.items():
            torch.testing.assert_close(right[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
        assert position(run) == position(one)


def position(run: Run) -> dict[str, Any]:
    """Where in the corpus the last checkpoint is."""
    with safe_open(run.crosscoder / "checkpoint.safetensors", "pt") as file:
        return dict(json.loads(file.metadata()["facts"])["stream"])
