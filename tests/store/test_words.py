"""The words of contexts: what a search by them finds is what the texts hold."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfc.store import words
from dfc.store.query import BETWEEN, RELEVANCE, FeatureQuery
from dfc.store.reader import Store
from tests.stores import make_store

SIZE = 40
TEXT = st.text(st.sampled_from("aA é\u0301İßσς_1-.,中文 हिन्दीกข\u200d"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the Queen's hat, 1,024_x", ["the", "Queen", "s", "hat", "1", "024_x"]),
        ("हिन्दी cafe\u0301", ["हिन्दी", "cafe\u0301"]),
        ("在abc天安门。", ["在", "abc", "天", "安", "门"]),
        (" -…\x1e", []),
    ],
)
def test_split(text: str, expected: list[str]) -> None:
    assert words.split(text) == expected


@given(before=TEXT, text=TEXT, after=TEXT)
def test_each_word_of_a_part_is_in_a_word_of_the_whole(before: str, text: str, after: str) -> None:
    whole = words.split(before + text + after)
    assert all(any(word in one for one in whole) for word in words.split(text))


def test_the_index_has_each_word_with_its_features_and_their_texts() -> None:
    index = words.WordIndex()
    index.add(np.array([3, 3, 5]), [f"a b a{BETWEEN}b", "c", f"b{BETWEEN}"])
    index.add(np.array([8]), ["a 中a"])
    rows = {row["word"]: (row["feature_ids"], row["contexts"]) for row in index.table().to_pylist()}
    assert rows == {"a": ([3, 8], [1, 1]), "b": ([3, 5], [2, 1]), "c": ([3], [1]), "中": ([8], [1])}


def test_an_index_of_nothing_is_empty() -> None:
    assert words.WordIndex().table().num_rows == 0


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Store]:
    """A store, and the same as an earlier version wrote it, without words."""
    path = tmp_path_factory.mktemp("new") / "features.duckdb"
    make_store(path, features=SIZE)
    older = tmp_path_factory.mktemp("old") / "features.duckdb"
    shutil.copy(path, older)
    with duckdb.connect(str(older)) as connection:
        connection.execute("DROP TABLE words; UPDATE run SET value = '8' WHERE key = 'schema_version'")
    return Store(path), Store(older)


def _searches(path: Path) -> list[str]:
    """Parts of contexts that begin and end anywhere, words and what lies between them."""
    random = np.random.default_rng(0)
    with duckdb.connect(str(path), read_only=True) as connection:
        texts = [text for (text,) in connection.execute("SELECT text_a FROM contexts").fetchall()]
    parts = []
    for text in random.choice(texts, 2).tolist():
        begin = int(random.integers(len(text)))
        parts.append(text[begin : begin + 1 + int(random.integers(1, 20))])
        parts.append(text[begin : begin + 1 + int(random.integers(1, 3))].upper())
        parts += words.split(text)[:1]
    return [part for part in dict.fromkeys(parts) if part]


@pytest.mark.parametrize("broad", [0, 0.5, 1e9])
def test_a_search_finds_what_one_through_all_texts_does(
    stores: tuple[Store, Store], broad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "_BROAD", broad)
    new, old = stores
    some = 0
    for search in _searches(new.path):
        for order in ({}, {"strongest": True}, {"order": RELEVANCE}, {"order": RELEVANCE, "strongest": True}):
            asked: dict[str, Any] = {"search": search, "alive_only": False, "limit": SIZE, **order}
            query = FeatureQuery(**asked)
            both = [store.features(query)["feature_id"].tolist() for store in stores]
            assert sorted(both[0]) == sorted(both[1]), search
            assert new.count(query) == old.count(query) == len(both[0])
            if not order:
                assert both[0] == both[1]
            some += 0 < len(both[0]) < SIZE
    assert some > 3


def test_whole_words_come_first_by_how_many_texts_have_them(stores: tuple[Store, Store]) -> None:
    new, old = stores
    for search in sorted({word for text in _searches(new.path) for word in words.split(text.lower())})[:6]:
        query = FeatureQuery(search=search, order=RELEVANCE, alive_only=False, limit=SIZE)
        with duckdb.connect(str(new.path), read_only=True) as connection:
            rows = connection.execute("SELECT feature_id, text FROM searched").fetchall()
        counts = dict.fromkeys(range(SIZE), 0)
        for feature, text in rows:
            counts[feature] += sum(search in words.split(one) for one in text.split(BETWEEN))
        for store in (new, old):
            labels = store.features(query)["label"].str.lower()
            found = store.features(query)["feature_id"][[search not in words.split(label) for label in labels]]
            numbers = [counts[feature] for feature in found]
            assert numbers == sorted(numbers, reverse=True), search
