"""What a sweep shows: effect against strength, with confidence intervals over prompts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from dfc.report import bootstrap
from dfc.steering.measures import Measure

KEYS = ["side", "feature_id", "mode", "direction"]


def curves(outputs: pd.DataFrame, measure: Measure, seed: int = 0) -> pd.DataFrame:
    """Mean of a measure at each strength, and how far it is from the model left alone on the same prompts.

    Args:
        outputs: as `SteeringStore.outputs` gives them.
        measure: one of its columns.
        seed: of the bootstrap.

    Returns:
        A row for each side, feature_id, mode, direction ('feature', 'transfer', 'random') and strength, 0 (left alone)
        included: prompts, mean, low, high, effect, effect_low, effect_high; intervals are percentiles of 2,000
        bootstrap samples of prompts, at 95 %. Prompts without the measure are left out.
    """
    rows = outputs.assign(value=pd.to_numeric(outputs[measure].astype(float))).dropna(subset=["value"])
    alone = rows[rows["direction"] == "none"]
    steered = rows[rows["direction"] != "none"]
    start = alone.drop(columns="direction").merge(steered[KEYS].drop_duplicates(), on=KEYS[:3])
    joined = pd.concat([start, steered]).merge(
        alone[[*KEYS[:3], "prompt_id", "value"]].rename(columns={"value": "base"}), on=[*KEYS[:3], "prompt_id"]
    )
    records = []
    for key, group in joined.groupby([*KEYS, "strength"]):
        values, difference = group["value"].to_numpy(), (group["value"] - group["base"]).to_numpy()
        mean, low, high = interval(values, seed)
        effect, effect_low, effect_high = interval(difference, seed)
        records.append((*key, len(values), mean, low, high, effect, effect_low, effect_high))
    columns = [*KEYS, "strength", "prompts", "mean", "low", "high", "effect", "effect_low", "effect_high"]
    return pd.DataFrame(records, columns=columns)


def table(outputs: pd.DataFrame, measure: Measure, seed: int = 0) -> pd.DataFrame:
    """One row for each side, feature, mode and direction, the largest effect first.

    Returns:
        side, feature_id, mode, direction, strength (the one with the largest effect), effect, effect_low, effect_high,
        monotone (Spearman correlation of strength and mean, strength 0 included), perplexity there.
    """
    along = curves(outputs, measure, seed)
    if along.empty:
        return pd.DataFrame(
            columns=[*KEYS, "strength", "effect", "effect_low", "effect_high", "monotone", "perplexity"]
        )
    largest = along.loc[along.groupby(KEYS)["effect"].apply(lambda effect: effect.abs().idxmax())]
    monotone = [
        (*key, _rank_correlation(group["strength"].to_numpy(), group["mean"].to_numpy()))
        for key, group in along.groupby(KEYS)
    ]
    perplexities = outputs.groupby([*KEYS, "strength"])["perplexity"].mean().reset_index()
    effects = largest.merge(pd.DataFrame(monotone, columns=[*KEYS, "monotone"]), on=KEYS)
    effects = effects.merge(perplexities, on=[*KEYS, "strength"], how="left").drop(
        columns=["prompts", "mean", "low", "high"]
    )
    order = effects["effect"].abs().sort_values(ascending=False, kind="stable").index
    return effects.loc[order].reset_index(drop=True)


def interval(values: npt.NDArray[np.float64], seed: int = 0) -> tuple[float, float, float]:
    """Mean, and the bounds of its bootstrap interval over the values; of a single value, that value."""
    found = bootstrap.figure(bootstrap.mean, values, seed=seed)
    return found.value, found.low, found.high


def _rank_correlation(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    """Spearman's; NaN where one of them is constant."""
    ranks = pd.DataFrame({"x": x, "y": y}).rank()
    if ranks["x"].nunique() < 2 or ranks["y"].nunique() < 2:
        return float("nan")
    return float(ranks["x"].corr(ranks["y"]))
