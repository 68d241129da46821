"""How surprised each model is by the text, pair by pair: what a model knows shows in what it expects.

Both models run whole over some of the documents. What they lost is kept beside the activations, shard by shard:

    activations/surprise/
        a-00000-5f1c09ab.npy    (pairs,) float32 nats that model A lost from a document's beginning to each of its pairs
        b-00000-77d20e1f.npy    likewise; of the shard's first documents only, and of these weights and tokenizer
"""

from __future__ import annotations

import zlib
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch
from torch import Tensor

from dfc import models, runs
from dfc.activations import shards
from dfc.activations.harvest import Limit, paired_rows
from dfc.activations.shards import ActivationStore, Rows
from dfc.config import SIDES, Side, UserError
from dfc.machine import progress
from dfc.models import LoadedModel, origin
from dfc.runs import Run

_LOGITS = 2**26  # in one pass, 256 MB, unless a single document has more


def measure(run: Run, pairs: int) -> None:
    """Run both models over as many documents as hold so many pairs, and write how surprised they are.

    What was measured before stays, as long as as many pairs are asked for.

    Args:
        run: whose documents are paired and harvested.
        pairs: of all shards together, at most.

    Raises:
        UserError: if a model does not load or is not the one that was harvested, or the activations are damaged.
    """
    store = ActivationStore(run.activations)
    first = [_documents(store, shard, pairs) for shard in range(len(store))]
    for side in SIDES:
        missing = [shard for shard, (_, kept) in enumerate(first) if _read(store, side, shard, kept) is None]
        if missing:
            _measure_side(run, store, side, {shard: first[shard][0] for shard in missing})


def ahead(store: ActivationStore, shard: int, rows: Rows, pairs: int, window: int) -> Tensor:
    """What comes within so many pairs after each row, (rows, 2), NaN where it is not known.

    Its first column is by how many nats model B is more surprised by it than model A, its second one how many
    characters it has. It ends with the turn.

    Args:
        store: of a run that was measured with as many `pairs`; otherwise all is unknown.
        shard: number of the shard.
        rows: where all its rows come from.
        pairs: as `measure` was told.
        window: pairs to look ahead.

    Raises:
        UserError: if what was measured is damaged.
    """
    ends = np.append(np.flatnonzero(np.diff(rows.document)) + 1, len(rows))  # of documents that have pairs
    known = int(ends[ends <= _share(store, shard, pairs)].max(initial=0))
    lost = [_read(store, side, shard, known) for side in SIDES]
    following = np.full((len(rows), 2), np.nan)
    if lost[0] is not None and lost[1] is not None:
        place = np.arange(known)
        until = np.minimum(place + window, _turn_ends(rows)[:known])
        gap = (lost[1] - lost[0]).astype(np.float64)
        later = until > place
        following[place[later], 0] = (gap[until] - gap[place])[later]
        following[place[later], 1] = (rows.end[until] - rows.end[place])[later]
    return torch.from_numpy(following)


def _documents(store: ActivationStore, shard: int, pairs: int) -> tuple[int, int]:
    """How many of a shard's documents are measured, the first ones, and how many pairs these have."""
    counts = pc.list_value_length(shards.read_tokens(store.folder, shard, ["ends"])["ends"]).to_numpy()
    until = np.cumsum(counts)
    documents = int(np.searchsorted(until, _share(store, shard, pairs), side="right"))
    return documents, int(until[documents - 1]) if documents else 0


def _share(store: ActivationStore, shard: int, pairs: int) -> int:
    """How many of so many pairs a shard has to give, whole documents of them."""
    return -(-pairs * store.manifest.shards[shard].pairs // store.manifest.pairs)


def _turn_ends(rows: Rows) -> npt.NDArray[np.int64]:
    """The last row of each row's turn."""
    ends = np.flatnonzero(np.append(np.diff(rows.document) != 0, True) | np.append(np.diff(rows.role) != 0, True))
    return ends[np.searchsorted(ends, np.arange(len(rows)))]


def _measure_side(run: Run, store: ActivationStore, side: Side, missing: dict[int, int]) -> None:
    config, facts = run.config(), store.manifest.side(side)
    if (weights := origin.weights(config.models.side(side))) != facts.weights:
        raise UserError(
            f"{facts.source}: holds other weights ({weights:.16}) than when its activations were harvested "
            f"({facts.weights:.16}); bring those back, or harvest again."
        )
    model = models.load(config.models.side(side))
    limit = Limit(config.harvest, model)
    limit.tokens = min(limit.tokens, max(1, _LOGITS // model.model.config.get_text_config().vocab_size))
    columns = [f"ids_{side}", f"index_{side}"]
    tokens = {
        shard: shards.read_tokens(store.folder, shard, columns).slice(0, documents)
        for shard, documents in missing.items()
    }
    total = sum(int(pc.sum(pc.list_value_length(table[columns[0]]), min_count=0).as_py()) for table in tokens.values())
    with progress.bar(f"surprise of {model.title}"[:22], total, "tokens") as bar, model.lock:
        for shard, table in tokens.items():
            ids, paired = (table[column].to_pylist() for column in columns)
            lost = paired_rows(ids, paired, partial(_lost, model), limit, model, bar.update)
            with runs.replacing(_path(store, side, shard)) as temporary, temporary.open("wb") as file:
                np.save(file, lost[0][:, 0].numpy() if lost else np.empty(0, np.float32), allow_pickle=False)


def _lost(model: LoadedModel, ids: Tensor, mask: Tensor) -> list[Tensor]:
    """Nats lost from the beginning to each token, (documents, length, 1); 0 at the first one."""
    with torch.inference_mode():
        logits = model.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
        lost = logits.logsumexp(-1) - logits.gather(-1, ids[:, 1:, None])[..., 0]
        return [torch.nn.functional.pad(lost.cumsum(1), (1, 0))[..., None]]


def _read(store: ActivationStore, side: Side, shard: int, pairs: int) -> npt.NDArray[np.float32] | None:
    """What a model lost up to each of so many pairs; None if that was not measured."""
    path = _path(store, side, shard)
    if not path.exists():
        return None
    with runs.reading(path, f"delete {path.parent} and run `python -m dfc verify {store.folder.parent}`"):
        lost: npt.NDArray[np.float32] = np.load(path, allow_pickle=False)
    return lost if lost.shape == (pairs,) else None


def _path(store: ActivationStore, side: Side, shard: int) -> Path:
    facts = store.manifest.side(side)
    model = zlib.crc32(f"{facts.weights} {facts.tokenizer}".encode())
    return store.folder / "surprise" / f"{side}-{shard:05d}-{model:08x}.npy"
