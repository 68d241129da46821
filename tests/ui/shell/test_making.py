"""How far a run is that is being made."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from dfc.runs import Run
from dfc.ui.shell import making
from tests.ui.folders import judge, make_half_run, make_run
from tests.ui.pages import OVERVIEW, calm, text, visit

SIZE = 8_192


def files(folder: Path, ending: str, number: int, every: float) -> None:
    """So many files, one written `every` so many seconds, the last just now."""
    folder.mkdir(parents=True, exist_ok=True)
    now = time.time()
    for place in range(number):
        path = folder / f"{place:05d}{ending}"
        path.write_bytes(b"")
        os.utime(path, (now, now - every * (number - 1 - place)))


def read(run: Run) -> making.Making:
    return making.read(run, run.config(), run.metric_lines())


def paired(run: Run, pairs: int) -> None:
    (run.activations / "pairing.json").write_text(json.dumps({"pairs": {"code": pairs - 100, "web": 100}}))


def test_a_stage_is_read_from_what_it_left(data: Path) -> None:
    run = make_half_run(data)
    (run.activations / "manifest.json").unlink()
    paired(run, 5 * SIZE)
    files(run.activations / "a", ".json", 5, every=10)
    files(run.activations / "b", ".json", 3, every=2)
    made = read(run)
    harvest = made.stages["harvest"]
    assert (harvest.done, harvest.total) == (8 * SIZE, 10 * SIZE)
    assert harvest.rate == pytest.approx(SIZE / 2, rel=0.01)  # of the model that is read now
    assert harvest.left == pytest.approx(4, rel=0.01)
    assert made.stages["pair"].share == 1  # it has ended, whatever was asked for
    assert made.sources == {"code": 5 * SIZE - 100, "web": 100}
    assert made.written == pytest.approx(time.time(), abs=30)


def test_a_model_of_which_all_is_read_is_half_of_both(data: Path) -> None:
    run = make_half_run(data)
    (run.activations / "manifest.json").unlink()
    paired(run, SIZE // 2)  # a single shard, which is a part of one
    files(run.activations / "a", ".json", 1, every=1)
    harvest = read(run).stages["harvest"]
    assert (harvest.done, harvest.total) == (SIZE // 2, SIZE)


def test_training_goes_by_its_log(data: Path) -> None:
    run = make_half_run(data)
    run.metrics.write_text("".join(json.dumps({"step": 50 * n, "seconds": 25.0 * n}) + "\n" for n in range(1, 11)))
    train = read(run).stages["train"]
    assert (train.done, train.total, train.rate) == (500, 100_000, pytest.approx(2.0))


def test_encoding_and_describing_are_followed(data: Path) -> None:
    run = make_half_run(data)
    run.crosscoder.mkdir()
    (run.crosscoder / "model.safetensors").write_bytes(b"")
    paired(run, 4 * SIZE)
    files(run.codes, ".safetensors", 3, every=4)
    encode = read(run).stages["encode"]
    assert (encode.done, encode.total, encode.rate) == (3 * SIZE, 4 * SIZE, pytest.approx(SIZE / 4, rel=0.01))
    assert "24,576 of 32,768 pairs encoded · 2,048 pairs encoded a second" in text(calm(visit(OVERVIEW, run="half")))
    (run.codes / "manifest.json").write_text("{}")
    for name in ("logits_a", "logit_counts_a", "logits_b"):
        (run.path / "index.part").mkdir(exist_ok=True)
        (run.path / "index.part" / f"{name}.parquet").write_bytes(b"")
    made = read(run)
    assert (made.stages["encode"].share, made.stages["index"].done, made.stages["index"].total) == (1, 1, 2)
    assert "1 of 2 models read" in text(calm(visit(OVERVIEW, run="half")))


def test_nothing_is_there_yet(data: Path) -> None:
    run = make_half_run(data)
    for path in (run.metrics, run.activations / "manifest.json", run.corpus):
        path.unlink()
    (run.activations / "tokens" / "00000.parquet").unlink()
    made = read(run)
    assert all(stage.done == 0 and stage.rate is None for stage in made.stages.values())
    assert made.written is None
    assert "Nothing has been written yet." in text(calm(visit(OVERVIEW, run="half")))


def test_the_page_of_a_run_that_is_made_shows_it_and_opens_when_it_is_finished(data: Path) -> None:
    run = make_half_run(data)
    (run.activations / "manifest.json").unlink()
    paired(run, 4 * SIZE)
    files(run.activations / "a", ".json", 3, every=4)
    test = calm(visit(OVERVIEW, run="half"))
    words = text(test)
    assert "24,576 of 65,536 pairs read · 2,048 pairs read a second, about 20 s left" in words
    assert "32,668 pairs" in words
    assert len(test.get("plotly_chart")) == 2
    finished = make_run(data)
    for name in ("features.duckdb", "crosscoder"):
        (finished.path / name).rename(run.path / name)
    (run.activations / "manifest.json").write_text("{}")
    assert "Where one model does better" in text(calm(test.run())) or "Whether to trust it" in text(test)


def test_verify_is_followed_while_it_measures(data: Path) -> None:
    run = make_run(data)
    files(run.activations / "tokens", ".parquet", 4, every=1)
    surprise = run.activations / "surprise"
    assert making.verifying(run) is None
    for name, ago in (("a-00000-old", 900), ("a-00000-new", 20), ("a-00001-new", 10), ("b-00000-his", 0)):
        surprise.mkdir(exist_ok=True)
        (surprise / f"{name}.npz").write_bytes(b"")
        os.utime(surprise / f"{name}.npz", (0, time.time() - ago))
    os.utime(run.store, (0, time.time() + 5))
    assert making.verifying(run) is None  # `harvest` has measured it
    os.utime(run.store, (0, time.time() - 1_000))
    made = making.verifying(run)
    assert made is not None
    assert (made.done, made.total) == (3, 8)
    assert "3 of 8 shards of texts" in text(calm(visit(OVERVIEW, run="demo")))
    judge(run.store)
    assert making.verifying(run) is None
    assert "shards of texts" not in text(calm(visit(OVERVIEW, run="demo")))
