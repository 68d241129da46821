"""The feature store: written whole or not at all, read from many threads, refused in one sentence."""

from __future__ import annotations

import gc
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

from dfc.config import UserError
from dfc.store import EVIDENCE_VERSION, attached
from dfc.store.reader import FeatureQuery, Store
from dfc.store.writer import StoreWriter, evidence_writer
from tests.stores import LATER, make_older, make_store, write_store

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


def judge(path: Path, verdict: str = "unclear") -> None:
    """Evidence for a store's features; of their own, this is the verdict on each."""
    size = Store(path).count(EVERYTHING)
    with evidence_writer(attached.evidence_path(path)) as writer:
        writer.facts({"verified": True, "rule": "probes", "name": "judged", "identity": attached.identity(path)})
        rows = {"feature_id": list(range(size)), "own_r2": [0.5] * size, "verdict": [verdict] * size}
        writer.append("evidence", pa.table(rows))
        writer.append("reference", pa.table({"measure": ["own_r2"], "population": ["a"], "quantiles": [[0.0, 1.0]]}))


def test_evidence_stands_beside_the_features_and_leaves_them_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    before = Store(path)
    content, facts, features = path.read_bytes(), before.facts(), before.features(EVERYTHING)
    assert before.evidence(3) is None
    assert before.reference() == {}
    assert before.verdicts().empty
    for verdict in ("unclear", "exclusive"):
        judge(path, verdict)
        assert path.read_bytes() == content
        after = Store(path)
        added = {"verified": True, "rule": "probes", "name": "judged", "identity": attached.identity(path)}
        assert after.facts() == facts | added
        table = after.features(EVERYTHING)
        kept = [name for name in features if features[name].notna().any()]
        pd.testing.assert_frame_equal(table[kept], features[kept])
        assert set(table["verdict"]) == {verdict}
        row = after.evidence(3)
        assert row is not None
        assert (row.verdict, row.own_r2, row.mirror_id) == (verdict, 0.5, None)
        with pytest.raises(AttributeError, match="the evidence has no column nothing"):
            row.nothing  # noqa: B018
    assert sorted(os.listdir(tmp_path)) == ["evidence.duckdb", "features.duckdb"]


def test_evidence_of_other_features_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=30)
    judge(path)
    make_store(path, features=20)
    store = Store(path)
    assert store.facts()["stale"] is True
    assert "verified" not in store.facts()
    assert store.evidence(3) is None
    judge(path)
    assert {"stale", "outdated"} & store.facts().keys() == set()
    assert store.evidence(3) is not None
    make_store(path, features=20)  # the same features, indexed again: the evidence still holds
    assert store.evidence(3) is not None


def test_a_store_of_before_raw_norms_and_encoders_is_read(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    store = Store(path)
    features, models, row = store.features(EVERYTHING), store.models(), store.feature(3)
    counts = store.logit_counts(3)
    assert row.raw_norm_a is not None
    assert counts["side"].tolist() == ["a"]
    make_older(path)
    judge(path)
    assert "variance_a" not in store.facts()
    pd.testing.assert_frame_equal(store.models(), models)
    assert store.models().loc["a", "scale"].tolist() == [0.31] * 576
    older = store.features(EVERYTHING)
    kept = [name for name in features if name not in LATER and features[name].notna().any()]
    pd.testing.assert_frame_equal(older[kept], features[kept])
    assert older[list(LATER)].isna().all(axis=None)
    assert store.norms()[["raw_norm_a", "raw_norm_b"]].isna().all(axis=None)
    assert store.feature(3) == replace(row, **dict.fromkeys(LATER))
    assert counts.columns.tolist() == store.logit_counts(3).columns.tolist()
    assert store.logit_counts(3).empty


def test_gaps_of_pairs_are_read_where_they_were_kept(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    assert Store(path).pair_gaps([1]) == {}
    judge(path)
    store = Store(path)
    assert store.pair_gaps([1, 2]) == {}
    rows = {"document": [1, 3], "ends": [[2, 5], [7]], "gaps": [[None, -0.25], [1.5]]}
    with evidence_writer(attached.evidence_path(path)) as writer:
        writer.facts({"verified": True, "identity": attached.identity(path)})
        writer.append("pair_gaps", pa.table(rows))
    found = store.pair_gaps([1, 2])
    assert found == {1: ([2, 5], [None, -0.25])}
    older = shutil.copytree(tmp_path, tmp_path / "older") / path.name
    with duckdb.connect(str(attached.evidence_path(older))) as connection:
        connection.execute("DROP TABLE pair_gaps")  # of before it was kept
    assert Store(older).pair_gaps([1, 2]) == {}
    assert "outdated" not in Store(older).facts()


def test_evidence_that_is_damaged_is_named(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    attached.evidence_path(path).write_bytes(b"this is no database" * 1_000)
    with pytest.raises(UserError, match=r"evidence.duckdb: is not readable evidence .* delete it and run .* verify"):
        Store(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("DROP TABLE neighbours", "is not readable evidence"),
        ("ALTER TABLE evidence DROP COLUMN feature_id", "is not readable evidence"),
        (
            "UPDATE run SET value = '99' WHERE key = 'schema_version'",
            f"was written with schema 99, not {EVIDENCE_VERSION}",
        ),
        ("DELETE FROM run WHERE key = 'identity'", f"was written with schema {EVIDENCE_VERSION}"),
    ],
)
def test_what_is_wrong_with_the_evidence_is_not_said_of_the_features(
    change: str, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    judge(path)
    with duckdb.connect(str(attached.evidence_path(path))) as connection:
        connection.execute(change)
    with pytest.raises(UserError, match=rf"evidence.duckdb: {sentence}.* run `python -m dfc verify"):
        Store(path)


def test_a_fact_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    judge(path)
    with duckdb.connect(str(attached.evidence_path(path))) as connection:
        connection.execute("INSERT INTO run VALUES ('broken', '{oops')")
    assert "broken" not in Store(path).facts()
    other = tmp_path / "other" / "features.duckdb"
    other.parent.mkdir()
    make_store(other, features=20)
    with duckdb.connect(str(other)) as connection:
        connection.execute("INSERT INTO run VALUES ('broken', '{oops')")
    with pytest.raises(UserError, match=r"features.duckdb: is damaged .* index --again"):
        Store(other)


def test_what_a_program_asks_wrongly_is_no_damage(store: Store) -> None:
    for query in (
        FeatureQuery(limit=-1),
        FeatureQuery(offset=-1),
        FeatureQuery(partitions=("z",)),  # type: ignore[arg-type]
        FeatureQuery().ranged(density=("a", "b")),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=r"no page of features|could not convert"):
            store.features(query)


def test_an_older_store_with_its_evidence_inside_is_read(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    with duckdb.connect(str(path)) as old:  # as schema 5 had it, without what came later
        old.execute("UPDATE run SET value = '5' WHERE key = 'schema_version'")
        old.execute("""CREATE TABLE evidence AS SELECT feature_id, 0.25::FLOAT AS probe_r2_a, 0.75::FLOAT AS probe_r2_b,
                       0.1::FLOAT AS surprise_gap, 'unclear' AS verdict, 0.5::FLOAT AS confidence FROM features""")
        old.execute("CREATE TABLE reference (measure VARCHAR, population VARCHAR, quantiles FLOAT[])")
        old.execute("CREATE TABLE neighbours (feature_id INTEGER, other_id INTEGER, kind VARCHAR, similarity FLOAT)")
        old.execute("INSERT INTO run VALUES ('verified', 'true')")
    store = Store(path)
    assert (store.facts()["verified"], store.facts()["rule"]) == (True, "surprise")
    row = store.evidence(0)
    assert row is not None
    assert (row.verdict, row.own_r2, row.other_r2, row.nu_r) == ("unclear", 0.25, 0.75, None)
    assert store.neighbours(0).empty
    judge(path, "exclusive")
    assert set(store.features(EVERYTHING)["verdict"]) == {"exclusive"}
    assert store.facts()["rule"] == "probes"


def test_a_failed_write_leaves_the_old_evidence(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    judge(path)
    with pytest.raises(ValueError, match="no such table"), evidence_writer(attached.evidence_path(path)) as writer:
        writer.append("run; DROP TABLE run", pa.table({"key": ["a"]}))
    assert Store(path).evidence(3) is not None
    assert sorted(os.listdir(tmp_path)) == ["evidence.duckdb", "features.duckdb"]


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


def test_evidence_of_the_first_version_is_read_and_has_no_findings(tmp_path: Path) -> None:
    path = tmp_path / "features.duckdb"
    make_store(path, features=20)
    judge(path)
    with duckdb.connect(str(attached.evidence_path(path))) as connection:
        [(kept,)] = connection.execute("SELECT count(DISTINCT measure) FROM reference").fetchall()
        connection.execute("DROP TABLE findings")
        connection.execute("DROP TABLE texts")
        for name in ("matched_gap", "finding", "place", "knows", "false_discovery"):
            connection.execute(f"ALTER TABLE evidence DROP COLUMN {name}")
        connection.execute("UPDATE run SET value = '1' WHERE key = 'schema_version'")
    store = Store(path)
    assert store.facts()["verified"]
    assert store.facts()["outdated"]
    assert len(store.reference()) == kept > 0
    assert len(store.findings()) == len(store.texts()) == 0
    table = store.features(FeatureQuery(limit=5))
    assert table["verdict"].notna().any()
    assert table["matched_gap"].isna().all()
