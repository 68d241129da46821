"""How much more surprised one model is than the other by what follows: what a model knows shows in what it expects.

What each has lost from the beginnings of documents on is measured beside the activations (`activations.beginnings`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from dfc.activations import beginnings
from dfc.activations.beginnings import Extent
from dfc.activations.shards import ActivationStore, Rows, breaks
from dfc.config import SIDES


def ahead(store: ActivationStore, shard: int, rows: Rows, pairs: int, window: int) -> Tensor:
    """What comes within so many pairs after each row, (rows, 2), NaN where it is not known.

    Its first column is by how many nats model B is more surprised by it than model A, its second one how many
    characters it has. It ends with the turn.

    Args:
        store: of a run that was measured with the same `pairs` and `window`; otherwise all is unknown.
        shard: number of the shard.
        rows: where all its rows come from.
        pairs, window: as `measure` was told.

    Raises:
        UserError: if what was measured is damaged.
    """
    gap, last = _gap(store, shard, rows, pairs, window)
    known = np.flatnonzero(last >= 0)
    following = np.full((len(rows), 2), np.nan)
    until = np.minimum(np.minimum(known + window, last[known]), _turn_ends(rows)[known])
    later = until > known
    place, until = known[later], until[later]
    following[place, 0] = gap[until] - gap[place]
    following[place, 1] = rows.end[until] - rows.end[place]
    return torch.from_numpy(following)


def between(
    store: ActivationStore, shard: int, rows: Rows, keep: npt.NDArray[np.bool_], pairs: int, window: int
) -> pa.Table:
    """By how many nats model B is more surprised than model A from each kept pair to the next: the table `pair_gaps`.

    Args:
        store, shard, rows, pairs, window: as of `ahead`.
        keep: which rows count, (rows,).

    Returns:
        A row for each document that was measured; gaps are in hundredths of a nat, null at a turn's first kept pair,
        before which the models were not given the same.

    Raises:
        UserError: if what was measured is damaged.
    """
    gap, last = _gap(store, shard, rows, pairs, window)
    kept = np.flatnonzero((last >= 0) & keep)
    turn = _turn_ends(rows)[kept]
    gaps = np.round(np.diff(gap[kept], prepend=np.nan), 2).astype(np.float32)
    gaps[np.diff(turn, prepend=-1) != 0] = np.nan
    first = np.flatnonzero(np.diff(rows.document[kept], prepend=-1))
    lists = pa.array(np.append(first, len(kept)).astype(np.int32))
    return pa.table(
        {
            "document": rows.document[kept][first],
            "ends": pa.ListArray.from_arrays(lists, pa.array(rows.end[kept])),
            "gaps": pa.ListArray.from_arrays(lists, pa.array(gaps, mask=np.isnan(gaps))),
        }
    )


def _gap(
    store: ActivationStore, shard: int, rows: Rows, pairs: int, window: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Nats that B lost more than A up to each row of a shard, and the last row of its document that was measured.

    NaN and −1 where it was not.
    """
    extent, begins = Extent.of(store, pairs, window), np.flatnonzero(np.diff(rows.document, prepend=-1))
    held = np.diff(begins, append=len(rows))
    own = extent.first_pairs(shard, held)
    known = np.flatnonzero(np.arange(len(rows)) < np.repeat(begins + own, held))
    lost = [beginnings.read(store, extent, side, shard, len(known)) for side in SIDES]
    gap, last = np.full(len(rows), np.nan), np.full(len(rows), -1)
    if lost[0] is not None and lost[1] is not None:
        gap[known] = lost[1] - lost[0]
        last[known] = np.repeat(begins + own - 1, own)
    return gap, last


def _turn_ends(rows: Rows) -> npt.NDArray[np.int64]:
    """The last row of each row's turn; of one that a template has torn apart, of its part."""
    ends = np.flatnonzero(np.append(breaks(rows)[1:], True) | np.append(np.diff(rows.role) != 0, True))
    return ends[np.searchsorted(ends, np.arange(len(rows)))]
