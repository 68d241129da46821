"""What tests share: tiny models, and two whole runs, on tiny and on real models, made once."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from dfc import pipeline, runs
from dfc.runs import Run
from tests import order, processes
from tests.real import PROJECT, data_folder, make_real_run
from tests.shared import once, share_in

os.environ["HF_HUB_OFFLINE"] = "1"  # what is not on this machine is not fetched
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background work ignores it, and so would children


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    order.arrange(items)


def pytest_collection_finish() -> None:
    """What is loaded by now stays: a collection, which Streamlit makes after every page, need not look at it."""
    gc.collect()
    gc.freeze()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.ByFile:
    return order.ByFile(config, log)


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is made once lies in the folder of the whole test run; a process of several has its own within that."""
    import torch  # not above: the process that hands out the tests to others needs none of it

    torch.set_num_threads(1)  # two threads of a tiny model wait for each other whenever another process is busy
    folder = tmp_path_factory.getbasetemp()
    share_in((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "shared")
    yield
    processes.release()


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of each test's own."""
    folder = tmp_path / "data"
    monkeypatch.setenv("DFC_DATA", str(folder))
    return folder


@pytest.fixture(autouse=True)
def main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that is run without a browser makes itself the main module, which later children would run and die of."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture(scope="session")
def tiny_models(shared: None) -> tuple[Path, Path]:
    """Folders of two tiny models."""
    from tests import tiny

    def make(folder: Path) -> None:
        tiny.make_llama(folder / "llama")
        tiny.make_gemma(folder / "gemma")

    folder = once("models", make)
    return folder / "llama", folder / "gemma"


@pytest.fixture(scope="session")
def tiny_run(tiny_models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run on the tiny models; tests only read it. A process has its own, for what reads may lock."""
    from tests import tiny

    def make(folder: Path) -> None:
        with data_folder(folder / "data"):
            pipeline.run_stages(runs.create(tiny.tiny_config(folder / "texts", tiny_models)))

    run = Path("data") / "runs" / "tiny"
    copy = tmp_path_factory.mktemp("tiny") / run
    shutil.copytree(once("tiny", make) / run, copy)
    return Run(copy)


@pytest.fixture
def tiny_copy(tiny_run: Run, data: Path) -> Run:
    """The same in this test's own data folder, to be changed."""
    target = data / "runs" / tiny_run.name
    shutil.copytree(tiny_run.path, target)
    return Run(target)


@pytest.fixture(scope="session")
def real_run(shared: None, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small run on the two real models of the demo. A process has its own, to which what it measures is added."""
    models = PROJECT / "data" / "models"
    models.mkdir(parents=True, exist_ok=True)

    def make(folder: Path) -> None:
        with FileLock(models / ".tests.lock"):  # another test run may fetch and convert them, too
            make_real_run(folder)

    run = Path("runs") / "real"
    copy = tmp_path_factory.mktemp("real") / run
    shutil.copytree(once("real", make) / run, copy)
    return Run(copy)
