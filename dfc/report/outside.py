"""Whether two models behave differently without any steering: a measure of their answers to the same prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dfc.config import Side
from dfc.report import bootstrap
from dfc.report.bootstrap import Figure
from dfc.report.words import numeral
from dfc.store.effects import beside_store
from dfc.store.reader import Store

MEASURES = {
    "refusal": "refuses",
    "mentions": "says one of the words",
    "coverage": "share of characters in the words",
    "length": "characters of an answer",
}
"""What is measured on an answer, in words."""


@dataclass(frozen=True)
class Outside:
    """What was measured on both models left alone.

    Attributes:
        prompts: the set.
        measure: of MEASURES.
        words: that were looked for, or a regular expression; empty of other measures.
        asked, answered: prompts of the set, and those of which both models have answers.
        draws: answers of each model to a prompt.
        a, b: means over prompts.
        difference: A's mean less B's, prompt by prompt; intervals are over prompts.
    """

    prompts: str
    measure: str
    words: str
    asked: int
    answered: int
    draws: int
    a: Figure
    b: Figure
    difference: Figure

    @property
    def sure(self) -> bool:
        """Whether they differ."""
        return self.difference.low > 0 or self.difference.high < 0

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def kept(store: Store) -> tuple[Outside, ...]:
    """All that was measured of a run's models left alone, the latest first.

    Raises:
        UserError: if the file is damaged, or another process does not let go of it.
    """
    effects = beside_store(store.path)
    return () if effects is None else tuple(_of(row) for row in effects.outsides().to_dict("records"))


def _of(row: Mapping[Any, Any]) -> Outside:
    measured, means = json.loads(row["measure"]), np.array([list(one) for one in row["means"]], dtype=np.float64)
    a, b = means.reshape(-1, 2).T
    return Outside(
        row["prompts"],
        measured["measure"],
        measured["regex"] or ", ".join(measured["words"]),
        int(row["asked"]),
        len(a),
        int(json.loads(row["drawn"])["samples"]),
        bootstrap.figure(bootstrap.mean, a),
        bootstrap.figure(bootstrap.mean, b),
        bootstrap.figure(bootstrap.mean, a - b),
    )


def sentence(one: Outside, names: Mapping[Side, str]) -> str:
    """It in one sentence."""
    what = MEASURES[one.measure] + (f" ({one.words})" if one.words else "")
    left = f" of {one.asked}" if one.asked > one.answered else ""
    each = f"{one.draws} {'answer' if one.draws == 1 else 'answers'} each"
    return (
        f"Left alone on {one.answered}{left} prompts of {one.prompts}, {each}: {what}: "
        f"{names['a']} {numeral(one.a.value, '.3g')}, {names['b']} {numeral(one.b.value, '.3g')}; difference "
        f"{numeral(one.difference.value, '+.3g')} ({numeral(one.difference.low, '+.3g')} to "
        f"{numeral(one.difference.high, '+.3g')}), {'they differ' if one.sure else 'not sure'}."
    )
