"""The evidence of one feature in words: one sentence made of its numbers, then what speaks for and what against it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfc.config import EvidenceConfig, Partition, Side, opposite
from dfc.report import exclusivity, score
from dfc.report.causal import Causal, sentence, weigh
from dfc.report.exclusivity import Likeness
from dfc.report.findings import UNIT, amount
from dfc.report.kinds import SURE
from dfc.report.words import acts, capital, numeral, verdict_means
from dfc.store.reader import EvidenceRow

_GAPS, _SHARES = ("matched_gap", "held_out_gap", "plain_gap"), ("probe_ratio", "auroc_ratio")
"""Figures that are of the other sign, or upside down, as the other model has them."""
_MEASURED_AS = (
    "Figures are kept as {} has them, from which it is predicted better: a gap below 0 is in favour of the other model."
)


@dataclass(frozen=True)
class Weighed:
    """What the evidence says of one feature.

    Attributes:
        sentence: its numbers in one sentence.
        design: what the dictionary alone says of it, which is no evidence.
        means: what its verdict means.
        for_it, against: what speaks for its being one that only its model has, and what against; plain text.
        factors: of its score, by name; empty where they are not known.
        measured_as: as whose its figures are kept, where that is not the model that the sentence is about, else empty.
    """

    sentence: str
    design: str
    means: str
    for_it: tuple[str, ...]
    against: tuple[str, ...]
    factors: Mapping[str, float]
    measured_as: str


def of(
    evidence: EvidenceRow,
    partition: Partition,
    facts: Mapping[str, Any],
    names: Mapping[Side, str],
    causal: Causal | None = None,
    likenesses: Sequence[Likeness] = (),
) -> Weighed:
    """Weigh a feature's evidence as the run's rule does.

    Args:
        evidence: of the feature.
        partition: its.
        facts: of the run and its evidence, `Store.facts`.
        names: of both models.
        causal: what taking it away does, if that was measured.
        likenesses: how alike both models write where it is carried over, by each way in which that was measured. The
            verdict reads neither of these.
    """
    asked = thresholds(facts)
    surprised = facts.get("rule") != "probes"
    own, turned = _own(evidence, partition)
    case = _Case(evidence, partition, asked, surprised, names[own], names[opposite(own)], turned)
    good: list[str] = []
    bad: list[str] = []
    for says in (_gap, _held_out, _probes, _alike, _readable):
        says(case, good, bad)
    told = _sentence(case)
    if causal is not None:
        weigh(causal, own, names, good, bad)
        told = f"{told} {sentence(causal, names)}"
    exclusivity.weigh(likenesses, good, bad)
    told = " ".join([told, *map(exclusivity.sentence, likenesses)])
    design = f"{capital(acts(partition))}, by the dictionary's design."
    means = verdict_means(evidence.verdict, facts, partition)
    measured_as = _MEASURED_AS.format(case.other) if turned else ""
    return Weighed(told, design, means, tuple(good), tuple(bad), score.of_one(evidence, asked, surprised), measured_as)


def thresholds(facts: Mapping[str, Any]) -> EvidenceConfig:
    """What the rule of a run asks, from the facts of its evidence; defaults for what an older version did not know."""
    kept = facts.get("evidence") or {}
    return EvidenceConfig.model_validate({name: kept[name] for name in EvidenceConfig.model_fields if name in kept})


@dataclass(frozen=True)
class _Case:
    """A feature's evidence, what the rule asks, and what the models are called."""

    evidence: EvidenceRow
    partition: Partition
    asked: EvidenceConfig
    surprised: bool
    own: str
    other: str
    turned: bool = False
    """Whether gaps and shares are kept as seen from the other model."""

    def value(self, name: str) -> float | None:
        value = self.evidence.values.get(name)
        if value is None or not math.isfinite(value):
            return None
        if self.turned and name in _GAPS:
            return -float(value)
        if self.turned and name in _SHARES:
            return 1 / float(value) if value else None
        return float(value)

    @property
    def likest(self) -> float | None:
        """The largest correlation with a feature of the other model or a shared one."""
        known = [self.value("mirror_correlation"), self.value("shared_correlation")]
        return max((value for value in known if value is not None), default=None)

    @property
    def others(self) -> str:
        """Which features it is correlated with."""
        return "shared feature" if self.partition == "shared" else f"feature of {self.other}'s own, and no shared one,"


def _own(evidence: EvidenceRow, partition: Partition) -> tuple[Side, bool]:
    """Whose a feature would be if it were one model's, and whether its figures are kept as seen from the other.

    Of a shared feature it is the model that does better after it; its figures are kept as of the one from which it is
    predicted better.
    """
    if partition != "shared":
        return partition, False
    predicted: Side = "a" if _more(evidence.probe_r2_a, evidence.probe_r2_b) else "b"
    gap = evidence.values.get("matched_gap")
    turned = gap is not None and gap < 0
    return opposite(predicted) if turned else predicted, turned


def _more(one: float | None, other: float | None) -> bool:
    return (-math.inf if one is None else one) >= (-math.inf if other is None else other)


def _sentence(case: _Case) -> str:
    """All numbers that are known, in one sentence."""
    pieces = []
    gap, error, plain = case.value("matched_gap"), case.value("matched_error"), case.value("plain_gap")
    if gap is not None:
        told = f"{case.other} is {amount(abs(gap), error)} {UNIT} {'more' if gap >= 0 else 'less'} surprised after it"
        told += f" than {case.own}, beyond like texts"
        if plain is not None:
            plainly = f"{amount(abs(plain), case.value('plain_error'))} {'more' if plain >= 0 else 'less'}"
            told += f" (without those taken off, {plainly})"
        pieces.append(told)
    elif case.surprised:
        pieces.append("too little of its firing has like places for the models' surprise to be compared")
    else:
        pieces.append("how surprised the models are after it was not measured")
    if (share := case.value("auroc_ratio")) is not None:
        pieces.append(f"a probe of {case.other} finds its firings {100 * share:.0f} % as well as one of {case.own}")
    elif (share := case.value("probe_ratio")) is not None:
        pieces.append(f"a probe of {case.other} predicts it {100 * share:.0f} % as well as one of {case.own}")
    if case.likest is not None:
        pieces.append(f"the likest feature correlates {case.likest:.2f}")
    held_out = case.value("held_out_count")
    pieces.append(f"{int(held_out or 0):,} held-out firing{'' if held_out == 1 else 's'}")
    told = "; ".join(pieces)
    return f"{capital(told)}."


def _gap(case: _Case, good: list[str], bad: list[str]) -> None:
    """The surprise beyond like texts."""
    if not case.surprised:
        return
    gap, error = case.value("matched_gap"), case.value("matched_error")
    needs = f"{case.asked.surprise_gap:g} and {case.asked.surprise_errors:g} standard errors are asked"
    if gap is None or error is None:
        bad.append("Its surprise cannot be compared with like places.")
    elif gap >= case.asked.surprise_gap and gap >= case.asked.surprise_errors * error:
        good.append(f"{case.own} does better after it than in like texts: {amount(gap, error)} ({needs}).")
    elif gap <= -SURE * error:
        bad.append(f"{case.other} does better after it than in like texts: {amount(-gap, error)}.")
    else:
        bad.append(f"{case.own} does not do better enough after it: {amount(gap, error)} ({needs}).")


def _held_out(case: _Case, good: list[str], bad: list[str]) -> None:
    """The same on documents kept out of training."""
    gap, error = case.value("held_out_gap"), case.value("held_out_error")
    if gap is None or error is None:
        return
    shown = amount(gap, error)
    if gap >= SURE * error and gap > 0:
        good.append(f"On held-out documents, too: {shown}.")
    else:
        bad.append(f"On held-out documents alone it is not sure: {shown}.")


def _probes(case: _Case, good: list[str], bad: list[str]) -> None:
    """What the other model's activations tell of it."""
    ratio, auroc = case.value("probe_ratio"), case.value("auroc_ratio")
    if ratio is None or auroc is None:
        return
    shown = f"{ratio:.2f} of the R², {auroc:.2f} of the AUROC beyond chance"
    asked = case.asked
    if ratio >= asked.shared_ratio and auroc >= asked.shared_auroc:
        bad.append(f"{case.other}'s activations predict it nearly as well: {shown}.")
    elif ratio <= asked.exclusive_ratio and auroc <= asked.exclusive_auroc:
        good.append(f"{case.other}'s activations predict it less well: {shown}.")
    else:
        bad.append(f"{case.other}'s activations predict it to a part: {shown}.")


def _alike(case: _Case, good: list[str], bad: list[str]) -> None:
    """Features that fire like it."""
    mirror, shared = case.value("mirror_correlation"), case.value("shared_correlation")
    limits = case.asked.mirror_correlation, case.asked.shared_correlation
    found = False
    for value, limit, which in (
        (mirror, limits[0], f"feature {case.evidence.mirror_id}, which may act only in {case.other},"),
        (shared, limits[1], f"the shared feature {case.evidence.shared_id}"),
    ):
        if value is not None and value >= limit:
            bad.append(f"{capital(which)} fires like it: correlation {value:.2f} (limit {limit:g}).")
            found = True
    if case.likest is None:
        bad.append("Whether another feature fires like it was not compared.")
    elif not found:
        good.append(f"No {case.others} correlates above {case.likest:.2f} with it.")


def _readable(case: _Case, good: list[str], bad: list[str]) -> None:
    """Whether there is enough to judge by."""
    own_r2, held_out = case.value("own_r2"), case.value("held_out_count") or 0
    if own_r2 is None or own_r2 < case.asked.own_r2:
        told = "nothing" if own_r2 is None else f"R² {numeral(own_r2, '.2f')}"
        bad.append(f"Its own model's activations hardly predict it: {told} ({case.asked.own_r2:g} is asked).")
    if held_out < case.asked.min_held_out_firings:
        bad.append(f"Only {int(held_out):,} held-out firings ({case.asked.min_held_out_firings} are asked).")
