"""How surprised each model is by the text, pair by pair: what a model knows shows in what it expects.

Both models run whole over the beginnings of documents: what is measured is spread over as many documents as there are,
since a document counts as one observation. What they lost is kept beside the activations, shard by shard:

    activations/surprise/
        a-00000-5f1c09ab.npy    (pairs,) float32 nats that model A lost from a document's beginning to each of its pairs
        b-00000-77d20e1f.npy    likewise; of the shard's beginnings, and of these weights, tokenizer and settings
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from dfc import models
from dfc.activations import shards
from dfc.activations.harvest import Limit, paired_rows
from dfc.activations.shards import ActivationStore, Rows, breaks
from dfc.config import BEGINNING_WINDOWS, SIDES, Side, UserError
from dfc.machine import disk, progress
from dfc.models import LoadedModel, origin
from dfc.runs import Run

_LOGITS = 2**26  # in one pass, 256 MB, unless a single document has more


@dataclass(frozen=True)
class Beginnings:
    """Which pairs of a shard are measured: the first ones of its first documents.

    Attributes:
        counts: how many of each of these documents, (documents,).
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, pairs: npt.NDArray[np.int64], share: int, window: int) -> Self:
        """Of a shard's documents, whose pairs are given, about so many pairs in all, none more.

        From each document as many as from any, as far as it has them; but at least some windows' worth, so that where
        there are too many documents for that, the last ones go without.
        """
        lengths = range(int(pairs.max(initial=0)) + 1)
        longest = bisect_right(lengths, share, key=lambda length: np.minimum(pairs, length).sum()) - 1
        length = max(longest, BEGINNING_WINDOWS * window)
        cut = np.minimum(pairs, length)
        return cls(cut[: int(np.searchsorted(np.cumsum(cut), share, side="right"))])

    def of_each(self, documents: int) -> npt.NDArray[np.int64]:
        """How many of each of so many documents, 0 of those that go without, (documents,)."""
        return np.pad(self.counts, (0, documents - len(self.counts)))

    @property
    def total(self) -> int:
        """Pairs in all."""
        return int(self.counts.sum())


def measure(run: Run, pairs: int, window: int, sides: Sequence[Side] = SIDES) -> None:
    """Run models over the beginnings of documents, so many pairs in all, and write how surprised they are.

    What was measured before stays, as long as the same is asked for; what was measured for anything else goes.

    Args:
        run: whose documents are paired and harvested.
        pairs: of all shards together, at most.
        window: pairs that are looked ahead.
        sides: whose surprise is wanted.

    Raises:
        UserError: if a model does not load or is not the one that was harvested, or the activations are damaged.
    """
    store = ActivationStore(run.activations)
    first = [_beginnings(store, shard, pairs, window) for shard in range(len(store))]
    for side in sides:
        known = [_read(store, _path(store, side, shard, pairs, window), own.total) for shard, own in enumerate(first)]
        missing = {shard: own for shard, own in enumerate(first) if known[shard] is None}
        if missing:
            _measure_side(run, store, side, missing, pairs, window)
    current = {_path(store, side, shard, pairs, window) for side in SIDES for shard in range(len(store))}
    for path in set((store.folder / "surprise").glob("*.npy")) - current:
        path.unlink()


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
    begins = np.flatnonzero(np.diff(rows.document, prepend=-1))  # of documents that have pairs
    held = np.diff(begins, append=len(rows))
    own = Beginnings.of(held, _share(store, shard, pairs, window), window)
    known = np.flatnonzero(np.arange(len(rows)) < np.repeat(begins + own.of_each(len(begins)), held))
    lost = [_read(store, _path(store, side, shard, pairs, window), own.total) for side in SIDES]
    gap, last = np.full(len(rows), np.nan), np.full(len(rows), -1)
    if lost[0] is not None and lost[1] is not None:
        gap[known] = lost[1] - lost[0]
        last[known] = np.repeat(begins[: len(own.counts)] + own.counts - 1, own.counts)
    return gap, last


def _beginnings(store: ActivationStore, shard: int, pairs: int, window: int) -> Beginnings:
    """Of all of a shard's documents, those without pairs left out."""
    counts = pc.list_value_length(shards.read_tokens(store.folder, shard, ["ends"])["ends"]).to_numpy()
    return Beginnings.of(counts[counts > 0], _share(store, shard, pairs, window), window)


def _share(store: ActivationStore, shard: int, pairs: int, window: int) -> int:
    """How many of so many pairs a shard has to give.

    Where that is less than the beginning of one document, every so-manieth shard gives that of one.
    """
    manifest, least = store.manifest, BEGINNING_WINDOWS * window
    if 0 < pairs * max(one.pairs for one in manifest.shards) < least * manifest.pairs:
        every = -(-len(manifest.shards) // max(1, pairs // least))
        return least if shard % every == 0 else 0
    return -(-pairs * manifest.shards[shard].pairs // manifest.pairs)


def _turn_ends(rows: Rows) -> npt.NDArray[np.int64]:
    """The last row of each row's turn; of one that a template has torn apart, of its part."""
    ends = np.flatnonzero(np.append(breaks(rows)[1:], True) | np.append(np.diff(rows.role) != 0, True))
    return ends[np.searchsorted(ends, np.arange(len(rows)))]


def _measure_side(
    run: Run, store: ActivationStore, side: Side, missing: dict[int, Beginnings], pairs: int, window: int
) -> None:
    config, facts = run.config(), store.manifest.side(side)
    if (weights := origin.weights(config.models.side(side))) != facts.weights:
        raise UserError(
            f"{facts.source}: holds other weights ({weights:.16}) than when its activations were harvested "
            f"({facts.weights:.16}); bring those back, or harvest again."
        )
    model = models.load(config.models.side(side))
    limit = Limit(config.harvest, model)
    limit.tokens = min(limit.tokens, max(1, _LOGITS // model.model.config.get_text_config().vocab_size))
    read = {shard: _tokens(store, shard, side, own) for shard, own in missing.items()}
    total = sum(len(ids) for documents, _ in read.values() for ids in documents)
    with progress.bar(f"surprise of {model.title}"[:22], total, "tokens") as bar, model.lock:
        for shard, (ids, paired) in read.items():
            lost = paired_rows(ids, paired, partial(_lost, model), limit, model, bar.update)
            with (
                disk.replacing(_path(store, side, shard, pairs, window)) as temporary,
                temporary.open("wb") as file,
            ):
                np.save(file, lost[0][:, 0].numpy() if lost else np.empty(0, np.float32), allow_pickle=False)


def _tokens(store: ActivationStore, shard: int, side: Side, own: Beginnings) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of the beginnings, each to its last pair, and which of them are paired."""
    table = shards.read_tokens(store.folder, shard, [f"ids_{side}", f"index_{side}"])
    ids, paired = [], []
    columns = (table[name].to_pylist() for name in table.column_names)
    documents = ((tokens, index) for tokens, index in zip(*columns, strict=True) if index)
    for (tokens, index), count in zip(documents, own.counts.tolist(), strict=False):
        ids.append(tokens[: max(index[:count]) + 1])
        paired.append(index[:count])
    return ids, paired


def _lost(model: LoadedModel, ids: Tensor, mask: Tensor) -> list[Tensor]:
    """Nats lost from the beginning to each token, (documents, length, 1); 0 at the first one."""
    with torch.inference_mode():
        logits = model.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
        lost = logits.logsumexp(-1) - logits.gather(-1, ids[:, 1:, None])[..., 0]
        return [torch.nn.functional.pad(lost.cumsum(1), (1, 0))[..., None]]


def _read(store: ActivationStore, path: Path, pairs: int) -> npt.NDArray[np.float32] | None:
    """What a model lost up to each of so many pairs; None if that was not measured."""
    if not path.exists():
        return None
    with disk.reading(path, f"delete {path.parent} and run `python -m dfc verify {store.folder.parent}`"):
        lost: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    return lost if lost.shape == (pairs,) else None


def _path(store: ActivationStore, side: Side, shard: int, pairs: int, window: int) -> Path:
    facts = store.manifest.side(side)
    of = zlib.crc32(f"{facts.weights} {facts.tokenizer} {pairs} {window}".encode())
    return store.folder / "surprise" / f"{side}-{shard:05d}-{of:08x}.npy"
