"""Kinds of text, and of which one model expects them better."""

from __future__ import annotations

import pandas as pd

SURE = 2.0
"""Standard errors from 0 below which no model is said to expect something better, or to do better."""


def sure(texts: pd.DataFrame) -> pd.Series:
    """Which rows of `Store.texts` tell of a difference, (rows,): none whose gap is 0, or whose error is not known."""
    gap = texts["gap"].abs()
    return texts["error"].notna() & (gap > 0) & (gap >= SURE * texts["error"])
