"""How far the decisions are, and whether people agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from dfc.config import characters
from dfc.report.words import numeral
from dfc.screen.queue import Subject
from dfc.store.book import Choice, Decision, latest


@dataclass(frozen=True)
class Agreement:
    """Of two people who have both decided on `both`: on how many alike, and Cohen's κ (Educ. Psychol. Meas. 20, 1960).

    `kappa` is None where chance alone would have them agree on all.
    """

    people: tuple[str, str]
    both: int
    alike: int
    kappa: float | None

    @property
    def words(self) -> str:
        """As a sentence without an end."""
        beyond = "" if self.kappa is None else f" (Cohen's κ {numeral(self.kappa, '.2f')})"
        one, other = map(characters.shown, self.people)
        return f"{one} and {other} both decided on {self.both}, alike on {self.alike}{beyond}"


def standing(decisions: Iterable[Decision], subjects: Sequence[Subject]) -> dict[int, dict[str, Decision]]:
    """What holds of each of these findings, by its best feature and by person: of each person the last decision.

    What was decided of a feature with another decoder does not hold.
    """
    prints = {one.feature_id: one.fingerprint for one in subjects}
    held: dict[int, dict[str, Decision]] = {}
    for one in latest(decisions):
        if prints.get(one.feature_id) == one.fingerprint:
            held.setdefault(one.feature_id, {})[one.who] = one
    return held


def progress(held: Mapping[int, Mapping[str, Decision]], subjects: Sequence[Subject], who: str | None) -> str:
    """How many are decided, by one person or by anybody: `7 of 31 decided, 2 left for later`."""
    decided = later = 0
    for one in subjects:
        choices = [said.choice for name, said in held.get(one.feature_id, {}).items() if who in (None, name)]
        decided += any(choice != "later" for choice in choices)
        later += bool(choices) and all(choice == "later" for choice in choices)
    return f"{decided} of {len(subjects)} decided" + (f", {later} left for later" if later else "")


def agreements(held: Mapping[int, Mapping[str, Decision]]) -> tuple[Agreement, ...]:
    """Of every two people who have both decided on something, those who share most first; `later` is no decision."""
    by_person: dict[str, dict[int, Choice]] = {}
    for feature, said in held.items():
        for who, one in said.items():
            if one.choice != "later":
                by_person.setdefault(who, {})[feature] = one.choice
    pairs = [_agreement(people, by_person) for people in combinations(sorted(by_person), 2)]
    return tuple(sorted((one for one in pairs if one.both), key=lambda one: -one.both))


def following(held: Mapping[int, Mapping[str, Decision]], queue: Sequence[Subject], who: str, here: int) -> int:
    """The feature of what somebody decides on next: the first after `here` that is not decided, then what was left for
    later, in the queue's order and from its beginning again; `here` if all is decided."""
    ids = [one.feature_id for one in queue]
    start = ids.index(here) + 1 if here in ids else 0
    around = [one for one in ids[start:] + ids[:start] if one != here]
    choices = {one: held.get(one, {}).get(who) for one in around}
    left = [one for one, said in choices.items() if said is None]
    later = [one for one, said in choices.items() if said is not None and said.choice == "later"]
    return next(iter(left + later), here)


def _agreement(people: tuple[str, str], by_person: Mapping[str, Mapping[int, Choice]]) -> Agreement:
    one, other = (by_person[name] for name in people)
    shared = one.keys() & other.keys()
    alike = sum(one[feature] == other[feature] for feature in shared)
    counts = [Counter(said[feature] for feature in shared) for said in (one, other)]
    both = len(shared)
    expected = sum(counts[0][choice] * counts[1][choice] for choice in counts[0]) / both**2 if both else 1.0
    kappa = (alike / both - expected) / (1 - expected) if expected < 1 else None
    return Agreement(people, both, alike, kappa)
