"""Flags of findings: counts and chances against arithmetic by hand, and what is kept in the run."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path

import pytest

from dfc.config import DamagedError
from dfc.runs import Run
from dfc.screen import flags, words
from dfc.screen.flags import Flagged, Screening
from dfc.screen.queue import subjects
from dfc.store.reader import Store
from tests.screen.test_words import flag
from tests.ui.folders import find, make_run


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(flags, "SAMPLE", 400)
    made = make_run(data, features=200)
    find(made.store)
    return made


def test_the_chance_is_that_of_all_ways_to_draw() -> None:
    marked, balls, drawn = {0, 1, 2}, range(7), 3
    ways = [len(marked & set(one)) for one in combinations(balls, drawn)]
    for held in range(4):
        by_hand = sum(one >= held for one in ways) / len(ways)
        assert flags.chance(held, drawn, len(marked) - held, len(balls) - drawn) == pytest.approx(by_hand)
    assert flags.chance(0, 5, 0, 0) == 1
    assert 0 < flags.chance(120, 120, 0, 4_000) < 1e-200


def test_what_is_common_is_taken_off() -> None:
    listed = {"party": flag("党中央", "共产党")}
    contexts = [{"party": ["共产党"]}] * 8 + [{"party": ["党中央", "共产党"]}] + [{}] * 3
    base = [{"party": ["党中央"]}] * 4 + [{}] * 96
    [one] = flags.flagged(contexts, base, listed)
    assert (one.held, one.contexts, one.base, one.words) == (9, 12, 0.04, ("共产党", "党中央"))
    assert one.score == pytest.approx((0.75 - 0.04) / 0.96)
    assert one.chance == flags.chance(9, 12, 4, 100)
    assert one.reason == "9 of 12 contexts hold 共产党 or 党中央; 4 % of all do"
    [none] = flags.flagged([{}], base, listed)
    assert (none.held, none.chance, none.score) == (0, 1.0, 0.0)
    assert flags.flagged([], base, listed) == []


def test_those_that_pass_are_few_enough_to_be_chance() -> None:
    def one(chance: float, held: int = 9, score: float = 0.5) -> Flagged:
        return Flagged("f", "F", held, 12, 0.04, (), chance, math.nan, score)

    found = flags.judged(
        [[one(0.001, score=0.2), one(0.5, score=0.9), one(0.02)], [], [one(1e-9, held=2), one(1, held=0)]]
    )
    assert [[mark.score for mark in marks] for marks in found] == [[0.5, 0.2, 0.9], [], [0.5]]
    assert [mark.rate for mark in found[0]] == pytest.approx([0.02 * 5 / 3, 0.001 * 5 / 2, 0.5 * 5 / 4])
    assert [mark.passes for mark in found[0]] == [True, True, False]
    assert not found[2][0].passes, "two documents are too few"


def test_a_run_is_looked_through_and_what_was_found_is_kept(run: Run) -> None:
    assert flags.read(run) is None
    made = flags.screen(run)
    assert flags.read(run) == made
    listed = subjects(Store(run.store))
    assert set(made.looked) == {one.feature_id for one in listed}
    assert made.asked == flags.digest(words.load())
    assert made.sample == len(Store(run.store).some_contexts(flags.SAMPLE, 0)) == flags.SAMPLE
    by_name = {(feature, mark.flag): mark for feature, one in made.looked.items() for mark in one.flags}
    for one in listed:
        contexts = (context for member in one.members for context in Store(run.store).contexts(member))
        documents = {context.document for context in contexts if context.band == 0}
        assert all(
            mark.contexts == len(documents) for (feature, _), mark in by_name.items() if feature == one.feature_id
        )
        assert made.of(one) == made.looked[one.feature_id]
    news = next(mark for (_, name), mark in by_name.items() if name == "china-politics" and mark.passes)
    assert news.score > 0.2
    assert "新华社" in news.words


def test_what_was_found_is_of_these_features_and_members_alone(run: Run) -> None:
    made = flags.screen(run)
    [first, *_] = subjects(Store(run.store))
    other = Screening(
        made.identity, made.asked, made.made, made.sample, {first.feature_id: made.looked[first.feature_id]}
    )
    assert other.of(first) is not None
    assert other.of(subjects(Store(run.store))[1]) is None
    kept = json.loads(run.screening.read_text())
    run.screening.write_text(json.dumps(kept | {"identity": "of another training"}))
    assert flags.read(run) is None


def test_a_damaged_file_is_named(run: Run) -> None:
    flags.screen(run)
    kept = json.loads(run.screening.read_text())
    kept["looked"] = {"zero": 1}
    run.screening.write_text(json.dumps(kept))
    with pytest.raises(DamagedError, match="python -m dfc screen"):
        flags.read(run)


def test_contexts_are_drawn_evenly_and_the_same_again(run: Run) -> None:
    store = Store(run.store)
    drawn = store.some_contexts(300, 1)
    assert len({(one.feature_id, one.number) for one in drawn}) == 300
    assert drawn == store.some_contexts(300, 1) != store.some_contexts(300, 2)
    assert len({one.feature_id for one in drawn}) > 80
    assert {one.band for one in drawn} == {0}
