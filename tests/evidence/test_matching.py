"""Matched places: against a search for like rows one by one."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.evidence import matching
from dfc.evidence.matching import Places
from dfc.runs import Run

KINDS = ("CJK", "LATIN", "digit", "punctuation")


@pytest.mark.parametrize(
    ("character", "kind"),
    [
        ("a", "LATIN"),
        ("é", "LATIN"),
        ("中", "CJK"),
        ("の", "HIRAGANA"),
        ("ж", "CYRILLIC"),
        ("\u0300", "COMBINING"),
        ("7", "digit"),
        ("。", "punctuation"),
        ("_", "punctuation"),
        ("=", "symbol"),
        (" ", "other"),
        ("\n", "other"),
    ],
)
def test_a_token_is_of_the_kind_of_its_last_character(character: str, kind: str) -> None:
    assert matching.kind_of(character) == kind


def _places(seed: int, rows: int = 80) -> Places:
    random = np.random.default_rng(seed)
    document = np.sort(random.integers(0, 25, rows))
    source = np.array([number % 3 for number in document])
    role = np.array([number % 2 for number in document])
    depth = random.choice([0, 15, 16, 80, 300], rows)
    return Places(document, source, role, random.integers(0, 4, rows), depth, KINDS)


def _traits(places: Places, row: int) -> tuple[tuple[object, ...], ...]:
    """What a row is alike in with others, level by level."""
    source, role, kind = (int(column[row]) for column in (places.source, places.role, places.kind))
    depth = sum(int(places.depth[row]) >= edge for edge in (16, 64, 256))
    script = KINDS[kind] if KINDS[kind].isupper() else ""
    return (source, role, kind, depth), (source, role, kind), (source, role, script), (source,), ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_rows_are_matched_by_the_most_traits_that_enough_documents_have(seed: int, documents: int) -> None:
    places = _places(seed)
    found = places.cells(documents)
    left = set(range(len(found)))
    expected: dict[int, tuple[object, ...]] = {}
    for level in range(5):
        traits = {row: _traits(places, row)[level] for row in left}
        by_traits = {
            name: {int(places.document[row]) for row in left if traits[row] == name} for name in traits.values()
        }
        enough = {row for row in left if level == 4 or len(by_traits[traits[row]]) >= documents}
        expected |= {row: (level, *traits[row]) for row in enough}
        left -= enough
    for one, other in itertools.combinations(range(len(found)), 2):
        assert (found[one] == found[other]) == (expected[one] == expected[other])
    assert sorted(set(found.tolist())) == list(range(len(set(expected.values()))))


def test_a_ratio_has_the_error_of_its_documents() -> None:
    document = np.array([4, 4, 7, 9])
    follows = np.array([[1.0, 2.0], [3.0, 2.0], [6.0, 4.0], [2.0, 4.0]])
    gap, error = matching.ratio(document, follows)
    assert gap == pytest.approx(12 / 12)
    rest = [(4 - 4) ** 2, (6 - 4) ** 2, (2 - 4) ** 2]
    assert error == pytest.approx(np.sqrt(sum(rest) * 3 / 2) / 12)
    assert np.isnan(matching.ratio(document[:2], follows[:2])[1])


def test_kinds_of_text_are_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "DOCUMENTS", 2)
    places = Places(
        document=np.array([0, 0, 1, 2, 3]),
        source=np.array([0, 0, 1, 1, 1]),
        role=np.zeros(5, dtype=np.int64),
        kind=np.array([1, 0, 0, 1, 2]),
        depth=np.zeros(5, dtype=np.int64),
        kinds=KINDS,
    )
    follows = np.array([[4.0, 1.0], [0.0, 1.0], [1.0, 1.0], [3.0, 2.0], [0.0, 1.0]])
    found = matching.texts(places, ["news", "chats"], follows).to_pylist()
    middle = np.median([2.0, 1.0, 1.5, 0.0])
    assert [(row["trait"], row["name"], row["documents"], row["pairs"]) for row in found] == [
        ("source", "chats", 3, 3),  # news have one document
        ("role", stored.ROLES[0], 4, 5),
        ("script", "cjk", 2, 2),
        ("script", "latin", 2, 2),  # digits are no script
    ]
    assert [row["gap"] + middle for row in found] == pytest.approx([4 / 4, 8 / 6, 1 / 2, 7 / 3])


def test_a_run_is_matched_over_all_its_shards(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "DOCUMENTS", 4)
    store, documents = ActivationStore(tiny_run.activations), stored.read(tiny_run)
    sources = [source.name for source in tiny_run.config().corpus.sources]
    source_of = np.array([sources.index(name) for name in documents["source"].to_pylist()])
    random = np.random.default_rng(0)
    rows = [store.rows(shard) for shard in range(len(store))]
    ahead = [np.stack([random.normal(size=len(of)), random.integers(1, 9, len(of))], axis=1) for of in rows]
    for part in ahead:
        part[random.random(len(part)) < 0.1] = np.nan
    matched = matching.match(store, documents, source_of, sources, lambda shard, _: torch.from_numpy(ahead[shard]))

    by_cell: dict[int, list[tuple[float, float]]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for shard, of in enumerate(rows):
        found = matched.following(shard)
        known = np.isfinite(ahead[shard][:, 0]) & store.keep(shard, of)
        assert (found.cell.numpy() >= 0).tolist() == known.tolist()
        assert found.gap.numpy()[known] == pytest.approx(ahead[shard][known, 0])
        for row in np.flatnonzero(known):
            cell = int(found.cell[row])
            by_cell.setdefault(cell, []).append((float(found.beyond[row]), float(ahead[shard][row, 1])))
            content = "".join(documents["contents"][int(of.document[row])].as_py())
            kind = matching.kind_of(content[of.end[row] - 1])
            seen["source", sources[source_of[of.document[row]]]] += 1
            if kind.isupper():
                seen["script", kind.lower()] += 1
    for rest in by_cell.values():
        assert sum(nats for nats, _ in rest) == pytest.approx(0, abs=1e-9)
    assert len(by_cell) > 3
    told = {(row["trait"], row["name"]): row["pairs"] for row in matched.texts.to_pylist() if row["trait"] != "role"}
    assert told == {name: seen[name] for name in told}
    assert {trait for trait, _ in told} == {"source", "script"}
