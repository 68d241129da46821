"""The feature store: written whole or not at all, read from many threads, refused in one sentence."""

from __future__ import annotations

import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from dfc.config import UserError
from dfc.store.reader import FeatureQuery, Store
from dfc.store.writer import StoreWriter
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


def test_what_a_program_asks_wrongly_is_no_damage(store: Store) -> None:
    for query in (
        FeatureQuery(limit=-1),
        FeatureQuery(offset=-1),
        FeatureQuery(partitions=("z",)),  # type: ignore[arg-type]
        FeatureQuery().ranged(density=("a", "b")),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"no page of features|could not convert"):
            store.features(query)


def test_what_a_killed_writer_left_is_not_taken_in(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    shutil.copyfile(path, tmp_path / "copy")
    killed = duckdb.connect(str(tmp_path / "copy"))
    killed.execute("DELETE FROM features")
    shutil.copyfile(tmp_path / "copy.wal", tmp_path / "features.duckdb.part.wal")  # changes not yet in the file
    write_store(path, features=20)
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
    with pytest.raises(UserError, match=r"schema 0, this version reads 9; make it again with .* index --again"):
        Store(path)


def test_unknown_tables_and_features(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="feature 80 does not exist in this run; its features are 0 to 79"):
        store.feature(80)
    with StoreWriter(tmp_path / "x.duckdb") as writer, pytest.raises(ValueError, match="no such table"):
        writer.append("run; DROP TABLE run", pa.table({"key": ["a"]}))
    with pytest.raises(ValueError, match="cannot order by"):
        store.features(FeatureQuery(order="density; DROP TABLE run"))  # type: ignore[arg-type]


def test_what_is_read_narrowly_is_what_the_wide_tables_say(store: Store) -> None:
    whole = store.features(EVERYTHING).set_index("feature_id")["label"]
    assert store.labels_of([4, 1, 1, 10_000]) == {4: whole[4], 1: whole[1]}
    assert store.labels_of([]) == {}
    query = FeatureQuery(order="density", limit=3, offset=2)
    assert store.page_ids(query) == store.features(query)["feature_id"].tolist()
    assert store.page_ids(FeatureQuery(limit=3, offset=10_000)) == []
    norms = store.norms()
    assert norms["feature_id"].tolist() == sorted(whole.index)
    assert norms.index.tolist() == list(range(len(whole)))


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("order", ["density", "specificity", "max", "main_source"])
def test_pages_against_pandas(store: Store, order: str, descending: bool) -> None:
    whole = store.features(EVERYTHING)
    keep = whole[whole["alive"] & whole["partition"].isin(["a", "shared"]) & whole["density"].between(0.001, 0.5)]
    expected = keep.sort_values([order, "feature_id"], ascending=[not descending, True])["feature_id"].tolist()
    query = {
        "partitions": ("a", "shared"),
        "within": (("density", (0.001, 0.5)),),
        "order": order,
        "descending": descending,
    }
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


@pytest.mark.parametrize("strongest", [False, True])
@pytest.mark.parametrize("search", ["的", "def ", "able", "dan"])
def test_the_best_match_comes_first(store: Store, search: str, strongest: bool) -> None:
    query = FeatureQuery(alive_only=False, search=search, strongest=strongest, order="relevance", limit=1_000)
    found, expected = store.features(query), []
    whole = re.compile({"的": "的", "def ": r"\bdef "}.get(search, rf"\b{search}\b"))
    hits: dict[int, int] = {}
    for row in store.features(EVERYTHING).itertuples():
        contexts = [one for one in store.contexts(row.feature_id) if not strongest or one.band == 0]
        texts = [["".join(one.tokens_a).lower(), "".join(one.tokens_b).lower()] for one in contexts]
        held = [[text for text in dict.fromkeys(both) if search in text] for both in texts]
        words = [[text for text in both if whole.search(text)] for both in held]
        named, each = search in row.label.lower(), sum(map(len, held))
        called = whole.search(row.label.lower()) is not None
        if named or each:
            expected.append((not called, -sum(map(len, words)), not named, -each, row.density, row.feature_id))
        if each:
            hits[row.feature_id] = sum(map(bool, words)) or sum(map(bool, held))
    assert found["feature_id"].tolist() == [feature for *_, feature in sorted(expected)]
    assert store.count(query) == len(expected)
    matches = store.matches(query, found["feature_id"].tolist())
    assert matches.set_index("feature_id")["hits"].to_dict() == hits
    assert all(search in text.lower() for text in matches["text"])


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


def test_many_threads(store: Store) -> None:
    expected = {feature: (store.feature(feature), store.contexts(feature)) for feature in range(80)}

    def read(number: int) -> bool:
        return (store.feature(number % 80), store.contexts(number % 80)) == expected[number % 80]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(240)))
