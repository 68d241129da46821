"""The queue and its order: each factor by hand, their product, and what follows where findings are few."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from dfc.report import causal, findings
from dfc.runs import Run
from dfc.screen import triage
from dfc.screen.flags import Flagged, Looked
from dfc.screen.near import Near
from dfc.screen.queue import FEW, MEMBERS, Subject, counted, subjects
from dfc.screen.triage import Candidate, Factor
from dfc.store.explanations import Said, Told
from dfc.store.reader import Store
from tests.ui.folders import FOUND, find, judge, make_run


@pytest.fixture
def run(data: Path) -> Run:
    made = make_run(data, features=200)
    find(made.store)
    return made


@pytest.fixture
def first(run: Run) -> Subject:
    return subjects(Store(run.store))[0]


def test_findings_come_with_their_best_members(run: Run) -> None:
    listed = subjects(Store(run.store))
    assert [one.feature_id for one in listed[: len(FOUND)]] == [members[0] for _, members in FOUND.values()]
    assert listed[0].members == (150, 0, 151)[:MEMBERS]
    assert [one.side for one in listed[:3]] == ["a", "b", "a"]
    assert listed[1].fingerprint == f"{60:016x}"
    assert all(one.finding is not None for one in listed)


def test_exclusive_features_follow_where_findings_are_few(data: Path) -> None:
    run = make_run(data, features=200)
    judge(run.store)
    listed = subjects(Store(run.store))
    assert [(one.feature_id, one.side, one.finding, one.confidence) for one in listed] == [
        (0, "a", None, pytest.approx(0.9)),
        (40, "b", None, pytest.approx(0.9)),
    ]
    assert len(listed) <= FEW


def test_what_is_queued_beyond_findings_is_said_with_the_reason(run: Run, first: Subject) -> None:
    other = replace(first, finding=None)
    beyond = "in no finding, by evidence score, for there are fewer than 30 findings."
    assert counted([first, first]) == "To decide on: 2 findings."
    assert counted([first, other]) == f"To decide on: 1 finding, then 1 exclusive feature {beyond}"
    assert counted([other, other]) == f"To decide on: no findings, then 2 exclusive features {beyond}"


def test_a_run_that_is_not_judged_has_nothing_to_decide_on(data: Path) -> None:
    run = make_run(data, features=60)
    assert subjects(Store(run.store)) == ()
    assert triage.candidates(run) == ()


def test_evidence_is_the_gap_for_sure_and_who_is_ahead(first: Subject) -> None:
    assert first.finding is not None

    def of(**figures: float) -> float:
        finding = replace(first.finding, **{"gap": 0.5, "error": 0.1, "plain_gap": 1.0, "plain_error": 0.1, **figures})  # type: ignore[type-var]
        return triage.evidence(replace(first, finding=finding)).value

    assert of() == pytest.approx(0.3 / 0.4)
    assert of(plain_gap=0.1) == pytest.approx(0.75 * 0.3 / 0.4)
    assert of(plain_gap=-1.0) == pytest.approx(0.5 * 0.3 / 0.4)
    assert 0 < of(error=0.3) < 1e-3
    assert triage.evidence(replace(first, finding=None, confidence=0.7)) == Factor(0.7, "evidence score 0.70")


def test_readability_is_what_the_strongest_contexts_share() -> None:
    found = triage.readability({"电": (15, 30.0), "新华社 北京": (18, 400.0)}, 20)
    assert found == Factor(
        pytest.approx(0.9 * (1 - 1 / 400)),
        "18 of 20 strongest contexts have “新华社 北京”, 400 times as often as elsewhere",
    )
    assert triage.readability({"x": (1, 9.0)}, 20).value == 0.25
    assert triage.readability({}, 0).value == 0.25


def test_what_stands_everywhere_makes_nothing_readable() -> None:
    found = triage.readability({"the": (20, 1.25), "puppet": (12, 458.0), "a": (20, 0.8)}, 20)
    assert found.reason.startswith("12 of 20 strongest contexts have “puppet”")
    assert triage.readability({"the": (20, 4.0)}, 20) == Factor(
        0.75, "20 of 20 strongest contexts have “the”, 4.0 times as often as elsewhere"
    )
    assert triage.readability({"the": (20, math.inf)}, 20).reason.endswith("over 1,000 times as often as elsewhere")


def test_readability_is_of_the_contexts_in_which_words_were_counted(run: Run, first: Subject) -> None:
    ranks = [one.rank for one in Store(run.store).contexts(first.feature_id) if one.band == 0]
    counted_in = [rank for rank in ranks if rank % 3 != 2]
    assert 1 < len(counted_in) < len(ranks)
    factor = triage.candidates(run)[0].factors["readability"]
    assert factor.value > 0.9, "20 are said to have the commonest, which is more than there are"
    assert factor.reason.startswith(f"{len(counted_in)} of {len(counted_in)} strongest contexts have")


def mark(score: float, rate: float = 0.001) -> Flagged:
    return Flagged("code", "code", 9, 12, 0.04, ("def",), 1e-5, rate, score)


def test_a_flag_raises_by_its_score_where_it_passes() -> None:
    assert triage.flag(Looked((1,), (mark(0.4), mark(0.6), mark(0.9, rate=0.5)))) == Factor(1.6, "code")
    assert triage.flag(Looked((1,), (mark(0.9, rate=0.5),))) == Factor(1.0, "none")
    assert triage.flag(None) == Factor(1.0, "not looked for")


def test_a_flag_by_meaning_counts_half_and_a_person_may_refuse_it() -> None:
    meant = Near("code", "code", 0.6, 0.1, 4_000, 0.99, 0.5)
    looked = Looked((1,), (), (meant, replace(meant, flag="safety", title="safety", score=0.1)))
    assert triage.flag(looked) == Factor(1.5, "code, in meaning")
    assert triage.flag(replace(looked, flags=(mark(0.6),))) == Factor(1.6, "code")
    refused = Told(flags=(Said(1, "f", "person", "Ada", "2026-11-30T10:00", "code", False),))
    assert triage.flag(looked, refused) == Factor(1.0, "none")


def steps(*rows: tuple[str, float, float]) -> pd.DataFrame:
    listed: list[dict[str, Any]] = [
        {"direction": direction, "mode": "add", "strength": strength, "promoted": promoted}
        for direction, strength, promoted in rows
    ]
    return pd.DataFrame(listed)


def test_an_effect_is_beyond_that_of_a_random_direction() -> None:
    alone = ("none", 0.0, 0.1)
    rows = (("feature", 2.0, 0.15), ("feature", 4.0, 0.5), ("random", 2.0, 0.9), ("random", 4.0, 0.0))
    found = triage.effect(steps(alone, *rows))
    assert found.value == pytest.approx(1 + (0.4 - 0.1) / 0.5 / 2)
    assert found.reason == "promoted tokens move by 0.4, with a random direction by 0.1"
    assert triage.effect(steps(alone, ("feature", 2.0, 0.1), ("random", 2.0, 0.3))).value == pytest.approx(0.5)
    assert triage.effect(steps(alone, ("feature", 2.0, 0.1), ("random", 2.0, 0.1))).value == 1
    assert triage.effect(steps(alone, ("feature", 2.0, 0.5))).value == 1
    assert triage.effect(steps(alone, ("feature", 2.0, 0.5), ("random", 4.0, 0.5))).value == 1
    assert triage.effect(pd.DataFrame()).value == 1
    kl = pd.DataFrame({"side": "a", "document": range(3), "held_out": True, "kl": 0.3, "random": 0.1})
    [taken] = causal.of(kl).effects
    assert triage.effect(pd.DataFrame(), taken).value == pytest.approx(1.25)
    both = triage.effect(steps(alone, ("feature", 2.0, 0.5), ("random", 2.0, 0.5)), taken)
    assert both.value == pytest.approx(1.125)
    assert "; without it 0.3 nats a token, by chance 0.1" in both.reason


def test_the_score_is_the_product_and_weights_may_leave_out_what_is_not_asked(first: Subject) -> None:
    def one(subject: Subject, evidence: float, flag: float) -> Candidate:
        values = {"evidence": evidence, "readability": 0.5, "flag": flag, "effect": 1.0}
        return Candidate(subject, {name: Factor(value, "") for name, value in values.items()}, None)

    sure, flagged = one(first, 0.9, 1.0), one(replace(first, feature_id=7), 0.6, 2.0)
    alone = one(replace(first, finding=None), 1.0, 2.0)
    assert sure.score() == pytest.approx(0.45)
    assert flagged.score({**triage.WEIGHTS, "evidence": 2.0}) == pytest.approx(0.36 * 0.5 * 2)
    assert triage.ordered([alone, sure, flagged]) == (flagged, sure, alone)
    assert triage.ordered([alone, sure, flagged], {**triage.WEIGHTS, "flag": 0.0}) == (sure, flagged, alone)


def test_a_runs_candidates_have_every_factor(run: Run) -> None:
    listed = triage.candidates(run)
    assert all(set(one.factors) == set(triage.FACTORS) == set(triage.WEIGHTS) for one in listed)
    assert all(factor.value > 0 and factor.reason for one in listed for factor in one.factors.values())
    assert [one.subject for one in listed] == list(subjects(Store(run.store)))
    assert findings.of(Store(run.store))[0] == listed[0].subject.finding
