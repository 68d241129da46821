"""Themes of findings: who is in which, what they are called, and what is said where nothing is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from dfc.report import findings
from dfc.screen import themes
from dfc.store import attached
from dfc.store.reader import Store
from dfc.store.writer import meaning_writer
from tests.stores import SOURCES
from tests.ui.folders import FOUND, find, make_run


def mean(path: Path, without: tuple[int, ...] = (), noise: float = 0.2) -> None:
    """What features of an invented store mean: their main source, nearly; some mean nothing."""
    store, draw = Store(path), np.random.default_rng(0)
    ids = [one for one in range(len(store.norms())) if one not in without]
    sources = [store.feature(one).main_source for one in ids]
    vectors = np.array([[float(source == one) for one in [*SOURCES, *"xyz"]] for source in sources])
    vectors += noise * draw.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with meaning_writer(attached.meaning_path(path)) as writer:
        writer.facts({"identity": attached.identity(path), "model": "made-up", "digest": "none"})
        writer.append("meanings", pa.table({"feature_id": ids, "vector": vectors.tolist()}))


@pytest.fixture
def store(data: Path) -> Store:
    """Thirteen findings, those of the feature 160 without a meaning."""
    run = make_run(data)
    find(run.store)
    mean(run.store, without=(160,))
    return Store(run.store)


def test_findings_of_one_source_are_one_theme_named_by_its_words(store: Store) -> None:
    made = themes.of(store)
    assert made is not None
    listed = [one.finding for theme in made.themes for one in theme.findings]
    assert sorted([*listed, *(one.finding for one in made.without)]) == sorted(FOUND)
    assert [one.feature_id for one in made.without] == [160]
    for theme in made.themes:
        assert len({one.main_source for one in theme.findings}) == 1
        assert theme.sources == f"{theme.findings[0].main_source} ({len(theme.findings)})"
    assert [len(theme.findings) for theme in made.themes] == sorted(
        (len(theme.findings) for theme in made.themes), reverse=True
    )
    named = [theme for theme in made.themes if theme.words]
    assert named
    for theme in named:
        assert theme.auroc is not None
        assert theme.auroc >= 0.7
        assert "AUROC" in theme.named_by
        contexts = store.first_contexts([one.feature_id for one in theme.findings], 20)
        texts = "".join("".join(one.tokens_a) for own in contexts.values() for one in own)
        assert all(word in texts for word in theme.words.split(" · "))
    for theme in made.themes:
        if not theme.words:
            assert theme.name == theme.findings[0].label
    assert made.of_finding[made.themes[0].key] is made.themes[0]


def test_what_is_most_central_comes_first(store: Store) -> None:
    made = themes.of(store, 2)
    assert made is not None
    assert len(made.themes) == 2
    numbers, vectors = store.meanings([one.feature_id for one in findings.of(store)])
    of = dict(zip(numbers, vectors, strict=True))
    for theme in made.themes:
        own = np.array([of[one.feature_id] for one in theme.findings])
        middle = own.sum(axis=0) / np.linalg.norm(own.sum(axis=0))
        assert (np.diff(own @ middle) <= 1e-6).all()
        assert theme.likeness == pytest.approx(float((own @ middle).mean()), abs=1e-5)


def test_words_say_how_many_are_whose_and_what_the_picture_keeps(store: Store) -> None:
    made = themes.of(store, 1)
    assert made is not None
    [theme] = made.themes
    assert theme.counted({"a": "Ann", "b": "Bob"}) == "11 of Ann's findings, 1 of Bob's"
    assert theme.words == ""  # there is nothing else to tell it from
    assert themes.apart_in_words(made) == "1 finding has no context, and no theme."
    said = themes.picture_in_words(made)
    assert f"keeps {100 * made.variance:.0f} % of the variance of 12 vectors" in said
    assert f"{100 * made.near:.0f} % are among the five nearest" in said


def test_without_meaning_or_findings(data: Path) -> None:
    run = make_run(data, features=20)
    assert themes.of(Store(run.store)) is None
    mean(run.store)
    made = themes.of(Store(run.store))
    assert made is not None
    assert (made.themes, dict(made.places), made.without) == ((), {}, ())
    assert math.isnan(made.silhouette)
    assert themes.picture_in_words(made) == ""
