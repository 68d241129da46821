"""Errors are kinds: each is provoked here, and only what is damaged is called damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from dfc import config, models, pipeline, runs
from dfc.activations import shards
from dfc.activations.shards import ActivationStore
from dfc.config import (
    DamagedError,
    MemoryShortError,
    MissingError,
    ModelConfig,
    SettingsError,
    UserError,
    VersionError,
)
from dfc.crosscoder import checkpoint, training
from dfc.crosscoder import model as crosscoder_model
from dfc.machine import devices, disk, memory
from dfc.models import gguf_files, gguf_tensors, rollouts
from dfc.runs import Run
from dfc.steering.vectors import gauge
from dfc.store.notes import Notebook
from dfc.store.reader import Store
from dfc.ui.shell.text import failure
from tests.test_config import SMALL
from tests.test_damage import cut

TOO_MANY = 1 << 55  # numbers: more than any machine can hold


@pytest.fixture
def run(tiny_copy: Run) -> Run:
    return tiny_copy


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


class TestMemory:
    @pytest.mark.parametrize(
        "take",
        [
            lambda: torch.empty(TOO_MANY),
            lambda: np.empty(TOO_MANY),
            lambda: pa.allocate_buffer(TOO_MANY),
            lambda: bytearray(TOO_MANY),
            raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")),
            raising(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")),
            raising(duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate data of size 1.0 GiB")),
            raising(OSError(12, "Cannot allocate memory")),
        ],
    )
    def test_whoever_says_it_is_understood(self, take: Callable[[], object]) -> None:
        with pytest.raises(Exception) as raised:  # noqa: PT011
            take()
        assert memory.is_out_of_memory(raised.value)

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("Error(s) in loading state_dict for Crosscoder"),
            FileNotFoundError(2, "No such file", "/texts/CUDA out of memory.txt"),
            ValueError("magic bytes not found in CUDA out of memory.parquet"),
            UserError("a text about running out of memory"),
            OSError(28, "No space left on device"),
        ],
    )
    def test_other_errors_are_not_taken_for_it(self, error: Exception) -> None:
        assert not memory.is_out_of_memory(error)

    @pytest.mark.parametrize("take", [lambda: torch.empty(TOO_MANY), raising(torch.OutOfMemoryError("CUDA: full"))])
    def test_a_file_that_does_not_fit_is_not_called_damaged(self, take: Callable[[], object], tmp_path: Path) -> None:
        with (
            pytest.raises(MemoryShortError, match="there is no memory for what it holds") as error,
            disk.reading(tmp_path, "delete it", RuntimeError),
        ):
            take()
        assert "delete" not in str(error.value)
        assert "\n" not in str(error.value)

    def test_a_checkpoint(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        before = (run.crosscoder / "checkpoint.safetensors").read_bytes()
        (run.crosscoder / "model.safetensors").unlink()
        with monkeypatch.context() as patch:
            patch.setattr(crosscoder_model.Crosscoder, "load_state_dict", raising(torch.OutOfMemoryError("CUDA: full")))
            with pytest.raises(MemoryShortError, match=r"checkpoint\.safetensors: there is no memory") as error:
                pipeline.run_stages(run)
        assert "delete" not in str(error.value)
        assert (run.crosscoder / "checkpoint.safetensors").read_bytes() == before
        pipeline.run_stages(run, until="train")

    def test_a_step_of_training(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = (run.crosscoder / "model.safetensors").read_bytes()
        shutil.rmtree(run.crosscoder)
        with monkeypatch.context() as patch:
            patch.setattr(training, "forward", raising(torch.OutOfMemoryError("CUDA: full")))
            with pytest.raises(MemoryShortError, match=r"has no memory for steps of 64 pairs and 64 features; close"):
                pipeline.run_stages(run, until="train")
        pipeline.run_stages(run, until="train")
        assert (run.crosscoder / "model.safetensors").read_bytes() == whole

    def test_work_that_a_page_looks_at(self) -> None:
        said = failure(torch.OutOfMemoryError("CUDA out of memory. Tried …"), "This ended with an error")
        assert (
            said
            == "This ended with an error: there is no memory for it. Ask for less at once, or close other programs."
        )

    def test_a_crosscoder(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(crosscoder_model, "load_file", lambda _: {"weight": torch.empty(TOO_MANY)})
        with pytest.raises(MemoryShortError, match=r"model\.safetensors: there is no memory .*; close other"):
            crosscoder_model.load(run.crosscoder)

    @pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()])
    def test_a_model(self, error: Exception, tiny_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        settings = ModelConfig(source=str(tiny_models[0]), layer=1, name="a large one")
        with monkeypatch.context() as patch:
            patch.setattr(torch.nn.Module, "to", raising(error))
            with pytest.raises(MemoryShortError, match="a large one: there is no memory for this model") as raised:
                models.load(settings)
        for remedy in (r"its weights need 0\.0 GB in float32", "bfloat16", "device_map: auto", "a smaller model"):
            assert remedy.replace("\\", "") in str(raised.value)
        assert "give the id" not in str(raised.value)

    def test_a_gguf_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "model.gguf").write_bytes(b"GGUF")
        monkeypatch.setattr(gguf_tensors, "Header", raising(MemoryError()))
        with pytest.raises(MemoryShortError, match=r"model\.gguf: there is no memory to convert it"):
            gguf_files.folder_of(tmp_path / "model.gguf", "float32")

    def test_a_device_that_is_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch, "zeros", raising(RuntimeError("CUDA error: out of memory")))
        with pytest.raises(MemoryShortError, match="device cuda:0: has no memory left"):
            devices.pick("cuda:0")

    def test_work_is_done_in_halves_also_where_a_processor_has_no_memory(self) -> None:
        def work(batch: Any) -> int:
            return len(batch) if len(batch) < 3 else torch.empty(TOO_MANY).dim()

        device = torch.device("cpu")
        found = list(devices.in_halves(work, [1, 2, 3, 4, 5], device, lambda item: f"{item}; take less"))
        assert found == [([1, 2], 2), ([3, 4], 2), ([5], 1)]
        with pytest.raises(MemoryShortError, match="cpu has no memory for 7; take less"):
            list(devices.in_halves(raising(MemoryError()), [7], device, lambda item: f"{item}; take less"))
        with pytest.raises(ZeroDivisionError):
            list(devices.in_halves(lambda _: 1 // 0, [7], device, str))


class TestVersions:
    """Of another version: the weights stay, and the sentence does not ask for their end."""

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda content: content["crosscoder"].update(heads=8), "`heads`: is not known here"),
            (lambda content: content["crosscoder"].pop("rank_by"), "`rank_by` is missing"),
            (lambda content: content["crosscoder"].pop("features"), "`features` is missing"),
            (lambda content: content["crosscoder"].update(rank_by="entropy"), "`rank_by`: Input should be"),
        ],
    )
    def test_settings_of_a_crosscoder(self, change: Callable[[Any], object], what: str, run: Run) -> None:
        weights = (run.crosscoder / "model.safetensors").read_bytes()
        edit(run.crosscoder / "config.json", change)
        for read in (lambda: crosscoder_model.load(run.crosscoder), lambda: gauge(run, 0, "a")):
            with pytest.raises(VersionError, match=r"config\.json: was made by another version of dfc \(") as error:
                read()
            assert what in str(error.value)
            assert "delete" not in str(error.value)
            assert "keep it and use that version" in str(error.value)
        assert (run.crosscoder / "model.safetensors").read_bytes() == weights

    def test_weights_of_a_crosscoder(self, run: Run) -> None:
        path = run.crosscoder / "model.safetensors"
        tensors = safetensors.torch.load_file(path)
        safetensors.torch.save_file({**tensors, "gate": torch.zeros(3)}, path)
        for read in (lambda: crosscoder_model.load(run.crosscoder), lambda: gauge(run, 0, "a")):
            with pytest.raises(VersionError, match="`gate` is not known here") as error:
                read()
            assert "delete" not in str(error.value)

    def test_answers(self, tmp_path: Path) -> None:
        rollouts._keep_settings(tmp_path / "a.yaml", False, {"model": "m"})
        with pytest.raises(VersionError, match=r"a\.yaml: was made by another .*`style` is missing.* are kept\.$"):
            rollouts._keep_settings(tmp_path / "a.yaml", True, {"model": "m", "style": "s"})

    def test_a_manifest(self, run: Run) -> None:
        edit(run.activations / "manifest.json", lambda content: content["a"].update(dialect="x"))
        with pytest.raises(VersionError, match=r"manifest\.json: was made by another version .*'dialect'"):
            ActivationStore(run.activations)
        edit(run.activations / "manifest.json", lambda content: [content["a"].pop(key) for key in ("dialect", "scale")])
        with pytest.raises(VersionError, match=r"manifest\.json: was made by another version .*'scale'"):
            ActivationStore(run.activations)

    def test_a_feature_store_and_a_notebook(self, run: Run, tmp_path: Path) -> None:
        with duckdb.connect(str(run.store)) as connection:
            connection.execute("UPDATE run SET value = '0' WHERE key = 'schema_version'")
        with pytest.raises(VersionError, match="was written with schema 0"):
            Store(run.store)
        book = Notebook(tmp_path / "notes.duckdb")
        book.mark("run", {5: f"{5:016x}"}, "list", "paper")
        with duckdb.connect(str(book.path)) as connection:
            connection.execute("UPDATE book SET version = 99")
        with pytest.raises(VersionError, match="was written as version 99"):
            book.export()


class TestDamage:
    """Only what does not hold what was written."""

    def test_a_file_cut_short(self, run: Run, tmp_path: Path) -> None:
        for path, read in (
            (run.crosscoder / "model.safetensors", lambda: crosscoder_model.load(run.crosscoder)),
            (run.activations / "manifest.json", lambda: ActivationStore(run.activations)),
            (shards.tokens_path(run.activations, 0), lambda: shards.read_tokens(run.activations, 0)),
        ):
            cut(path)
            with pytest.raises(DamagedError, match="is damaged"):
                read()
        run.store.write_bytes(b"no database" * 500)
        with pytest.raises(DamagedError, match="is not a readable feature store"):
            Store(run.store)

    def test_an_array_of_which_nothing_is_left(self, tmp_path: Path) -> None:
        (tmp_path / "x.npy").write_bytes(b"")
        with pytest.raises(DamagedError, match="is damaged"), disk.reading(tmp_path / "x.npy", "make it again"):
            np.load(tmp_path / "x.npy", allow_pickle=False)

    @pytest.mark.parametrize(
        "read", [Path.read_text, lambda path: pa.parquet.ParquetFile(path), lambda path: safe_open(path, "pt")]
    )
    def test_what_the_system_does_not_let_be_read_is_not_damaged(
        self, read: Callable[[Path], object], tmp_path: Path
    ) -> None:
        (tmp_path / "folder").mkdir()
        with (
            pytest.raises(UserError, match="folder: cannot be read") as error,
            disk.reading(tmp_path / "folder", "delete it"),
        ):
            read(tmp_path / "folder")
        assert type(error.value) is UserError
        assert "delete" not in str(error.value)

    def test_nor_is_a_store_that_is_a_folder_or_written_by_another_program(self, run: Run) -> None:
        run.store.unlink()
        run.store.mkdir()
        with pytest.raises(UserError, match="cannot be opened") as error:
            Store(run.store)
        assert type(error.value) is UserError


class TestMissing:
    def test_files_and_runs(self, run: Run, tmp_path: Path) -> None:
        shutil.rmtree(run.crosscoder)
        run.store.unlink()
        for read in (
            lambda: crosscoder_model.load(run.crosscoder),
            lambda: Store(run.store),
            lambda: runs.find("none"),
            lambda: Run(tmp_path).config(),
            lambda: config.load(tmp_path / "none.yaml"),
            lambda: gguf_files.folder_of(tmp_path / "none.gguf", "float32"),
            lambda: ActivationStore(tmp_path),
        ):
            with pytest.raises(MissingError):
                read()
        with pytest.raises(MissingError, match="x: is missing; make it"), disk.reading(tmp_path / "x", "make it"):
            (tmp_path / "x").read_text()


class TestSettings:
    def test_what_is_refused(self, run: Run) -> None:
        with pytest.raises(SettingsError, match=r"unknown key `training\.stepz`"):
            config.parse({**SMALL, "training": {"stepz": 1}}, origin="run.yaml")
        with pytest.raises(SettingsError, match="device nowhere: cannot be used"):
            devices.pick("nowhere")

    def test_a_checkpoint_of_other_settings(self, run: Run) -> None:
        before = (run.crosscoder / "checkpoint.safetensors").read_bytes()
        settings = run.config().crosscoder.model_copy(update={"features": 80})
        other = crosscoder_model.Crosscoder(settings, (32, 48))
        state = checkpoint.TrainingState(0, 0.0, 0.0, torch.optim.Adam(other.parameters()), torch.zeros(80))
        with pytest.raises(SettingsError, match=r"is of a crosscoder with other settings.*put the settings back") as e:
            checkpoint.restore(run.crosscoder, other, state)
        assert "delete" not in str(e.value)
        assert (run.crosscoder / "checkpoint.safetensors").read_bytes() == before
