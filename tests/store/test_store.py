"""The feature store: written whole or not at all, read from many threads, refused in one sentence."""

from __future__ import annotations

import gc
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from dfc.config import UserError
from dfc.store.contexts import COLUMNS
from dfc.store.reader import FeatureQuery, Store
from dfc.store.writer import StoreUpdate, StoreWriter
from tests.stores import make_store, write_store

EVERYTHING = FeatureQuery(alive_only=False, limit=10_000, order="feature_id", descending=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "features.duckdb"
    make_store(path, features=80)
    return path


@pytest.fixture
def store(path: Path) -> Store:
    return Store(path)


def test_a_failed_write_leaves_the_old_store(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    with pytest.raises(RuntimeError), StoreWriter(path) as writer:
        writer.facts({"name": "half"})
        raise RuntimeError
    assert Store(path).count(EVERYTHING) == 20
    assert os.listdir(tmp_path) == ["features.duckdb"]


def test_an_update_replaces_what_it_names_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    before = Store(path)
    facts, features = before.facts(), before.features(EVERYTHING)
    with StoreUpdate(path) as writer:
        writer.facts({"name": "renamed", "verified": True})
        writer.replace("sources", pa.table({"feature_id": [3], "source": ["web"], "count": [7], "rate": [0.5]}))
    after = Store(path)
    assert after.facts() == facts | {"name": "renamed", "verified": True}
    pd.testing.assert_frame_equal(after.features(EVERYTHING), features)
    assert after.sources(3).to_numpy().tolist() == [["web", 7, 0.5]]
    assert after.sources(4).empty
    assert os.listdir(tmp_path) == ["features.duckdb"]


def test_a_failed_copy_or_update_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    with pytest.raises(ValueError, match="no such table"), StoreUpdate(path) as writer:
        writer.facts({"name": "half"})
        writer.replace("run; DROP TABLE run", pa.table({"key": ["a"]}))

    def full(_: Path, new: Path) -> None:
        new.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr("dfc.store.writer.shutil.copyfile", full)
    with pytest.raises(OSError, match="no space left"), StoreUpdate(path):
        pass
    assert Store(path).facts()["name"] == "demo-pair"
    assert os.listdir(tmp_path) == ["features.duckdb"]


def test_what_a_killed_update_left_is_not_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    shutil.copyfile(path, tmp_path / "copy")
    killed = duckdb.connect(str(tmp_path / "copy"))
    killed.execute("DELETE FROM features")
    shutil.copyfile(tmp_path / "copy.wal", tmp_path / "features.duckdb.part.wal")  # changes not yet in the file
    with StoreUpdate(path) as writer:
        writer.facts({"verified": True})
    assert Store(path).count(EVERYTHING) == 20
    assert set(os.listdir(tmp_path)) == {"copy", "copy.wal", "features.duckdb"}


def test_a_replaced_store_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    write_store(path, features=20)
    assert Store(path).count(EVERYTHING) == 20
    write_store(path, features=30)
    assert Store(path).count(EVERYTHING) == 30


def test_a_store_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no feature store yet; make it with `python -m dfc index"):
        Store(tmp_path / "features.duckdb")


def test_files_that_are_no_store(tmp_path: Path) -> None:
    noise, other = tmp_path / "noise.duckdb", tmp_path / "other.duckdb"
    noise.write_bytes(b"this is no database" * 1_000)
    duckdb.connect(str(other)).execute("CREATE TABLE other (x INTEGER)").close()
    for path in (noise, other):
        with pytest.raises(UserError, match="is not a readable feature store"):
            Store(path)


def test_an_older_schema_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE run SET value = '0' WHERE key = 'schema_version'")
    with pytest.raises(UserError, match=r"schema 0, this version reads 5; make it again with .* index --again"):
        Store(path)


def test_unknown_tables_and_features(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="feature 80 does not exist in this run; its features are 0 to 79"):
        store.feature(80)
    with StoreWriter(tmp_path / "x.duckdb") as writer, pytest.raises(ValueError, match="no such table"):
        writer.append("run; DROP TABLE run", pa.table({"key": ["a"]}))
    with pytest.raises(ValueError, match="cannot order by"):
        store.features(FeatureQuery(order="density; DROP TABLE run"))  # type: ignore[arg-type]


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("order", ["density", "specificity", "max", "main_source"])
def test_pages_against_pandas(store: Store, order: str, descending: bool) -> None:
    whole = store.features(EVERYTHING)
    keep = whole[whole["alive"] & whole["partition"].isin(["a", "shared"]) & whole["density"].between(0.001, 0.5)]
    expected = keep.sort_values([order, "feature_id"], ascending=[not descending, True])["feature_id"].tolist()
    query = {"partitions": ("a", "shared"), "density": (0.001, 0.5), "order": order, "descending": descending}
    pages = [
        store.features(FeatureQuery(**query, limit=7, offset=offset))["feature_id"].tolist()  # type: ignore[arg-type]
        for offset in range(0, len(expected) + 7, 7)
    ]
    assert [feature for page in pages for feature in page] == expected
    assert store.count(FeatureQuery(**query)) == len(expected) > 10  # type: ignore[arg-type]


def test_source_filter(store: Store) -> None:
    whole = store.features(EVERYTHING)
    name = whole["main_source"].mode()[0]
    found = store.features(FeatureQuery(alive_only=False, main_source=name, limit=1_000))
    assert set(found["feature_id"]) == set(whole[whole["main_source"] == name]["feature_id"])


@pytest.mark.parametrize(
    "search", ["的", "def ", "<script>", "'", '"', "%", "_", "\\", "'; DROP TABLE run; --", "ZZZ no"]
)
def test_search_is_for_the_text_itself(store: Store, search: str) -> None:
    found = set(store.features(FeatureQuery(alive_only=False, search=search, limit=1_000))["feature_id"])
    expected = set()
    for row in store.features(EVERYTHING).itertuples():
        contexts = store.contexts(row.feature_id)
        texts = [" ".join(row.peak_tokens), *("".join(side) for c in contexts for side in (c.tokens_a, c.tokens_b))]
        if any(search.lower() in text.lower() for text in texts):
            expected.add(row.feature_id)
    assert found == expected
    assert store.count(FeatureQuery(alive_only=False, search=search)) == len(expected)


def test_strongest_contexts(store: Store) -> None:
    found = store.strongest_contexts([0, 3, 5])
    assert found == {feature: store.contexts(feature)[0] for feature in (0, 3, 5)}


def test_contexts_are_cut_from_their_documents(store: Store) -> None:
    for context in store.contexts(3):
        document = store.document(context.document)
        assert document.source == context.source
        assert document.roles == [context.role]
        stretch = "".join(document.contents)[context.start : context.stop]
        assert "".join(context.tokens_a) == stretch
    with pytest.raises(UserError, match="document 99999 is not kept in this run's store"):
        store.document(99_999)


def test_replacing_contexts_replaces_what_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    query = FeatureQuery(alive_only=False, search="新华社")
    assert Store(path).count(query) > 1
    with StoreUpdate(path) as writer:
        writer.replace("contexts", COLUMNS.empty_table())
    after = Store(path)
    assert after.contexts(0) == []
    peaks = after.features(EVERYTHING)["peak_tokens"]
    assert after.count(query) == sum("新华社" in " ".join(tokens) for tokens in peaks)


def test_many_threads(store: Store) -> None:
    expected = {feature: (store.feature(feature), store.contexts(feature)) for feature in range(80)}

    def read(number: int) -> bool:
        return (store.feature(number % 80), store.contexts(number % 80)) == expected[number % 80]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(800)))


def test_an_open_store_sees_the_new_file_and_nobody_is_cut_off(tmp_path: Path) -> None:
    """Sessions share a connection: whoever reads while a run is indexed again reads on."""
    path = tmp_path / "features.duckdb"
    write_store(path, features=20)
    first, second = Store(path), Store(path)

    def read(_: int) -> int:
        counts = [store.count(EVERYTHING) for store in (first, second) for _ in range(5)]
        assert set(counts) <= {20, 30}
        return counts[-1]

    with ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(read, i) for i in range(20)]
        write_store(path, features=30)
        assert {result.result() for result in reading} <= {20, 30}
    assert first.count(EVERYTHING) == second.count(EVERYTHING) == 30
    path.unlink()
    with pytest.raises(UserError, match="no feature store yet"):
        first.facts()


def test_replaced_files_are_let_go(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    for features in range(20, 26):
        write_store(path, features=features)
        assert Store(path).count(EVERYTHING) == features
    gc.collect()
    handles = [os.path.realpath(entry) for entry in Path("/proc/self/fd").iterdir()]
    assert sum(handle.startswith(str(path)) for handle in handles) <= 1
