"""What fires on a text that was read, as tables, with what the store knows of each feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dfc.config import Partition
from dfc.store.reader import FeatureQuery
from dfc.ui.shell import data
from dfc.ui.shell.frame import View

if TYPE_CHECKING:
    from dfc.features.live import Reading

_NONE = pd.DataFrame({"feature_id": [], "max": [], "mean": [], "firings": [], "row": []})


def fired(reading: Reading, first: int = 0, last: int | None = None) -> pd.DataFrame:
    """Features that fire on some pairs of a reading, one a row.

    Args:
        reading: of a prompt.
        first, last: the pairs, the last one included; all of them by default.

    Returns:
        feature_id; max and mean of the activation over the pairs that count, silent ones included in the mean;
        firings, the pairs on which it fires; row, the pair where it is strongest.
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


def described(view: View, table: pd.DataFrame) -> pd.DataFrame:
    """The same rows, in their order, with what the store knows of each feature.

    `corpus_max` is the strongest activation on the corpus, `share` the prompt's as a part of it.
    """
    ids = tuple(int(identity) for identity in table["feature_id"])
    query = FeatureQuery(ids=ids, alive_only=False, limit=len(ids), order="feature_id", descending=False)
    known = data.features(view.store, query).drop(columns=["mean", "histogram"]).rename(columns={"max": "corpus_max"})
    joined = table.merge(known, on="feature_id", how="left", validate="one_to_one")
    joined["share"] = (joined["max"] / joined["corpus_max"].where(joined["corpus_max"] > 0)).fillna(0.0)
    return joined


def outline(reading: Reading, known: pd.DataFrame, partition: Partition) -> np.ndarray:
    """For each pair the strongest feature of a partition, as a part of its strongest on the corpus; NaN as in `kept`.

    Args:
        reading: of a prompt.
        known: `described` of all that fires on it.
        partition: whose features.

    Returns:
        (pairs,) float32.
    """
    strongest = np.where(reading.kept, np.float32(0), np.float32(np.nan))
    tops = known.loc[known["partition"] == partition].set_index("feature_id")["corpus_max"]
    place = tops.index.get_indexer(pd.Index(reading.features))
    mine = place >= 0
    shares = reading.values[mine] / np.maximum(tops.to_numpy()[place[mine]], np.finfo(np.float32).tiny)
    np.fmax.at(strongest, reading.rows[mine], shares.astype(np.float32).clip(max=1.0))
    return strongest
