"""Filters of the features table against the same done by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfc.store import attached
from dfc.store.query import FeatureQuery, ranges, rare_end, whole_words
from dfc.store.reader import Store
from dfc.store.writer import evidence_writer, meaning_writer
from tests.stores import make_store, rewrite

SIZE = 80


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with evidence of which parts are missing, roles and labels."""
    path = tmp_path_factory.mktemp("query") / "features.duckdb"
    make_store(path, features=SIZE)
    random = np.random.default_rng(0)

    def some() -> list[float | None]:
        return [None if random.random() < 0.3 else float(random.random()) for _ in range(SIZE)]

    finding = [feature // 10 if feature < 40 else None for feature in range(SIZE)]
    evidence = {
        "finding": finding,
        "place": [None if number is None else feature % 10 for feature, number in enumerate(finding)],
        "knows": ["" if number is None else "ab"[number % 2] for number in finding],
        "feature_id": list(range(SIZE)),
        "held_out_count": [9] * SIZE,
        "documents": [3] * SIZE,
        **{name: some() for name in ("probe_r2_a", "probe_r2_b", "probe_ratio", "mirror_correlation")},
        "verdict": random.choice(["exclusive", "unclear"], SIZE).tolist(),
        "confidence": random.random(SIZE).tolist(),
    }
    roles = {"feature_id": [0, 0, 1, 1, 2], "role": ["user", "assistant", "user", "assistant", "plain"]}
    rewrite(path, "roles", pa.table(roles | {"count": [1] * 5, "rate": [0.1, 0.3, 0.5, 0.2, 0.1]}))
    with evidence_writer(attached.evidence_path(path)) as writer:
        writer.facts({"verified": True, "identity": attached.identity(path)})
        writer.append("evidence", pa.table(evidence))
    return Store(path)


def found(store: Store, **asked: Any) -> set[int]:
    return matching(store, FeatureQuery(alive_only=False, **asked))


def matching(store: Store, query: FeatureQuery) -> set[int]:
    ids = store.feature_ids(query)
    assert len(ids) == store.count(query)
    return set(ids)


def own(row: Any) -> float:
    values = {"a": [row.probe_r2_a], "b": [row.probe_r2_b]}.get(row.partition, [row.probe_r2_a, row.probe_r2_b])
    kept = [value for value in values if not pd.isna(value)]
    return max(kept) if kept else math.nan


@pytest.mark.parametrize("ends", [(0.25, 0.75), (-math.inf, 0.5), (0.5, math.inf), (0.9, 0.1)])
@pytest.mark.parametrize("name", ranges())
def test_ranges(store: Store, name: str, ends: tuple[float, float]) -> None:
    table = store.features(FeatureQuery(alive_only=False, limit=SIZE))
    probes = pd.DataFrame([store.evidence(int(identity)).values for identity in table["feature_id"]])
    assert (probes["probe_r2_a"].to_numpy() == table["probe_r2_a"].to_numpy())[table["probe_r2_a"].notna()].all()
    whole = table
    figure: Callable[[Any], float] = own if name == "own_r2" else lambda row: getattr(row, name)
    expected = {row.feature_id for row in whole.itertuples() if ends[0] <= figure(row) <= ends[1]}
    assert matching(store, FeatureQuery(alive_only=False).ranged(**{name: ends})) == expected
    if name == "own_r2":
        np.testing.assert_allclose(whole["own_r2"], [own(row) for row in whole.itertuples()])


def test_without_a_range_features_without_the_figure_are_there(store: Store) -> None:
    assert found(store) == set(range(SIZE))


def test_a_role_is_that_of_features_that_fire_more_on_it_than_on_the_corpus(store: Store) -> None:
    density = [store.feature(feature).density for feature in range(3)]
    rates = {"user": {0: 0.1, 1: 0.5}, "assistant": {0: 0.3, 1: 0.2}, "plain": {2: 0.1}}
    for role, of_role in rates.items():
        assert found(store, role=role) == {feature for feature, rate in of_role.items() if rate > density[feature]}
    assert found(store, role="system") == set()


def test_labels_are_found_by_label_and_by_search(store: Store) -> None:
    table = store.features(FeatureQuery(alive_only=False, limit=SIZE))
    label = next(label for label in table["label"] if label)
    part = label[1:5].upper()
    expected = {row.feature_id for row in table.itertuples() if part.lower() in row.label.lower()}
    assert expected
    assert found(store, label=part) == expected
    assert found(store, search=part) >= expected
    assert found(store, label="'; DROP TABLE features; --") == set()


def test_findings_are_listed_by_their_best_features_in_the_order_of_their_rank(store: Store) -> None:
    for side, expected in (("a", [0, 20]), ("b", [10, 30])):
        query = FeatureQuery(partitions=("a", "b", "shared"), alive_only=False, found=side, order="finding")  # type: ignore[arg-type]
        for descending, listed in ((False, expected), (True, expected[::-1])):
            assert store.features(replace(query, descending=descending))["feature_id"].tolist() == listed
    members = FeatureQuery(alive_only=False, finding=2, order="place", descending=False)
    assert store.features(members)["feature_id"].tolist() == list(range(20, 30))
    assert found(store, finding=7) == set()


def test_ids_and_fingerprints(store: Store) -> None:
    assert found(store, ids=(3, 5, 999)) == {3, 5}
    assert found(store, ids=()) == set()
    for descending, listed in ((False, [7, 2, 5]), (True, [5, 2, 7])):
        query = FeatureQuery(alive_only=False, ids=(7, 2, 5), order="listed", descending=descending)
        assert store.features(query)["feature_id"].tolist() == listed
    assert store.fingerprints([5, 3, 999]) == {3: f"{3:016x}", 5: f"{5:016x}"}


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        ("Paris", "to Paris.", True),
        ("paris", "PARIS", True),
        ("Paris", "a comparison", False),
        ("Paris", "Parisian", False),
        ("Paris", "in_paris", False),
        ("Paris", "我爱paris的", True),
        ("北京", "在北京市", True),
        ("北京 A", "在北京 ABC", False),
        ("Élan", "un élan", True),
        ("lan", "un élan", False),
        ("(x)", "f(x)y", True),
        ("a.b", "a.b", True),
        ("a.b", "axb", False),
        ("नमस्ते", "नमस्तेजी", False),
        (" the ", "in the end", True),
        ("\x00", "a\x00b", True),
    ],
)
def test_whole_words(words: str, text: str, expected: bool) -> None:
    with duckdb.connect() as connection:
        [(found,)] = connection.execute("SELECT regexp_matches(?, ?)", [text, whole_words(words)]).fetchall()
    assert found == expected
    assert bool(re.search(whole_words(words, r"\w"), text)) == expected


@given(st.text(min_size=1), st.text(), st.text())
def test_whole_words_are_held_wherever_they_are_found(words: str, before: str, after: str) -> None:
    pattern = re.compile(whole_words(words, r"\w"))
    assert pattern.search(f" {words} ")
    found = pattern.search(before + words + after)
    assert found is None or found[1].casefold() == words.casefold()


@given(st.text(min_size=1))
def test_a_rare_end_is_an_end_and_not_too_short(text: str) -> None:
    end = rare_end(text)
    assert text.endswith(end)
    assert len(end) >= min(3, len(text))


def test_a_rare_end_begins_with_the_rarest_letter() -> None:
    assert rare_end(" the queen") == "queen"
    assert rare_end("e 国家") == "e 国家"
    assert rare_end("the 党和国家") == "党和国家"


def test_a_dotted_capital_i_is_not_every_i(store: Store) -> None:
    """What `lower` makes of it alone would be found in every text."""
    assert found(store, search="i") == found(store, search="I") != set()
    assert found(store, search="İ") == set()


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("order", ["own_r2", "probe_ratio", "mirror_correlation", "verdict", "label"])
def test_orders_of_the_evidence_put_features_without_the_figure_last(
    store: Store, order: Any, descending: bool
) -> None:
    query = FeatureQuery(alive_only=False, order=order, descending=descending, limit=SIZE)
    table = store.features(query)
    key = table[order].astype(object).where(table[order].notna() & table[order].ne(""), None).tolist()
    known = [value.lower() if isinstance(value, str) else value for value in key if value is not None]
    assert len(table) == SIZE
    assert known == sorted(known, reverse=descending)
    assert 0 < len(known) < SIZE or order == "verdict"
    assert key[len(known) :] == [None] * (SIZE - len(known))
    rest = replace(query, limit=30, offset=10)
    assert store.features(rest)["feature_id"].tolist() == table["feature_id"].tolist()[10:40]


def test_near_is_the_order_of_the_inner_products_and_passes_what_has_a_vector(
    store: Store, tmp_path_factory: pytest.TempPathFactory
) -> None:
    random = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("near") / "features.duckdb"
    make_store(path, features=SIZE)
    vectors = random.normal(size=(SIZE, 5)).astype(np.float32)
    has = np.flatnonzero(random.random(SIZE) < 0.8)
    with meaning_writer(attached.meaning_path(path)) as writer:
        writer.facts({"identity": attached.identity(path), "digest": "some"})
        writer.append("meanings", pa.table({"feature_id": has, "vector": list(vectors[has])}))
    near, read = tuple(random.normal(size=5).tolist()), Store(path)
    products = vectors @ np.array(near)
    nearest = read.features(FeatureQuery(near=near, order="likeness", alive_only=False))["feature_id"].tolist()
    assert nearest == has[np.argsort(-products[has])].tolist()
    assert read.count(FeatureQuery(near=near, alive_only=False)) == len(has)
    words = FeatureQuery(search="lord", alive_only=False)
    both = read.features(replace(words, near=near, order="likeness"))["feature_id"].tolist()
    assert both == [one for one in nearest if one in matching(read, words)]
    assert len(both) > 1
    assert store.count(FeatureQuery(near=near)) == 0  # nothing is known of what its features mean
    assert store.count(FeatureQuery(order="likeness", alive_only=False)) == SIZE
