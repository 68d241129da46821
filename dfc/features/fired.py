"""What fires on a text that was read, as a table: one feature a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from dfc.features.live import Reading

_NONE = pd.DataFrame({"feature_id": [], "max": [], "mean": [], "firings": [], "row": []})


def fired(reading: Reading, first: int = 0, last: int | None = None) -> pd.DataFrame:
    """Features that fire on some pairs of a reading, one a row.

    Args:
        reading: of a text.
        first, last: the pairs, the last one included; all of them by default.

    Returns:
        feature_id, increasing; max and mean of the activation over the pairs that count, silent ones included in the
        mean; firings, the pairs on which it fires; row, the pair where it is strongest.
    """
    last = reading.pairs - 1 if last is None else last
    mine = (reading.rows >= first) & (reading.rows <= last)
    rows, features, values = reading.rows[mine], reading.features[mine], reading.values[mine]
    if not len(rows):
        return _NONE.astype({"feature_id": np.int64, "firings": np.int64, "row": np.int64})
    starts = np.flatnonzero(np.append(True, features[1:] != features[:-1]))
    counts = np.diff(np.append(starts, len(features)))
    strongest = np.lexsort((-values, features))[starts]
    return pd.DataFrame(
        {
            "feature_id": features[starts],
            "max": values[strongest],
            "mean": np.add.reduceat(values, starts) / max(1, int(reading.kept[first : last + 1].sum())),
            "firings": counts,
            "row": rows[strongest],
        }
    )


def beside(table: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """The same rows, in their order, with what a store knows of each feature.

    Args:
        table: from `fired`.
        known: rows of `Store.features`.

    Returns:
        Also `corpus_max`, the strongest activation on the corpus, and `share`, `max` as a part of it.
    """
    known = known.drop(columns=["mean", "histogram"]).rename(columns={"max": "corpus_max"})
    joined = table.merge(known, on="feature_id", how="left", validate="one_to_one")
    joined["share"] = (joined["max"] / joined["corpus_max"].where(joined["corpus_max"] > 0)).fillna(0.0)
    return joined
