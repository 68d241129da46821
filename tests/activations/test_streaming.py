"""Streamed training batches are the rows that a larger store would hold."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from dfc import config, pipeline, runs
from dfc.activations import documents, shards
from dfc.activations.streaming import stream_batches
from dfc.config import UserError
from dfc.runs import Run
from tests import tiny
from tests.processes import together


def made(models: tuple[Path, Path], folder: Path, pairs: int, **training: object) -> Run:
    settings = tiny.tiny_settings(
        folder / "texts",
        models,
        name=f"pairs-{pairs}",
        corpus={"pairs": pairs},
        harvest={"shard_pairs": 200, "outlier_factor": None},
        training={"batch": 10, "window_shards": 2, **training},
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
def test_several_processes_do_not_begin_what_streams(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    """Refused before anything is paired, in one sentence."""
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models, name="streams", training={"stream": True})
    described = tmp_path / "streams.yaml"
    described.write_text(yaml.safe_dump(settings))
    ended = together(2, "-m", "dfc", "run", str(described))
    assert all(process.returncode != 0 for process in ended)
    said = "".join(process.stderr for process in ended)
    assert said.count("training.stream works in one process, and 2 were started") == 1
    assert not any(runs.find("streams").done().values())
