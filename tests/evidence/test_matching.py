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
    return Places(document, source, role, random.integers(0, 4, rows), random.integers(-1, 2, rows), depth, KINDS)


def _traits(places: Places, row: int) -> tuple[tuple[object, ...], ...]:
    """What a row is alike in with others, level by level."""
    source, role, kind, writing = (
        int(column[row]) for column in (places.source, places.role, places.kind, places.writing)
    )
    texts = source, writing
    depth = sum(int(places.depth[row]) >= edge for edge in (16, 64, 256))
    script = KINDS[kind] if KINDS[kind].isupper() else ""
    return (*texts, role, kind, depth), (*texts, role, kind), (*texts, role, script), texts, (writing,), ()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_rows_are_matched_by_the_most_traits_that_enough_documents_have(seed: int, documents: int) -> None:
    places = _places(seed)
    found, slope = places.cells(documents)
    left = set(range(len(found)))
    expected: dict[int, tuple[object, ...]] = {}
    for level in range(6):
        traits = {row: _traits(places, row)[level] for row in left}
        by_traits = {
            name: {int(places.document[row]) for row in left if traits[row] == name} for name in traits.values()
        }
        enough = {row for row in left if level == 5 or len(by_traits[traits[row]]) >= documents}
        expected |= {row: (level, *traits[row]) for row in enough}
        left -= enough
    for one, other in itertools.combinations(range(len(found)), 2):
        assert (found[one] == found[other]) == (expected[one] == expected[other])
        shared = [
            (max(3, expected[row][0]), *expected[row][1:3][: 5 - max(3, expected[row][0])]) for row in (one, other)
        ]
        assert (slope[one] == slope[other]) == (shared[0] == shared[1])
    assert sorted(set(found.tolist())) == list(range(len(set(expected.values()))))


def test_a_ratio_has_the_error_of_its_documents() -> None:
    document = np.array([4, 4, 7, 9])
    follows = np.array([[1.0, 2.0], [3.0, 2.0], [6.0, 4.0], [2.0, 1.0]])
    gap, error, count = matching.ratio(document, follows)
    assert gap == pytest.approx(12 / 9)
    assert count == pytest.approx(81 / (16 + 16 + 1))
    rest = [(4 - 4 * gap) ** 2, (6 - 4 * gap) ** 2, (2 - gap) ** 2]
    assert error == pytest.approx(np.sqrt(sum(rest) * count / (count - 1)) / 9)
    alone = matching.ratio(document[:2], follows[:2])
    assert np.isnan(alone[1])
    assert alone[2] == 1


def test_kinds_of_text_are_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "DOCUMENTS", 2)
    places = Places(
        document=np.array([0, 0, 1, 2, 3]),
        source=np.array([0, 0, 1, 1, 1]),
        role=np.zeros(5, dtype=np.int64),
        kind=np.array([1, 0, 0, 1, 2]),
        writing=np.array([1, 1, 0, 1, -1]),
        depth=np.zeros(5, dtype=np.int64),
        kinds=KINDS,
    )
    follows = np.array([[4.0, 1.0], [0.0, 1.0], [1.0, 1.0], [3.0, 2.0], [0.0, 1.0]])
    found = matching.texts(places, ["news", "chats"], follows).to_pylist()
    assert [(row["trait"], row["name"], row["documents"], row["pairs"]) for row in found] == [
        ("source", "chats", 3, 3),  # news have one document
        ("role", stored.ROLES[0], 4, 5),
        ("script", "cjk", 2, 2),
        ("script", "latin", 2, 2),  # digits are no script
    ]
    assert [row["gap"] for row in found] == pytest.approx([4 / 4, 8 / 6, 1 / 2, 7 / 3])


def test_what_is_expected_is_fitted_within_cells_and_slopes() -> None:
    random = np.random.default_rng(3)
    cell, source = np.repeat([0, 1, 2], 30), np.repeat([0, 0, 1], 30)
    characters, rarity = random.integers(5, 50, 90).astype(float), random.random(90) * 40
    gap = np.array([0.1, -0.3, 0.5])[cell] * characters + np.array([0.02, -0.07])[source] * rarity
    follows = np.stack([gap + random.normal(size=90), characters], axis=1)
    found, rare = matching.unexpected(cell, source, follows, rarity)
    for one in range(3):
        assert found[cell == one].sum() == pytest.approx(0, abs=1e-9)
    # γ is the least-squares slope of the two, each less what the cell's characters have of it.
    for one in range(2):
        own = source == one
        parts = [
            np.concatenate([v[cell == c] - v[cell == c].sum() / characters[cell == c].sum() * characters[cell == c]
                            for c in sorted(set(cell[own]))])
            for v in (follows[:, 0], rarity)
        ]  # fmt: skip
        slope = (parts[0] @ parts[1]) / (parts[1] @ parts[1])
        assert found[own] == pytest.approx(parts[0] - slope * parts[1])
        assert rare[own] == pytest.approx(parts[1])
        assert slope == pytest.approx([0.02, -0.07][one], abs=0.02)


def _ahead(run: Run, seed: int) -> list[np.ndarray]:
    """For each shard, of some rows, an invented gap and the characters of up to three rows that follow."""
    store, random = ActivationStore(run.activations), np.random.default_rng(seed)
    found = []
    for shard in range(len(store)):
        rows = store.rows(shard)
        until = [min(row + 3, int(np.flatnonzero(rows.document == rows.document[row])[-1])) for row in range(len(rows))]
        characters = (rows.end[until] - rows.end).astype(float)
        gap = np.where((characters > 0) & (random.random(len(rows)) < 0.9), random.normal(size=len(rows)), np.nan)
        found.append(np.stack([gap, np.where(np.isfinite(gap), characters, np.nan)], axis=1))
    return found


def test_a_turn_is_written_as_most_of_its_tokens_are() -> None:
    turn = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    kind = np.array(["CJK", "LATIN", "CJK", "digit", "LATIN", "digit", "digit", "punctuation", "digit"], dtype=object)
    assert matching.most_letters(turn, kind).tolist() == ["CJK"] * 4 + ["LATIN"] * 3 + [""] * 2


def test_a_run_is_matched_over_all_its_shards(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "DOCUMENTS", 4)
    store, documents = ActivationStore(tiny_run.activations), stored.read(tiny_run)
    sources = [source.name for source in tiny_run.config().corpus.sources]
    source_of = np.array([sources.index(name) for name in documents["source"].to_pylist()])
    ahead = _ahead(tiny_run, seed=0)
    matched = matching.match(store, documents, source_of, sources, lambda shard, _: torch.from_numpy(ahead[shard]))

    contents = ["".join(turns) for turns in documents["contents"].to_pylist()]
    by_cell: dict[int, list[float]] = {}
    passages: dict[int, set[tuple[int, int]]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for shard in range(len(store)):
        of, found = store.rows(shard), matched.following(shard)
        known = np.isfinite(ahead[shard][:, 0]) & store.keep(shard, of)
        assert (found.cell.numpy() >= 0).tolist() == known.tolist() == (found.passage.numpy() >= 0).tolist()
        assert found.gap.numpy()[known] == pytest.approx(ahead[shard][known, 0])
        for row in np.flatnonzero(known).tolist():
            by_cell.setdefault(int(found.cell[row]), []).append(float(found.beyond[row]))
            before = int((of.document[:row] == of.document[row]).sum())
            passages.setdefault(int(found.passage[row]), set()).add((int(of.document[row]), before // matching.PASSAGE))
            seen["source", sources[source_of[of.document[row]]]] += 1
            kind = matching.kind_of(contents[of.document[row]][of.end[row] - 1])
            seen["script", kind.lower()] += kind.isupper()
    assert all(sum(rest) == pytest.approx(0, abs=1e-9) for rest in by_cell.values())
    assert len(by_cell) > 3
    assert all(len(stands) == 1 for stands in passages.values())
    assert len({next(iter(stands)) for stands in passages.values()}) == len(passages)
    told = {(row["trait"], row["name"]): row["pairs"] for row in matched.texts.to_pylist() if row["trait"] != "role"}
    assert told == {name: seen[name] for name in told}
    assert {trait for trait, _ in told} == {"source", "script"}


def test_what_follows_is_as_rare_as_its_pieces(tiny_run: Run) -> None:
    store, documents, ahead = ActivationStore(tiny_run.activations), stored.read(tiny_run), _ahead(tiny_run, seed=1)
    parts = [
        matching._known(store, shard, documents, lambda number, _: torch.from_numpy(ahead[number]))
        for shard in range(len(store))
    ]
    said: list[list[str]] = []
    for shard in range(len(store)):
        rows, before = store.rows(shard), (-1, 0)
        said.append([])
        for document, end in zip(rows.document.tolist(), rows.end.tolist(), strict=True):
            first = before[1] if before[0] == document else 0
            said[-1].append("".join(documents["contents"][document].as_py())[first:end])
            before = document, end
    counts = Counter(piece for pieces in said for piece in pieces)
    for part, pieces, rarity in zip(parts, said, matching._rarities(parts), strict=True):
        ends = np.cumsum([len(piece) for piece in pieces])
        for row, (_, characters), found in zip(part.row, part.follows, rarity, strict=True):
            rest = [piece for piece, end in zip(pieces[row + 1 :], ends[row + 1 :], strict=True)
                    if end <= ends[row] + characters]  # fmt: skip
            assert found == pytest.approx(sum(-np.log(counts[piece] / counts.total()) for piece in rest))
