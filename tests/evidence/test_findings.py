"""Findings: chances, rates of false discoveries and groups, by hand and against plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc import pipeline
from dfc.config import EvidenceConfig
from dfc.evidence import findings, matching
from dfc.evidence.pieces import Profiles
from dfc.runs import Run
from dfc.store.reader import Store

NAN = float("nan")
CONFIG = EvidenceConfig()


@pytest.mark.parametrize(
    ("t", "documents", "chance"),
    [(2.0, 10_001, 0.02276), (2.0, 11, 0.03669), (3.0, 6, 0.01505), (1.0, 5, 0.18695), (5.0, 21, 3.445e-5)],
)
def test_chances_are_those_of_students_t(t: float, documents: int, chance: float) -> None:
    """Values of a table of Student's t, one-sided."""
    gap = np.array([CONFIG.surprise_gap + 0.01 * t, -CONFIG.surprise_gap - 0.01 * t])
    found = findings.p_values(gap, np.full(2, 0.01), np.full(2, documents), CONFIG)
    assert found == pytest.approx([chance, chance], rel=0.05)


def test_what_is_no_larger_than_the_threshold_or_fires_in_few_documents_is_no_finding() -> None:
    gap = np.array([CONFIG.surprise_gap, 0.001, 0.3, NAN, 0.3])
    error = np.array([0.001, 0.001, 0.001, NAN, NAN])
    found = findings.p_values(gap, error, np.array([50, 50, CONFIG.finding_documents - 1, 50, 50]), CONFIG)
    assert found[:2].tolist() == [0.5, 0.5]
    assert np.isnan(found[2:]).all()


@settings(deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(NAN)), max_size=30), st.floats(0.01, 0.5))
def test_those_pass_that_benjamini_and_hochberg_let_pass(chances: list[float], rate: float) -> None:
    chance = np.array(chances, dtype=float)
    tested = sorted(value for value in chances if not math.isnan(value))
    limits = [value for rank, value in enumerate(tested, 1) if value <= rate * rank / len(tested)]
    found = findings.false_discovery(chance)
    for value, at in zip(chances, found.tolist(), strict=True):
        if math.isnan(value):
            assert math.isnan(at)
        elif abs(at - rate) > 1e-9:  # a rate that is met to the last digit may fall either way
            assert (at <= rate) == (bool(limits) and value <= max(limits))


def _profiles(*rows: dict[int, tuple[float, float]], document: list[int]) -> Profiles:
    """Of each feature, by passage, the weight and the gap there; all passages have 10 characters."""
    entries = [(feature, where, *entry) for feature, row in enumerate(rows) for where, entry in sorted(row.items())]
    feature, passage, weight, gap = map(np.array, zip(*entries, strict=True))
    return Profiles(feature, passage, weight, weight * gap, np.array(document), np.full(len(document), 10.0))


def _grouped(profiles: Profiles, gap: list[float], chance: list[float]) -> list[tuple[str, list[int], int]]:
    """Model, members and documents of each finding; what passes has a chance below 0.01."""
    chances, error = np.array(chance), np.full(len(gap), 0.001)
    rate = np.where(chances < 0.01, 0.02, 0.9)
    config = CONFIG.model_copy(update={"finding_documents": 2})
    found = findings.grouped(np.array(gap), error, chances, rate, profiles, config)
    return [(group.side, group.members.tolist(), group.documents) for group in found]


def test_what_another_feature_stands_for_is_no_finding_of_its_own() -> None:
    profiles = _profiles(
        {0: (1.0, 0.3), 1: (1.0, 0.3), 2: (1.0, 0.3)},
        {1: (4.0, 0.2), 2: (4.0, 0.2)},  # where feature 0 fires: it says nothing new
        {1: (1.0, 0.1), 5: (1.0, 0.25), 6: (1.0, 0.25)},  # elsewhere as well, in two documents
        {0: (1.0, -0.4), 1: (1.0, -0.4)},  # the other way: there the other model knows better
        {5: (9.0, 0.15), 7: (9.0, 0.15)},  # one passage is taken, of the other there is one document
        {3: (1.0, 0.3), 4: (1.0, 0.3)},  # does not pass
        document=list(range(8)),
    )
    gap = [0.3, 0.2, 0.2, -0.4, 0.15, 0.3]
    assert _grouped(profiles, gap, [0.001, 0.001, 0.001, 0.001, 0.009, 0.5]) == [
        ("b", [3], 2),
        ("a", [0, 1], 3),
        ("a", [2, 4], 3),
    ]


def test_a_finding_stands_for_passages_in_which_its_feature_fires_densely() -> None:
    thin = dict.fromkeys(range(3, 8), (0.01, 0.3))
    profiles = _profiles(
        {0: (1.0, 0.3), 1: (1.0, 0.3), 2: (1.0, 0.3), **thin},
        {3: (1.0, 0.2), 4: (1.0, 0.2)},
        document=list(range(8)),
    )
    assert _grouped(profiles, [0.3, 0.2], [0.001, 0.001]) == [("a", [0], 8), ("a", [1], 2)]


def test_what_is_left_must_pass_itself() -> None:
    """Where no finding stands, the second feature's gap is no larger than the threshold: the rest was the first's."""
    profiles = _profiles(
        {0: (1.0, 0.5), 1: (1.0, 0.5)},
        {0: (5.0, 0.5), 1: (5.0, 0.5), 2: (1.0, 0.01), 3: (1.0, 0.012), 4: (1.0, 0.011)},
        document=list(range(5)),
    )
    assert _grouped(profiles, [0.5, 0.4], [0.001, 0.001]) == [("a", [0, 1], 2)]


def _judged(run: Run, **evidence: object) -> Store:
    settings = yaml.safe_load((run.path / "run.yaml").read_text(encoding="utf-8"))
    settings["evidence"] |= evidence
    (run.path / "run.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    pipeline.verify(run)
    return Store(run.store)


def test_a_run_has_its_findings_and_kinds_of_text_in_the_store(tiny_copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """With thresholds that let what two untrained models expect pass."""
    monkeypatch.setattr(matching, "DOCUMENTS", 4)
    store = _judged(tiny_copy, surprise_gap=1e-6, false_discovery=0.99, finding_documents=2)
    table = store.findings()
    assert len(table) > 0
    assert table["finding"].tolist() == list(range(len(table)))
    assert (table["gap"] > 0).all()
    behind = table["plain_gap"] <= -findings.SURE * table["plain_error"]
    assert behind.is_monotonic_increasing
    for _, some in table.groupby(behind):
        assert (some["gap"] - findings.SURE * some["error"]).is_monotonic_decreasing
    for row in table.itertuples():
        members = store.members([row.finding])
        assert len(members) == row.members
        assert members["feature_id"][0] == row.feature_id
        for feature in members["feature_id"].tolist():
            evidence = store.evidence(feature)
            assert evidence is not None
            assert (evidence.finding, evidence.knows) == (row.finding, row.side)
            r2_a, r2_b = (NAN if value is None else value for value in (evidence.probe_r2_a, evidence.probe_r2_b))
            own = "a" if r2_a >= r2_b else "b"
            owner = store.feature(feature).partition
            owner = own if owner == "shared" else owner
            assert (evidence.matched_gap > 0) == (owner == row.side)
    texts = store.texts()
    assert set(texts["trait"]) == {"source", "role", "script"}
    assert store.facts()["rule"] == "surprise"


def test_where_nothing_is_measured_there_are_none(tiny_copy: Run) -> None:
    store = _judged(tiny_copy, surprise_pairs=0)
    assert len(store.findings()) == len(store.texts()) == 0
    assert store.facts()["rule"] == "probes"


def test_findings_in_which_a_model_falls_behind_all_the_same_come_last() -> None:
    groups = [findings.Group(side, np.array([best]), 9) for side, best in (("a", 0), ("b", 1), ("a", 2), ("b", 3))]
    plainly, error = np.array([-1.0, 2.0, 0.1, -0.15]), np.full(4, 0.1)  # in favour of model A
    ordered = findings.behind_last(groups, plainly, error)
    assert [group.members[0] for group in ordered] == [2, 3, 0, 1]
