"""The benchmark of the store: what it writes and asks, not how fast."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from dfc.bench import figures, large_store
from dfc.bench import store as bench
from dfc.store import EVIDENCE_TABLES, TABLES, columns
from dfc.store.reader import FeatureQuery, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("large") / "features.duckdb"
    large_store.write(path, 40)
    return Store(path)


def test_every_query_is_measured(store: Store) -> None:
    measured = bench.queries(store.path, 2)
    names = "\n".join(figure.name for figure in measured)
    asked = ("feature", "contexts", "document", "search", "norms", "count", "reference", "coactivations")
    assert all(word in names for word in asked)
    assert all(figure.value > 0 and figure.target == 1.0 for figure in measured)
    assert "ms" in figures.as_table("store", measured)


def test_every_table_is_filled(store: Store) -> None:
    assert store.count(FeatureQuery(alive_only=False)) == 40
    assert not set(large_store.ROWS) - set(TABLES)
    assert not set(large_store.EVIDENCE_ROWS) - set(EVIDENCE_TABLES)
    rows = large_store.ROWS | large_store.EVIDENCE_ROWS
    for table in (store.logits, store.sources, store.roles, store.coactivations, store.neighbours):
        assert len(table(7)) == rows[table.__name__]
    assert len(store.phrases([7, 8])) == 2 * rows["phrases"]
    [finding] = store.findings().itertuples()
    assert store.members([finding.finding])["feature_id"].tolist() == [finding.feature_id] == [0]
    assert store.evidence(39) is not None
    found = store.reference()
    assert set(found) == {one.name for one in columns.EVIDENCE if one.kind == "FLOAT"}
    assert all(len(levels) == 101 for populations in found.values() for levels in populations.values())


def test_contexts_are_cut_from_their_documents(store: Store) -> None:
    contexts = [context for feature in range(40) for context in store.contexts(feature)]
    assert len(contexts) == 40 * 40
    for context in contexts[::7]:
        whole = "".join(store.document(context.document).contents)
        assert "".join(context.tokens_a) == "".join(context.tokens_b) == whole[context.start : context.stop]
        known = [value for value in context.activations_a if value is not None]
        assert known == [value for value in context.activations_b if value is not None]
        assert context.activations_a[context.peak_a]
        assert context.activations_b[context.peak_b] == context.activations_a[context.peak_a]


def test_the_same_seed_writes_the_same(tmp_path: Path, store: Store) -> None:
    large_store.write(tmp_path / "again.duckdb", 40)
    assert Store(tmp_path / "again.duckdb").contexts(3) == store.contexts(3)
    assert large_store.vocabulary(1) != large_store.vocabulary(0)
    assert pa.array(large_store.vocabulary(0)).null_count == 0
