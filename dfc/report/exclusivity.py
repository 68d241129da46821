"""The paper's exclusivity score: whether what a feature does in its own model carries over into the other.

Both models write under the feature's vector, the other one under what the stitch makes of it. How alike their texts are
is told by a judge, 1 to 5, or by the cosine of an encoder of sentences, and held against the same models on the same
prompts with the same draws: under random directions as long, carried over likewise, and left alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from dfc.report import bootstrap
from dfc.report.bootstrap import Figure
from dfc.report.words import numeral
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
        random: mean likeness under random directions as long, carried over likewise; None: not measured yet.
        above: likeness under the feature less that, on the same prompts, strengths and draws; likewise.
    """

    by: str
    name: str
    texts: int
    strengths: tuple[float, float]
    steered: Figure
    alone: Figure
    beyond: Figure
    r2: float
    random: Figure | None = None
    above: Figure | None = None

    @property
    def score(self) -> Figure | None:
        """6 − similarity, as the paper has it; of a judge alone."""
        return _score(self.steered) if self.by == "judge" else None

    @property
    def random_score(self) -> Figure | None:
        """The same of random directions: what a score is to be above."""
        return _score(self.random) if self.by == "judge" and self.random is not None else None

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        scores = {"score": self.score, "random_score": self.random_score}
        return asdict(self) | {name: None if one is None else asdict(one) for name, one in scores.items()}


def _score(similarity: Figure) -> Figure:
    return Figure(6 - similarity.value, 6 - similarity.high, 6 - similarity.low)


def kept(store: Store, features: Sequence[int]) -> dict[int, tuple[Likeness, ...]]:
    """How alike both models write under those of these features of which it is kept; a judge's word first.

    Raises:
        UserError: if the file is damaged, or another process does not let go of it.
    """
    effects = beside_store(store.path)
    if not features or effects is None:
        return {}
    rows = _told_apart(effects.alike(store.fingerprints(features)))
    alone = rows[rows["feature_id"] == ALONE]
    found: dict[int, tuple[Likeness, ...]] = {}
    for feature, mine in rows[rows["feature_id"] != ALONE].groupby("feature_id"):
        ways = [
            likeness(way, own, alone[alone["way"] == way])
            for way, own in mine.groupby("way")
            if not own["random"].all()
        ]
        found[int(str(feature))] = tuple(sorted(ways, key=lambda one: one.by != "judge"))
    return found


def _told_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a column `random`, whether they are of random directions, which `drawn` says no more."""
    drawn = [json.loads(one) for one in rows["drawn"]]
    random = [one.pop("direction", "") == "random" for one in drawn]
    return rows.assign(drawn=list(map(json.dumps, drawn)), random=pd.Series(random, rows.index, dtype="bool"))


def likeness(way: Any, own: pd.DataFrame, alone: pd.DataFrame) -> Likeness:
    """Of rows as `EffectStore.alike` gives them, with a column `random`: of one feature and way with its random
    directions, and of models left alone."""
    told = json.loads(str(way))
    chance, own = own[own["random"]], own[~own["random"]]
    both = own.merge(alone[[*_PLACE, "value"]], on=_PLACE, suffixes=("", "_alone"))
    steered, unsteered = both["value"].to_numpy("float64"), both["value_alone"].to_numpy("float64")
    beside = own.merge(chance[[*_PLACE, "strength", "value"]], on=[*_PLACE, "strength"], suffixes=("", "_random"))
    random, under = beside["value_random"].to_numpy("float64"), beside["value"].to_numpy("float64")
    return Likeness(
        told["by"],
        told["name"],
        len(both),
        (float(both["strength"].min()), float(both["strength"].max())),
        bootstrap.figure(bootstrap.mean, steered),
        bootstrap.figure(bootstrap.mean, unsteered),
        bootstrap.figure(bootstrap.mean, steered - unsteered),
        float(own["r2"].iloc[0]),
        bootstrap.figure(bootstrap.mean, random) if len(beside) else None,
        bootstrap.figure(bootstrap.mean, under - random) if len(beside) else None,
    )


def sentence(one: Likeness) -> str:
    """It in one sentence, which says how it was measured."""
    how = f"{one.texts} pairs of texts at strengths {one.strengths[0]:g} to {one.strengths[1]:g}"
    how += f", stitch of R² {one.r2:.2f}" + ("" if one.random else "; random directions were not tried yet")
    if (score := one.score) is not None:
        chance = f"random directions as long have {_told(one.random_score, 1)}, " if one.random_score else ""
        return (
            f"Exclusivity score {score.value:.1f} of 5 ({score.low:.1f} to {score.high:.1f}) by the judge {one.name}; "
            f"{chance}both models left alone would have {6 - one.alone.value:.1f}; {how}."
        )
    chance = f"with random directions as long by {_told(one.random, 3)}, " if one.random else ""
    return (
        f"Steered with it, in its own model and carried over, both write alike by {_told(one.steered, 3)}, {chance}"
        f"left alone by {one.alone.value:.3f}: cosines of the encoder {one.name}, no judge was asked; {how}."
    )


def _told(one: Figure, digits: int) -> str:
    return f"{one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"


def weigh(found: Sequence[Likeness], good: list[str], bad: list[str]) -> None:
    """Add what speaks for a feature's being one that only its model has, and what against; the first way counts.

    It is held against random directions, since any direction makes both write less alike; where these were not tried,
    against models left alone.
    """
    for one in found[:1]:
        by = f"the judge {one.name}" if one.by == "judge" else f"the encoder {one.name}"
        beyond, what = (one.above, "random directions do") if one.above else (one.beyond, "left alone")
        figures = f"{numeral(beyond.value, '+.2g')} ({numeral(beyond.low, '+.2g')} to {numeral(beyond.high, '+.2g')})"
        if beyond.low > 0:
            bad.append(f"Carried over, it makes the models write more alike than {what}, by {by}: {figures}.")
        elif beyond.high < 0:
            good.append(f"Carried over, it makes the models write less alike than {what}, by {by}: {figures}.")
