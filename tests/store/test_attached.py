"""What stands beside the features: evidence of these alone, older files, files replaced while they are read."""

from __future__ import annotations

import gc
import os
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
from dfc.store.writer import evidence_writer
from tests.stores import LATER, make_older, make_store, write_store

EVERYTHING = FeatureQuery(alive_only=False, limit=10_000, order="feature_id", descending=False)


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
