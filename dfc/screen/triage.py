"""In which order findings are read: an explicit score, the product of factors, each to the power of its weight.

The score means nothing beyond the order. It is no probability, and nobody is bound by it: all that is in the queue is
there whatever its score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pandas as pd

from dfc.report import causal, exclusivity, findings
from dfc.report.causal import Causal, Effect, nats
from dfc.report.exclusivity import Likeness
from dfc.report.kinds import SURE
from dfc.report.words import times
from dfc.runs import Run
from dfc.screen import flags
from dfc.screen.flags import Flagged, Looked
from dfc.screen.near import Near
from dfc.screen.queue import Subject, subjects
from dfc.store.contexts import set_apart
from dfc.store.explanations import NOTHING, Detection, ExplanationStore, Said, Told
from dfc.store.reader import Store
from dfc.store.steering import SteeringStore

FACTORS = {
    "evidence": "how sure it is that one model does better there",
    "readability": "whether its strongest contexts have something in common",
    "flag": "whether it carries a flag",
    "effect": "whether steering with it, or taking it away, does more than a random direction",
}
"""What each factor asks, in words."""
WEIGHTS: Mapping[str, float] = dict.fromkeys(FACTORS, 1.0)
MOST_WEIGHT = 4.0
"""Of a weight; with 0 a factor takes no part."""
_UNREADABLE = 0.25  # where nothing distinctive was found: a person may still see what it is
_NAMED = 0.5  # of a flag by meaning, or that a judge or a person names: of these no share of contexts is known
_Mark = TypeVar("_Mark", Flagged, Near)
_HALF = 0.1  # nats a character, of a gap that counts half
_BEHIND, _UNSURE = 0.5, 0.75


@dataclass(frozen=True)
class Factor:
    """One factor of a score, above 0; 1 where nothing is known of it. `reason` says why, without an end."""

    value: float
    reason: str


@dataclass(frozen=True)
class Candidate:
    """Something to decide on with what its place in the queue is made of.

    Attributes:
        factors: by the names of FACTORS.
        looked: its flags by words and by meaning; None where they were not looked for.
        told: what judges and people say of its best feature.
        checked: what taking its best feature away does; None where that was not measured.
        alike: how alike both models write under that feature, in each way in which it was measured.
    """

    subject: Subject
    factors: Mapping[str, Factor]
    looked: Looked | None
    told: Told = NOTHING
    checked: Causal | None = None
    alike: tuple[Likeness, ...] = ()

    @property
    def flags(self) -> tuple[Flagged, ...]:
        """Those that pass by words, but for what a person says does not apply."""
        return () if self.looked is None else _standing(self.looked.flags, self.told)

    @property
    def near(self) -> tuple[Near, ...]:
        """Those that pass by meaning, likewise."""
        return () if self.looked is None else _standing(self.looked.near, self.told)

    @property
    def passing(self) -> tuple[str, ...]:
        """The names of both."""
        return tuple(dict.fromkeys([*(one.flag for one in self.flags), *(one.flag for one in self.near)]))

    @property
    def named(self) -> tuple[Said, ...]:
        """Those that a judge says apply, or a person, whose word holds before a judge's."""
        return self.told.applying

    def score(self, weights: Mapping[str, float] = WEIGHTS) -> float:
        """Π factor ^ weight."""
        return math.prod(factor.value ** weights[name] for name, factor in self.factors.items())


def candidates(run: Run) -> tuple[Candidate, ...]:
    """All that is to be decided on in a run, with its factors, in the order of `subjects`.

    Raises:
        UserError: if the store, the flags that were kept or what was steered cannot be read.
    """
    store, kept, steering = Store(run.store), flags.read(run), SteeringStore(run.steering)
    listed = subjects(store)
    told = ExplanationStore(run.explanations).told({one.feature_id: one.fingerprint for one in listed})
    steps = steering.latest_steps([one.feature_id for one in listed]) if steering.path.exists() else pd.DataFrame()
    best = [one.feature_id for one in listed]
    checked, alike = causal.kept(store, best), exclusivity.kept(store, best)
    common = _common(store, best)
    found = []
    for one in listed:
        looked, said = None if kept is None else kept.of(one), told.get(one.feature_id, NOTHING)
        check = checked.get(one.feature_id)
        taken = None if check is None else check.of(one.side)
        factors = {
            "evidence": evidence(one),
            "readability": _readability(*common[one.feature_id], said),
            "flag": flag(looked, said),
            "effect": effect(_own(steps, one), taken),
        }
        found.append(Candidate(one, factors, looked, said, check, alike.get(one.feature_id, ())))
    return tuple(found)


def ordered(listed: Sequence[Candidate], weights: Mapping[str, float] = WEIGHTS) -> tuple[Candidate, ...]:
    """Findings before exclusive features, of each the highest score first; of like ones the one that came first."""
    return tuple(sorted(listed, key=lambda one: (one.subject.finding is None, -one.score(weights))))


def screened(run: Run) -> tuple[Candidate, ...]:
    """A run's queue in its order, after its flags were looked for anew.

    Raises:
        UserError: as `flags.screen` and `candidates` do.
    """
    flags.screen(run)
    return ordered(candidates(run))


def evidence(subject: Subject) -> Factor:
    """Of a finding g / (g + 0.1) for its gap less two standard errors, g, in nats a character: half of it where its
    model surely falls behind all the same, three quarters where it is not sure which of the two is ahead. Of an
    exclusive feature its evidence score."""
    one = subject.finding
    if one is None:
        return Factor(max(subject.confidence, 1e-6), f"evidence score {subject.confidence:.2f}")
    sure = max(0.0, one.gap - SURE * one.error)
    ahead = one.plain_gap >= SURE * one.plain_error
    share, words = (
        (1.0, "its model expects it better")
        if ahead
        else (_BEHIND, "its model falls behind all the same: half")
        if findings.falls_behind(one)
        else (_UNSURE, "which model expects it better is not sure: three quarters")
    )
    return Factor(max(share * sure / (sure + _HALF), 1e-6), f"gap of {sure:.3f} at least; {words}")


def readability(common: Mapping[str, tuple[int, float]], contexts: int) -> Factor:
    """By how much more of the strongest contexts have what sets them apart from the corpus than other places do, of the
    word, or words in a row, of which that is most; but `_UNREADABLE` at least.

    Args:
        common: of a word or words in a row, how many of the strongest contexts have it, and how many times as often as
            at a random place of the corpus.
        contexts: strongest contexts in which these were counted.
    """
    beyond = {
        text: min(count, contexts) / contexts * (1 - 1 / max(1.0, lift)) for text, (count, lift) in common.items()
    }
    if not beyond:
        return Factor(_UNREADABLE, "nothing sets its strongest contexts apart")
    text = max(beyond, key=lambda one: beyond[one])
    count, lift = common[text]
    held = f"{min(count, contexts)} of {contexts} strongest contexts have “{text.strip()}”"
    return Factor(max(_UNREADABLE, beyond[text]), f"{held}, {times(lift)} times as often as elsewhere")


def detected(tested: Detection) -> Factor:
    """How far beyond chance a judge's explanation tells, 2 · accuracy − 1, but `_UNREADABLE` at least."""
    reason = f"a judge's explanation tells {tested.accuracy:.0%} of texts rightly"
    return Factor(max(_UNREADABLE, 2 * tested.accuracy - 1), reason)


def flag(looked: Looked | None, told: Told = NOTHING) -> Factor:
    """1 and the score of the flag that passes with the highest; of one by meaning, or that a judge or a person names,
    that is ½."""
    scores: dict[str, float] = {}
    if looked is not None:
        scores |= {one.title: one.score for one in _standing(looked.flags, told)}
        scores |= {f"{one.title}, in meaning": _NAMED for one in _standing(looked.near, told)}
    for one in told.standing.values():
        if one.applies:
            scores[f"{one.flag}, says {one.who}"] = _NAMED
    if looked is None and not scores:
        return Factor(1.0, "not looked for")
    best = max(scores, key=lambda title: scores[title], default=None)
    return Factor(1.0, "none") if best is None else Factor(1 + scores[best], best)


def _standing(flags: Sequence[_Mark], told: Told) -> tuple[_Mark, ...]:
    """Those that pass, but for what a person says does not apply."""
    refused = {name for name, one in told.standing.items() if one.origin == "person" and not one.applies}
    return tuple(one for one in flags if one.passes and one.flag not in refused)


def effect(steps: pd.DataFrame, taken: Effect | None = None) -> Factor:
    """1 + s / 2 for a share s = (e − r) / (e + r), or for the mean of two where both are known.

    Of steering, e is by how much it changes the probability of what the feature's vector promotes, at the strength
    where that is most, and r by how much a random direction of equal norm does there. Of taking the feature away, e is
    how far the model's next token changes, and r how far it does without a random direction.

    Args:
        steps: of one model and feature, as `SteeringStore.latest_steps` gives them.
        taken: what taking the feature away does to the model, if that was measured.
    """
    share, reason = _steered(steps)
    if taken is None:
        return Factor(1.0, reason) if share is None else Factor(1 + share / 2, reason)
    own, random = taken.own.value, taken.random.value
    shares, reasons = [_share(own, random)], [f"without it {nats(own)} nats a token, by chance {nats(random)}"]
    if share is not None:
        shares, reasons = [share, *shares], [reason, *reasons]
    return Factor(1 + sum(shares) / len(shares) / 2, "; ".join(reasons))


def _steered(steps: pd.DataFrame) -> tuple[float | None, str]:
    """The share of steering, if it is known, and why."""
    if steps.empty:
        return None, "not steered with"
    promoted = steps.dropna(subset=["promoted"]).set_index(["direction", "mode", "strength"])["promoted"].sort_index()
    alone = promoted[promoted.index.get_level_values("direction") == "none"]
    if alone.empty or not {"feature", "random"} <= set(promoted.index.get_level_values("direction")):
        return None, "not steered with beside a random direction"
    moved = (promoted - float(alone.iloc[0])).abs()
    both = moved.loc["feature"].to_frame("feature").join(moved.loc["random"].rename("random"), how="inner")
    if both.empty:
        return None, "not steered with beside a random direction"
    most = both.loc[both["feature"].idxmax()]
    own, random = float(most["feature"]), float(most["random"])
    if own + random == 0:
        return None, "steering changes nothing"
    return _share(own, random), f"promoted tokens move by {own:.2g}, with a random direction by {random:.2g}"


def _share(own: float, random: float) -> float:
    return (own - random) / (own + random) if own + random else 0.0


def _common(store: Store, features: Sequence[int]) -> dict[int, tuple[dict[str, tuple[int, float]], int]]:
    """What `readability` asks of each of these features."""
    ranks, phrases = store.strongest_ranks(features), store.phrases(features)
    counted = ranks["feature_id"][~set_apart(ranks["rank"].to_numpy())].value_counts()  # where words were counted
    found: dict[int, tuple[dict[str, tuple[int, float]], int]] = {
        one: ({}, int(counted.get(one, 0))) for one in features
    }
    columns = (phrases[name].tolist() for name in ("feature_id", "text", "count", "lift"))
    for feature, text, count, lift in zip(*columns, strict=True):
        common, contexts = found[feature]
        if contexts:
            common[text] = count, lift
    return found


def _readability(common: Mapping[str, tuple[int, float]], contexts: int, told: Told) -> Factor:
    """By words, or by a judge's explanation where that was tested and says more."""
    by_words = readability(common, contexts)
    tested = next((one.detection for one in told.explanations if one.detection is not None), None)
    return by_words if tested is None else max(by_words, detected(tested), key=lambda one: one.value)


def _own(steps: pd.DataFrame, subject: Subject) -> pd.DataFrame:
    if steps.empty:
        return steps
    return steps[(steps["feature_id"] == subject.feature_id) & (steps["side"] == subject.side)]
