"""Where a quirk stands in a list, by hand, and what chance would do."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from dfc.organisms import lists
from dfc.organisms.lists import NEEDED, TEXTS, Ranked
from dfc.screen import flags, triage
from dfc.store.reader import Store
from tests.ui.folders import find, make_run


def test_an_entry_of_a_feature_needs_enough_of_its_own_texts() -> None:
    ranked = Ranked([(1, 2, 3, 4, 5), (1, 2, 6, 7, 8), (6, 7, 8, 1, 2), (6, 9, 9, 9, 9)], [10, 11, 12, 13])
    assert ranked.rank({1, 2, 3}) == 1
    assert ranked.rank({6, 7, 8}) == 2
    assert ranked.rank({3, 6, 9}) == 4
    assert ranked.rank({4, 5}) is None


def test_the_queue_is_that_of_the_page(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "SAMPLE", 200)
    run = make_run(data, features=200)
    find(run.store)
    read = lists.queue(run, Store(run.store))
    assert run.screening.exists(), "flags are looked for"
    queue = [one.subject.feature_id for one in triage.ordered(triage.candidates(run)) if one.subject.side == "a"]
    assert read.features == queue
    assert set(queue) >= set(lists.findings(Store(run.store)).features or ())
    assert all(0 < len(documents) <= TEXTS for documents in read.entries)


def test_texts_that_are_ranked_themselves_add_up() -> None:
    score = np.array([0.1, 0.9, 0.8, 0.2, 0.7, 0.3, 0.6, 0.5, 0.4, 0.0, -0.5])
    ranked = lists._of_texts(list(range(100, 111)), score)
    assert ranked.entries == [(101, 102, 104, 106, 107), (108, 105, 103, 100, 109), (110,)]
    assert ranked.rank({101, 107, 104}) == 1
    assert ranked.rank({101, 107, 109}) == 2
    assert ranked.rank({101, 107, 110}) == 3
    assert ranked.rank({101, 107}) is None


@pytest.mark.parametrize(("whole", "quirky", "entries"), [(40, 4, 3), (12, 5, 1), (30, 3, 10), (6, 6, 1), (9, 1, 2)])
def test_chance_is_that_of_random_orders(whole: int, quirky: int, entries: int) -> None:
    draw, hits, tries = random.Random(0), 0, 4_000
    shows = set(range(quirky))
    for _ in range(tries):
        order = draw.sample(range(whole), whole)
        hits += len(shows & set(order[: entries * TEXTS])) >= NEEDED
    ranked = Ranked([], pool=frozenset(range(whole)))
    assert ranked.chance(shows | {999}, entries) == pytest.approx(hits / tries, abs=0.03)
