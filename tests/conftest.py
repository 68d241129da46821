"""What tests share: tiny models, and two whole runs, on tiny and on real models, made once."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch

from dfc import pipeline, runs
from dfc.runs import Run
from tests import tiny
from tests.real import data_folder, make_real_run

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not on this machine is not fetched
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background work ignores it, and so would children
torch.set_num_threads(1)  # two threads of a tiny model wait for each other whenever another process is busy


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of each test's own."""
    folder = tmp_path / "data"
    monkeypatch.setenv("DFC_DATA", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of two tiny models."""
    folder = tmp_path_factory.mktemp("models")
    return tiny.make_llama(folder / "llama"), tiny.make_gemma(folder / "gemma")


@pytest.fixture(scope="session")
def tiny_run(tiny_models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run on the tiny models; tests only read it."""
    folder = tmp_path_factory.mktemp("tiny")
    with data_folder(folder / "data"):
        run = runs.create(tiny.tiny_config(folder / "texts", tiny_models))
        pipeline.run_stages(run)
    return run


@pytest.fixture
def tiny_copy(tiny_run: Run, data: Path) -> Run:
    """The same in this test's own data folder, to be changed."""
    target = data / "runs" / tiny_run.name
    shutil.copytree(tiny_run.path, target)
    return Run(target)


@pytest.fixture(scope="session")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run on the two real models of the demo; tests only read it."""
    return make_real_run(tmp_path_factory.mktemp("real"))
