"""What features are about: their vectors by hand, interrupted and resumed, and looked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from dfc.config import UserError
from dfc.models import embedder
from dfc.models.embedder import Embedder
from dfc.runs import Run
from dfc.screen import encoders, meaning
from dfc.store import attached
from dfc.store.reader import FeatureQuery, Store
from dfc.store.writer import meaning_writer
from tests.shared import once
from tests.tiny import make_encoder
from tests.ui.folders import make_run


@pytest.fixture(scope="module")
def small(shared: None) -> Embedder:
    return embedder.load(once("encoder-meaning", lambda folder: make_encoder(folder, query="the old: ")), "cpu")


@pytest.fixture
def run(data: Path) -> Run:
    return make_run(data, features=12)


def vectors(store: Store) -> dict[int, np.ndarray]:
    with duckdb.connect(str(attached.meaning_path(store.path)), read_only=True) as connection:
        rows = connection.execute("SELECT feature_id, vector FROM meanings").fetchall()
    return {feature: np.array(vector) for feature, vector in rows}


def test_a_vector_is_the_mean_over_the_strongest_contexts_less_that_of_all(run: Run, small: Embedder) -> None:
    meaning.write(run, small)
    store = Store(run.store)
    means = {}
    for feature in store.feature_ids(FeatureQuery(alive_only=False)):
        contexts = [context for context in store.contexts(feature) if context.band == 0]
        found = []
        for context in contexts:
            contents = store.document(context.document).contents
            [read] = small.documents(["\n".join(contents)])
            turns = [len("".join(contents[: turn + 1])) for turn in range(len(contents))]
            ahead = [sum(end <= place for end in turns) for place in (context.start, context.stop - 1)]
            found.append(read.mean(context.start + ahead[0], context.stop + ahead[1]))
        if found:
            means[feature] = np.mean(found, axis=0)
    centre = np.mean(list(means.values()), axis=0)
    made = vectors(store)
    assert made.keys() == means.keys()
    assert 0 < len(made) < 12  # dead features have no contexts
    for feature, mean in means.items():
        np.testing.assert_allclose(made[feature], (mean - centre) / np.linalg.norm(mean - centre), atol=1e-4)
    facts = store.meaning()
    assert facts["digest"] == small.digest
    assert facts["contexts"] == len(store.stretches())


def test_interrupted_it_goes_on_where_it_was(run: Run, small: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    meaning.write(run, small)
    whole = vectors(Store(run.store))
    attached.meaning_path(run.store).unlink()
    monkeypatch.setattr(meaning, "_KEPT_EVERY", 2)
    read: list[str] = []
    documents, stop = Embedder.documents, 5

    def some(self: Embedder, texts: list[str]) -> Any:
        for one, text in zip(documents(self, texts), texts, strict=True):
            read.append(text)
            if len(read) == stop:
                raise KeyboardInterrupt
            yield one

    monkeypatch.setattr(Embedder, "documents", some)
    with pytest.raises(KeyboardInterrupt):
        meaning.write(run, small)
    assert not attached.meaning_path(run.store).exists()
    stop = -1
    assert "is read in part: wait for `python -m dfc meaning demo`" in encoders.lacking(run.store, {}, "demo")
    meaning.write(run, small)
    facts = Store(run.store).meaning()
    assert "is not at" in encoders.lacking(run.store, facts | {"model": "elsewhere"}, "demo")
    assert encoders.lacking(run.store, facts, "demo") == ""
    number = Store(run.store).stretches()["document"].nunique()
    assert len(read) == number + 1  # one document of the third pair was read twice
    again = vectors(Store(run.store))
    for feature, vector in whole.items():
        np.testing.assert_allclose(again[feature], vector, atol=1e-5)
    assert not list(run.path.glob("meaning.duckdb.*"))


def test_what_another_encoder_left_is_not_gone_on_with(run: Run, small: Embedder, tmp_path: Path) -> None:
    other = embedder.load(make_encoder(tmp_path / "other", seed=1), "cpu")
    meaning.write(run, other)
    theirs = vectors(Store(run.store))
    meaning.write(run, small)
    assert not np.allclose(vectors(Store(run.store))[0], theirs[0])
    with pytest.raises(UserError, match="is not the encoder"):
        meaning.asked(other, Store(run.store).meaning(), "rain")


def test_what_is_asked_is_less_what_all_queries_share(run: Run, small: Embedder) -> None:
    meaning.write(run, small)
    facts = Store(run.store).meaning()
    vector = np.array(meaning.asked(small, facts, "an old bridge"))
    expected = small.queries(["an old bridge"])[0] - np.array(facts["query_centre"])
    np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


def test_features_are_found_nearest_first(run: Run, small: Embedder) -> None:
    meaning.write(run, small)
    store = Store(run.store)
    made = vectors(store)
    near = meaning.asked(small, store.meaning(), "shepherd")
    query = FeatureQuery(near=near, order="likeness", alive_only=False)
    cosines = {feature: float(vector @ near) for feature, vector in made.items()}
    expected = sorted(cosines, key=lambda feature: -cosines[feature])
    assert store.features(query)["feature_id"].tolist() == expected
    assert store.count(query) == len(made)
    assert store.likeness(near, expected[:3]) == pytest.approx({one: cosines[one] for one in expected[:3]}, abs=1e-5)
    alike = store.alike(0, 4)
    others = sorted((f for f in made if f), key=lambda f: -float(made[f] @ made[0]))
    assert alike["other_id"].tolist() == others[:4]
    assert store.alike(11, 4).empty  # dead


def test_vectors_of_other_features_count_as_none(run: Run) -> None:
    with meaning_writer(attached.meaning_path(run.store)) as writer:
        writer.facts({"identity": "of others", "digest": "some"})
        writer.append("meanings", pa.table({"feature_id": [0], "vector": [[1.0]]}))
    store = Store(run.store)
    assert store.meaning() == {}
    assert store.count(FeatureQuery(near=(1.0,))) == 0
    assert store.count(FeatureQuery(alive_only=False)) == 12


def test_damaged_vectors_are_said_with_what_mends_them(run: Run, small: Embedder) -> None:
    attached.meaning_path(run.store).write_bytes(b"nonsense")
    with pytest.raises(UserError, match=f"dfc meaning {run.path}"):
        Store(run.store)


def test_an_encoder_is_found_by_its_name_or_its_path(data: Path, tmp_path: Path) -> None:
    ours, theirs = data / "models" / "small", tmp_path / "elsewhere"
    ours.mkdir(parents=True)
    assert encoders.name(ours) == "small"
    assert encoders.folder("small") == ours
    assert encoders.folder(encoders.name(theirs)) == theirs
