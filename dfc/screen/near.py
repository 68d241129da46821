"""Which flags findings come near to in meaning: how like a finding is to a flag's sentence, beside all features.

A finding's likeness is that of its best feature's vector (`meaning`) with the sentence's. How near all features lie to
a sentence differs from sentence to sentence, so the score is by how much it exceeds their median, which those that are
of the flag hardly move. It is not divided by their spread: the more of a corpus is of a subject, the wider they lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfc.report.words import numeral
from dfc.screen import encoders
from dfc.screen.words import Flag
from dfc.store.reader import FeatureQuery, Store

ABOVE = 0.35
"""The middle of all features, from which on a flag passes: by `bench flags` 98 of 100 that pass are right."""
FEW = 100
"""Features; beside fewer nothing is compared, for what is usual is not known."""


@dataclass(frozen=True)
class Near:
    """How near a finding comes to a flag's sentence in meaning.

    Attributes:
        flag, title: the flag's name, and what it is called.
        likeness: cosine of its best feature's vector with the sentence's.
        middle: median of the likeness of all features.
        features, nearer: how many these are, and to which share of them the sentence is less near.
        score: likeness − middle.
    """

    flag: str
    title: str
    likeness: float
    middle: float
    features: int
    nearer: float
    score: float

    @property
    def passes(self) -> bool:
        """Whether it is shown as a flag of the finding."""
        return self.score >= ABOVE

    @property
    def reason(self) -> str:
        """Why it passes, as a sentence without an end."""
        beside = f"nearer than {100 * self.nearer:.1f} % of all {self.features:,} features, of which the middle is"
        return f"likeness {numeral(self.likeness, '.2f')}, {beside} {numeral(self.middle, '.2f')}"


def lacking(facts: Mapping[str, Any], run: str) -> str:
    """Why findings cannot be compared with flags in meaning, as a sentence without an end; empty if they can.

    Args:
        facts: about the features' vectors, `Store.meaning`.
        run: its name.
    """
    if why := encoders.missing(facts, run):
        return f"not compared in meaning, for {why}"
    if (features := facts.get("features", FEW)) < FEW:  # which older files do not say
        return f"not compared in meaning, for only {features} features have one, and what is usual is not known"
    return ""


def measured(store: Store, best: Sequence[int], flags: Mapping[str, Flag]) -> dict[int, tuple[Near, ...]]:
    """How near these features come to every flag, the highest score first; without those of whose meaning nothing is
    known, and none where few features have one.

    Args:
        store: of a run of which nothing is `lacking`.
        best: features, of each finding the best.
        flags: by name.

    Raises:
        UserError: if the encoder does not load, or is another than that of the features' vectors.
    """
    from dfc.models import embedder  # which loads torch
    from dfc.screen import meaning

    facts, everything = store.meaning(), store.feature_ids(FeatureQuery())
    reader = embedder.load(encoders.folder(facts["model"]), "cpu")
    found: dict[int, list[Near]] = {}
    for name, flag in flags.items():
        likeness = store.likeness(meaning.asked(reader, facts, flag.query), everything)
        for feature, one in compared(name, flag.title, likeness, best):
            found.setdefault(feature, []).append(one)
    return {feature: tuple(sorted(marks, key=lambda one: -one.score)) for feature, marks in found.items()}


def compared(name: str, title: str, likeness: Mapping[int, float], best: Sequence[int]) -> list[tuple[int, Near]]:
    """How near some features come to one flag.

    Args:
        name, title: of the flag.
        likeness: of every feature of the run with its sentence, by number.
        best: those asked about.
    """
    values = np.array(list(likeness.values()))
    if len(values) < FEW:
        return []
    middle = float(np.median(values))
    return [
        (one, Near(name, title, own, middle, len(values), float((values < own).mean()), own - middle))
        for one in best
        if (own := likeness.get(one)) is not None
    ]
