"""The paper's exclusivity score: whether what a feature does in its own model carries over into the other.

Both models write under the feature's vector, the other one under what the stitch makes of it. How alike their texts are
is told by a judge, 1 to 5, or by the cosine of an encoder of sentences, and held against the same models left alone on
the same prompts with the same draws.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from dfc.report import bootstrap
from dfc.report.bootstrap import Figure
from dfc.store.effects import ALONE, beside_store
from dfc.store.reader import Store

_PLACE = ["drawn", "prompt", "seed"]


@dataclass(frozen=True)
class Likeness:
    """How alike both models write under one feature, by one way of telling.

    Attributes:
        by: `judge` or `encoder`.
        name: of it.
        texts: pairs of texts.
        strengths: from, to.
        steered, alone: mean likeness under the feature, and of both models left alone.
        beyond: the first less the second, on the same prompts and draws.
        r2: of the stitch that carried the feature over.
    """

    by: str
    name: str
    texts: int
    strengths: tuple[float, float]
    steered: Figure
    alone: Figure
    beyond: Figure
    r2: float

    @property
    def score(self) -> Figure | None:
        """6 − similarity, as the paper has it; of a judge alone."""
        one = self.steered
        return Figure(6 - one.value, 6 - one.high, 6 - one.low) if self.by == "judge" else None

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return {**asdict(self), "score": None if self.score is None else asdict(self.score)}


def kept(store: Store, features: Sequence[int]) -> dict[int, tuple[Likeness, ...]]:
    """How alike both models write under those of these features of which it is kept; a judge's word first.

    Raises:
        UserError: if the file is damaged, or another process does not let go of it.
    """
    effects = beside_store(store.path)
    if not features or effects is None:
        return {}
    rows = effects.alike(store.fingerprints(features))
    alone = rows[rows["feature_id"] == ALONE]
    found: dict[int, tuple[Likeness, ...]] = {}
    for feature, mine in rows[rows["feature_id"] != ALONE].groupby("feature_id"):
        ways = [likeness(way, own, alone[alone["way"] == way]) for way, own in mine.groupby("way")]
        found[int(str(feature))] = tuple(sorted(ways, key=lambda one: one.by != "judge"))
    return found


def likeness(way: Any, own: pd.DataFrame, alone: pd.DataFrame) -> Likeness:
    """Of rows as `EffectStore.alike` gives them, of one feature and way, and of models left alone."""
    told = json.loads(str(way))
    both = own.merge(alone[[*_PLACE, "value"]], on=_PLACE, suffixes=("", "_alone"))
    steered, unsteered = both["value"].to_numpy("float64"), both["value_alone"].to_numpy("float64")
    return Likeness(
        told["by"],
        told["name"],
        len(both),
        (float(both["strength"].min()), float(both["strength"].max())),
        bootstrap.figure(bootstrap.mean, steered),
        bootstrap.figure(bootstrap.mean, unsteered),
        bootstrap.figure(bootstrap.mean, steered - unsteered),
        float(own["r2"].iloc[0]),
    )


def sentence(one: Likeness) -> str:
    """It in one sentence, which says how it was measured."""
    strengths = f"{one.texts} pairs of texts at strengths {one.strengths[0]:g} to {one.strengths[1]:g}"
    if (score := one.score) is not None:
        return (
            f"Exclusivity score {score.value:.1f} of 5 ({score.low:.1f} to {score.high:.1f}) by the judge {one.name}; "
            f"both models left alone would have {6 - one.alone.value:.1f}; {strengths}, stitch of R² {one.r2:.2f}."
        )
    return (
        f"Steered with it, in its own model and carried over, both write alike by {one.steered.value:.3f} "
        f"({one.steered.low:.3f} to {one.steered.high:.3f}), left alone by {one.alone.value:.3f}: cosines of the "
        f"encoder {one.name}, no judge was asked; {strengths}, stitch of R² {one.r2:.2f}."
    )


def weigh(found: Sequence[Likeness], good: list[str], bad: list[str]) -> None:
    """Add what speaks for a feature's being one that only its model has, and what against; the first way counts."""
    for one in found[:1]:
        by = f"the judge {one.name}" if one.by == "judge" else f"the encoder {one.name}"
        figures = f"{one.beyond.value:+.2g} ({one.beyond.low:+.2g} to {one.beyond.high:+.2g})".replace("-", "−")
        if one.beyond.low > 0:
            bad.append(f"Carried over, it makes the models write more alike than left alone, by {by}: {figures}.")
        elif one.beyond.high < 0:
            good.append(f"Carried over, it makes the models write less alike than left alone, by {by}: {figures}.")
