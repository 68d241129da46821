"""Intervals of figures over what they are measured on, by drawing it anew again and again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Statistic = Callable[..., Numbers]
"""Of columns, (draws, observations) each, a figure for each draw, (draws,)."""
RESAMPLES = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Figure:
    """A figure with its interval of 95 %; NaN where it cannot be told."""

    value: float
    low: float
    high: float


def figure(statistic: Statistic, *columns: Numbers, seed: int = 0) -> Figure:
    """A figure of paired observations, with percentiles of 2,000 bootstrap samples of them; draws without one are left
    out.

    Args:
        statistic: of the columns.
        columns: (observations,) each, of the same ones.
        seed: of the bootstrap.
    """
    count = len(columns[0])
    if not count:
        return Figure(np.nan, np.nan, np.nan)
    draws = np.random.default_rng(seed).integers(0, count, (RESAMPLES, count))
    drawn = statistic(*(column[draws] for column in columns))
    drawn = drawn[np.isfinite(drawn)]
    value = float(statistic(*(column[None] for column in columns))[0])
    if not len(drawn) or not np.isfinite(value):
        return Figure(value, np.nan, np.nan)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Figure(value, float(low), float(high))


def mean(values: Numbers) -> Numbers:
    """Over observations."""
    averaged: Numbers = values.mean(axis=1)
    return averaged


def ratio(upper: Numbers, lower: Numbers) -> Numbers:
    """Of two means."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Numbers = upper.mean(axis=1) / lower.mean(axis=1)
    return found


def correlation(x: Numbers, y: Numbers) -> Numbers:
    """Pearson's; NaN where one of them is constant."""
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Numbers = (x * y).sum(axis=1) / np.sqrt((x * x).sum(axis=1) * (y * y).sum(axis=1))
    return found


def ranks(values: Numbers) -> Numbers:
    """Of each row, ties sharing their mean: of these Pearson's correlation is Spearman's."""
    order = np.argsort(values, axis=1, kind="stable")
    placed = np.take_along_axis(values, order, axis=1)
    numbers = np.broadcast_to(np.arange(values.shape[1], dtype=np.float64), values.shape)
    begins = np.concatenate([np.ones((len(values), 1), bool), np.diff(placed, axis=1) != 0], axis=1)
    first = np.maximum.accumulate(np.where(begins, numbers, 0), axis=1)
    ends = np.concatenate([begins[:, 1:], np.ones((len(values), 1), bool)], axis=1)
    last = np.minimum.accumulate(np.where(ends, numbers, np.inf)[:, ::-1], axis=1)[:, ::-1]
    found = np.empty_like(values, dtype=np.float64)
    np.put_along_axis(found, order, (first + last) / 2, axis=1)
    return found


def rank_correlation(x: Numbers, y: Numbers) -> Numbers:
    """Spearman's; NaN where one of them is constant."""
    return correlation(ranks(x), ranks(y))
