from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from streamlit.components.v2 import manifest_scanner

from dfc import runs
from dfc.cli import doctor
from dfc.runs import Run
from dfc.steering import sweeps
from tests.ui.browser import Complaints, NewPage, app_server, browser
from tests.ui.folders import make_half_run, make_run, make_steerable_run


@pytest.fixture(scope="session", autouse=True)
def components() -> Iterator[None]:
    """Every page that is run without a browser looks through all installed packages for components: once is enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", cache(manifest_scanner.scan_component_manifests))
        yield


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a browser."""
    if found := doctor.browser():
        return found
    pytest.skip(
        "no Chromium or Chrome on this machine: install one, e.g. apt-get install chromium, to run the browser tests"
    )


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a finished and an unfinished run; nobody writes to it."""
    folder = tmp_path_factory.mktemp("data")
    make_half_run(folder)
    make_run(folder)
    return folder


@pytest.fixture
def finished(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`data_folder` as this test's own."""
    monkeypatch.setenv("DFC_DATA", str(data_folder))
    return data_folder


@pytest.fixture(scope="session")
def server(data_folder: Path) -> Iterator[str]:
    """Address of an app on `data_folder`."""
    with app_server(data_folder) as address:
        yield address


@pytest.fixture(scope="module")
def complaints() -> Complaints:
    """What the pages of a module's tests complain about."""
    return Complaints()


@pytest.fixture(scope="module")
def new_page(chromium: str, complaints: Complaints) -> Iterator[NewPage]:
    """Opens pages of one browser, which ends with the module: there may be one at a time."""
    with browser(chromium, complaints) as opener:
        yield opener


@pytest.fixture(scope="module")
def steerable_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a run on two small random models."""
    folder: Path = tmp_path_factory.mktemp("steerable")
    make_steerable_run(folder)
    return folder


@pytest.fixture
def steerable(steerable_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Its run, with nothing kept yet."""
    monkeypatch.setenv("DFC_DATA", str(steerable_folder))
    run = runs.find("steer")
    yield run
    sweeps.store(run).path.unlink(missing_ok=True)
    (steerable_folder / "notes.duckdb").unlink(missing_ok=True)
