from pathlib import Path

import pytest

from dfc.store.reader import Store
from tests.stores import make_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path: Path = tmp_path_factory.mktemp("store") / "features.duckdb"
    make_store(path)
    return Store(path)
