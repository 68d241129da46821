"""What fires on a text that was read, as tables, with what the store knows of each feature."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dfc.config import Partition
from dfc.features.fired import beside
from dfc.store.reader import FeatureQuery
from dfc.ui.shell import data
from dfc.ui.shell.frame import View

if TYPE_CHECKING:
    from dfc.features.live import Reading


def described(view: View, table: pd.DataFrame) -> pd.DataFrame:
    """The same rows, in their order, with what the store knows of each feature; see `beside`."""
    ids = tuple(int(identity) for identity in table["feature_id"])
    query = FeatureQuery(ids=ids, alive_only=False, limit=len(ids), order="feature_id", descending=False)
    return beside(table, data.features(view.store, query))


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
