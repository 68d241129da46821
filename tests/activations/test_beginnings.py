"""How surprised models are by the beginnings of documents: measured as they are read, and in a pass of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dfc import config, models, pipeline, runs
from dfc.activations import beginnings
from dfc.activations.beginnings import Extent
from dfc.activations.shards import ActivationStore
from dfc.config import UserError
from dfc.models import losses
from dfc.runs import Run
from tests import tiny

ALL, WINDOW = 10**9, 5


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    """A copy of the tiny run that may be written to."""
    return Run(Path(shutil.copytree(tiny_run.path, tmp_path / "tiny")))


@pytest.fixture
def settings(tiny_models: tuple[Path, Path], tmp_path: Path, data: Path) -> dict[str, object]:
    chosen = {"evidence": {"surprise_pairs": 1_000, "surprise_window": WINDOW}}
    return {**tiny.tiny_settings(tmp_path / "texts", tiny_models, harvest={"shard_pairs": 300}), **chosen}


def lost(path: Path) -> npt.NDArray[np.float32]:
    with np.load(path) as archive:
        return archive["lost"]


def made(settings: dict[str, object]) -> Run:
    return runs.create(config.parse(settings, origin="test"))


@pytest.mark.parametrize(
    ("pairs", "share", "window", "counts"),
    [
        ([100, 3, 50, 40], 193, 2, [100, 3, 50, 40]),  # all
        ([100, 3, 50, 40], 192, 2, [99, 3, 50, 40]),
        ([100, 3, 50, 40], 100, 2, [32, 3, 32, 32]),
        ([100, 3, 50, 40], 30, 2, [9, 3, 9, 9]),
        ([100, 3, 50, 40], 20, 2, [8, 3, 8, 0]),  # four windows at least: one document goes without
        ([100, 3, 50, 40], 8, 2, [8, 0, 0, 0]),
        ([], 10, 2, []),
    ],
)
def test_from_each_document_comes_as_much_as_from_any(
    pairs: list[int], share: int, window: int, counts: list[int]
) -> None:
    extent = Extent(share, window, (max(1, sum(pairs)),))
    assert extent.first_pairs(0, np.array(pairs, dtype=np.int64)).tolist() == counts


def test_it_is_measured_while_the_models_are_read(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(settings)
    pipeline.run_stages(run, until="harvest")
    store = ActivationStore(run.activations)
    files = {path.name: lost(path) for path in (run.activations / "surprise").iterdir()}
    assert len(files) == 2 * len(store) > 4
    with monkeypatch.context() as patch:
        patch.delattr(models, "load")
        beginnings.measure(run, 1_000, WINDOW)  # nothing is left to be done
    shutil.rmtree(run.activations / "surprise")
    beginnings.measure(run, 1_000, WINDOW)
    for path in (run.activations / "surprise").iterdir():
        assert lost(path) == pytest.approx(files.pop(path.name), rel=1e-5, abs=1e-4)
    assert not files


def test_where_a_model_cannot_be_gone_on_with_it_waits(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "agree", lambda *_: False)
    run = made(settings)
    pipeline.run_stages(run, until="harvest")
    assert not (run.activations / "surprise").exists()
    beginnings.measure(run, 1_000, WINDOW)
    plain = {path: lost(path) for path in (run.activations / "surprise").iterdir()}
    monkeypatch.undo()
    shutil.rmtree(run.activations / "surprise")
    beginnings.measure(run, 1_000, WINDOW)
    for path, before in plain.items():
        assert lost(path) == pytest.approx(before, rel=1e-5, abs=1e-4)


def test_without_surprise_models_are_read_to_the_site_alone(settings: dict[str, object]) -> None:
    settings["evidence"] = {"surprise_pairs": 0}
    run = made(settings)
    pipeline.run_stages(run, until="harvest")
    assert not (run.activations / "surprise").exists()


def test_what_is_measured_stays_and_what_is_missing_is_made_again(run: Run) -> None:
    beginnings.measure(run, ALL, WINDOW)
    files = sorted((run.activations / "surprise").iterdir())
    assert len(files) == 2 * len(ActivationStore(run.activations))
    contents = [path.read_bytes() for path in files]
    files[1].unlink()
    stamps = [path.stat().st_mtime_ns for path in files if path != files[1]]
    beginnings.measure(run, ALL, WINDOW)
    assert [path.read_bytes() for path in files] == contents
    assert [path.stat().st_mtime_ns for path in files if path != files[1]] == stamps


def test_a_new_measurement_takes_the_place_of_the_one_before(run: Run) -> None:
    beginnings.measure(run, ALL, WINDOW)
    before = set((run.activations / "surprise").iterdir())
    beginnings.measure(run, ALL, WINDOW + 1)
    after = set((run.activations / "surprise").iterdir())
    assert len(after) == len(before)
    assert not after & before


def test_what_is_no_finite_number_is_counted(run: Run) -> None:
    beginnings.measure(run, ALL, WINDOW)
    store = ActivationStore(run.activations)
    extent = Extent.of(store, ALL, WINDOW)
    path = beginnings.kept_at(store, extent, "b", 0)
    values = torch.from_numpy(lost(path).copy())
    values[: len(values) // 2] = torch.nan
    beginnings.write(path, values)
    found = beginnings.unknown(store, ALL, WINDOW)
    assert found["a"] == 0
    assert found["b"] == pytest.approx(len(values) // 2 / sum(extent.shards))


def test_a_damaged_file_is_named_with_the_remedy(run: Run) -> None:
    beginnings.measure(run, ALL, WINDOW)
    [*_, last] = sorted((run.activations / "surprise").iterdir())
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1  # one bit of a number
    for damaged in (bytes(content), b"PK"):
        last.write_bytes(damaged)
        with pytest.raises(UserError, match=r"surprise.*dfc verify"):
            beginnings.measure(run, ALL, WINDOW)


def test_a_model_that_is_gone_is_named(run: Run, tmp_path: Path) -> None:
    settings = (run.path / "run.yaml").read_text()
    (run.path / "run.yaml").write_text(settings.replace(run.config().models.b.source, str(tmp_path / "gone")))
    with pytest.raises(UserError, match="gone"):
        beginnings.measure(Run(run.path), ALL, WINDOW)


def test_a_model_that_changed_since_it_was_harvested_is_not_measured(run: Run, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run.config().models.b.source, tmp_path / "other"))
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    settings = (run.path / "run.yaml").read_text()
    (run.path / "run.yaml").write_text(settings.replace(run.config().models.b.source, str(other)))
    with pytest.raises(UserError, match="holds other weights"):
        beginnings.measure(Run(run.path), ALL, WINDOW)
