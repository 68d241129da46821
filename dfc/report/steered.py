"""What was kept of steering with a feature: texts that were tried, and the latest sweep, as a report prints them."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dfc.config import SIDES, Side
from dfc.report.heatmap import visible
from dfc.store.steering import SteeringStore

MOST_TRIALS = 3
_MOST_TRIED = 2_000
DIRECTIONS = {
    "none": "left alone",
    "feature": "with the feature",
    "transfer": "with the feature, carried over",
    "random": "with a random direction of equal norm",
}


@dataclass(frozen=True)
class Answer:
    """What a model wrote, left alone and steered, with nothing in it hidden."""

    side: Side
    baseline: str
    steered: str


@dataclass(frozen=True)
class Trial:
    """One prompt that was tried."""

    tried: str
    done: str
    prompt: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Step:
    """One strength of a sweep: means over its prompts; None where it was not measured.

    `direction` is in words, with the mode in brackets if it is not `add`.
    """

    side: Side
    direction: str
    strength: float
    prompts: int
    promoted: float | None
    kl: float | None
    perplexity: float | None


@dataclass(frozen=True)
class Steered:
    """All that a report says of steering with one feature."""

    trials: tuple[Trial, ...] = ()
    sweep: str = ""
    steps: tuple[Step, ...] = ()


def kept(store: SteeringStore, features: Collection[int]) -> dict[int, Steered]:
    """What is kept about those of these features that were steered with.

    Raises:
        UserError: if the file is damaged, or another process does not let go of it.
    """
    if not store.path.exists():
        return {}
    trials = _trials(store, features)
    by_feature = {feature: Steered(tuple(listed[:MOST_TRIALS])) for feature, listed in trials.items()}
    latest: Any = store.latest_steps(features).groupby(["feature_id", "started"])
    for (feature, started), rows in latest:
        by_feature[feature] = Steered(by_feature.get(feature, Steered()).trials, f"{started:%Y-%m-%d}", _steps(rows))
    return by_feature


def _trials(store: SteeringStore, features: Collection[int]) -> dict[int, list[Trial]]:
    """Single requests by the features in them, the latest first."""
    by_feature: dict[int, list[Trial]] = {}
    for row in store.tried(_MOST_TRIED).to_dict("records"):
        request = json.loads(row["request"])
        answers = json.loads(row["answers"])
        mine = {int(edit["feature"]) for edit in request["edits"]} & set(features)
        if not mine:
            continue
        texts = tuple(
            Answer(side, visible(str(answers[side]["baseline"])), visible(str(answers[side]["steered"])))
            for side in SIDES
            if side in answers
        )
        trial = Trial(f"{row['tried_at']:%Y-%m-%d}", _done(request["edits"]), visible(str(row["prompt"])), texts)
        for feature in mine:
            by_feature.setdefault(feature, []).append(trial)
    return by_feature


def _done(edits: list[dict[str, Any]]) -> str:
    """What is done, in words."""
    return "; ".join(
        f"{str(edit['side']).upper()}: feature {edit['feature']}, {edit['mode']}"
        + ("" if edit["mode"] == "ablate" else f" {float(edit['strength']):g}")
        for edit in edits
    )


def _steps(rows: pd.DataFrame) -> tuple[Step, ...]:
    """A row for each strength of each mode in each model; the model left alone is the same in all modes."""
    order = list(DIRECTIONS)
    rows = rows.assign(
        mode=rows["mode"].where(rows["direction"] != "none", ""),
        place=[order.index(name) if name in DIRECTIONS else len(order) for name in rows["direction"]],
    )
    rows = rows.drop_duplicates(["side", "mode", "direction", "strength"]).sort_values(
        ["side", "mode", "place", "strength"]
    )
    listed: Any = rows.itertuples(index=False)
    return tuple(
        Step(
            row.side,
            DIRECTIONS.get(row.direction, row.direction) + (f" ({row.mode})" if row.mode not in ("", "add") else ""),
            float(row.strength),
            int(row.prompts),
            *(None if pd.isna(value) else float(value) for value in (row.promoted, row.kl, row.perplexity)),
        )
        for row in listed
    )
