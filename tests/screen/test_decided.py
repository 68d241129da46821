"""Progress, agreement and what comes next, by hand."""

from __future__ import annotations

import pytest

from dfc.screen import decided
from dfc.screen.queue import Subject
from dfc.store.book import Choice, Decision

QUEUE = [Subject(n, "a", "a", f"t{n}", f"p{n}", (n,), 0.5, None) for n in range(4)]


def said(feature: int, who: str, choice: Choice, second: int = 0, fingerprint: str = "") -> Decision:
    return Decision("demo", feature, fingerprint or f"p{feature}", f"2026-11-29T10:00:{second:02d}+00:00", who, choice)


def test_the_last_decision_of_each_person_holds_if_it_is_of_this_feature() -> None:
    held = decided.standing(
        [
            said(0, "Ada", "finding", 2),
            said(0, "Ada", "later", 1),
            said(0, "Bo", "duplicate", 3),
            said(1, "Ada", "finding", fingerprint="another"),
            said(9, "Ada", "finding"),
        ],
        QUEUE,
    )
    assert {feature: {who: one.choice for who, one in of.items()} for feature, of in held.items()} == {
        0: {"Ada": "finding", "Bo": "duplicate"}
    }


def test_how_many_are_decided() -> None:
    held = decided.standing([said(0, "Ada", "finding"), said(1, "Ada", "later"), said(1, "Bo", "unreadable")], QUEUE)
    assert decided.progress(held, QUEUE, "Ada") == "1 of 4 decided, 1 left for later"
    assert decided.progress(held, QUEUE, "Bo") == "1 of 4 decided"
    assert decided.progress(held, QUEUE, None) == "2 of 4 decided"


def test_agreement_where_two_have_decided() -> None:
    ada: list[Choice] = ["finding", "finding", "unreadable", "finding"]
    bo: list[Choice] = ["finding", "unreadable", "unreadable", "later"]
    made = [said(n, "Ada", one) for n, one in enumerate(ada)] + [said(n, "Bo", one) for n, one in enumerate(bo)]
    [one] = decided.agreements(decided.standing([*made, said(3, "Cy", "later")], QUEUE))
    assert (one.people, one.both, one.alike) == (("Ada", "Bo"), 3, 2)
    chance = (2 / 3) * (1 / 3) + (1 / 3) * (2 / 3)
    assert one.kappa == pytest.approx((2 / 3 - chance) / (1 - chance))
    assert one.words == "Ada and Bo both decided on 3, alike on 2 (Cohen's κ 0.40)"
    [same] = decided.agreements(decided.standing([said(0, "Ada", "finding"), said(0, "Bo", "finding")], QUEUE))
    assert same.kappa is None
    assert same.words == "Ada and Bo both decided on 1, alike on 1"


def test_what_comes_next() -> None:
    held = decided.standing([said(1, "Ada", "finding"), said(2, "Ada", "later")], QUEUE)
    assert decided.following(held, QUEUE, "Ada", 0) == 3
    assert decided.following(held, QUEUE, "Ada", 3) == 0
    assert decided.following(held, QUEUE, "Bo", 3) == 0
    everything = decided.standing([said(n, "Ada", "finding") for n in (0, 1, 3)] + [said(2, "Ada", "later")], QUEUE)
    assert decided.following(everything, QUEUE, "Ada", 3) == 2, "what was left for later"
    assert decided.following(everything, QUEUE, "Ada", 2) == 2
