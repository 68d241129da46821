"""Flags by meaning: likeness and its spread by hand, what a run is compared by, and what is kept of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from dfc import pipeline
from dfc.models import embedder
from dfc.runs import Run
from dfc.screen import encoders, flags, meaning, near, triage, words
from dfc.screen.near import Near
from dfc.screen.queue import subjects
from dfc.store.reader import FeatureQuery, Store
from tests.tiny import make_encoder
from tests.ui.folders import find, make_run


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(flags, "SAMPLE", 100)
    made = make_run(data, features=200)
    find(made.store)
    return made


@pytest.fixture
def encoder(data: Path) -> Path:
    return make_encoder(data / "models" / "tiny")


def test_the_score_is_above_the_middle_of_all() -> None:
    likeness = {feature: 0.1 + 0.01 * (feature % 3 - 1) for feature in range(150)} | {150: 0.5, 151: 0.11}
    [(of, first), (other, second)] = near.compared("code", "Code", likeness, [150, 151, 999])
    assert (of, other) == (150, 151)
    assert first.middle == pytest.approx(0.1)
    assert (first.features, first.nearer) == (152, 151 / 152)
    assert second.nearer == pytest.approx(100 / 152)
    assert (first.score, second.score) == (pytest.approx(0.4), pytest.approx(0.01))
    assert (first.passes, second.passes) == (True, False)
    assert first.reason == "likeness 0.50, nearer than 99.3 % of all 152 features, of which the middle is 0.10"


def test_one_that_lies_below_is_told_with_a_minus() -> None:
    assert "the middle is −0.05" in Near("code", "Code", 0.3, -0.05, 200, 0.9, 0.35).reason


def test_beside_few_features_nothing_is_compared() -> None:
    assert near.compared("code", "Code", {feature: feature / 9 for feature in range(near.FEW - 1)}, [0]) == []


def test_a_run_of_few_features_says_so(data: Path, encoder: Path) -> None:
    few = make_run(data, features=60)
    pipeline.meaning(few, encoder, "cpu")
    sentence = "not compared in meaning, for only 56 features have one, and what is usual is not known"
    assert near.lacking(Store(few.store).meaning(), "demo") == sentence


def test_findings_are_compared_with_the_sentences_of_flags(run: Run, encoder: Path) -> None:
    pipeline.meaning(run, encoder, "cpu")
    store, known = Store(run.store), words.load()
    best = [one.feature_id for one in subjects(store)]
    found = near.measured(store, best, known)
    assert set(found) == set(best)
    everything = store.feature_ids(FeatureQuery())
    ids, vectors = store.meanings(everything)
    for name, flag in list(known.items())[:2]:
        likeness = vectors @ np.array(meaning.asked(embedder.load(encoder, "cpu"), store.meaning(), flag.query))
        middle = np.median(likeness)
        [one] = [mark for mark in found[best[0]] if mark.flag == name]
        assert one.features == len(ids)
        assert one.likeness == pytest.approx(likeness[ids.index(best[0])], abs=1e-5)
        assert one.score == pytest.approx(likeness[ids.index(best[0])] - middle, abs=1e-5)
    for marks in found.values():
        assert [one.score for one in marks] == sorted((one.score for one in marks), reverse=True)


def test_they_are_kept_with_the_flags_by_words_and_raise_the_score(
    run: Run, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flags.screen(run).encoder == ""
    pipeline.meaning(run, encoder, "cpu")
    made = flags.screen(run)
    assert made.encoder == Store(run.store).meaning()["digest"]
    assert flags.read(run) == made
    best = subjects(Store(run.store))[0]
    highest = made.looked[best.feature_id].near[0]
    monkeypatch.setattr(near, "ABOVE", highest.score - 1e-6)  # an encoder of random weights knows no subjects
    [one] = [one for one in triage.candidates(run) if one.subject.feature_id == best.feature_id]
    assert highest in one.near
    assert one.factors["flag"].value >= 1.5


def test_a_file_from_before_is_read_without_them(run: Run) -> None:
    made = flags.screen(run)
    kept = json.loads(run.screening.read_text())
    del kept["encoder"]
    for one in kept["looked"].values():
        del one["near"]
    run.screening.write_text(json.dumps(kept))
    assert flags.read(run) == made


def test_what_is_lacking_is_said_with_the_command(run: Run, encoder: Path) -> None:
    facts = Store(run.store).meaning()
    assert near.lacking(facts, "demo").startswith("not compared in meaning, for what features are about is not known:")
    assert encoders.lacking(run.store, facts, "demo").startswith("What features are about is not known: `python -m dfc")
    pipeline.meaning(run, encoder, "cpu")
    assert near.lacking(Store(run.store).meaning(), "demo") == ""
    shutil.rmtree(encoder)
    assert near.lacking(Store(run.store).meaning(), "demo").endswith(
        f", for the model by which features were read is not at {encoder}: `python -m dfc meaning demo` fetches it"
    )
    assert flags.screen(run).encoder == "", "by words alone"
