"""Training batches straight from both models, for corpora larger than the disk.

The activations of `corpus.pairs` pairs are stored as always: what is measured, indexed and
shown comes from there. Training reads on where these end: documents are paired, both
models read them, and their rows are shuffled within a window, used once and forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from dfc import corpus, models
from dfc.activations import documents as stored
from dfc.activations import pairing
from dfc.activations.batches import Limit, Reader, paired_rows
from dfc.activations.loader import read_ahead
from dfc.activations.pairing import Pairer, Position
from dfc.activations.shards import ActivationStore, flatten
from dfc.config import SIDES, RunConfig, Side, UserError
from dfc.models import LoadedModel
from dfc.runs import Run


@dataclass(frozen=True)
class StreamPosition:
    """Where streamed training is: enough to go on with the very next batch.

    Attributes:
        epoch: how often the corpus was begun anew.
        window: number of the window, all epochs together.
        used: batches of it that were used.
        taken, pairs: documents and pairs taken from each source before this window.
        documents: their number in all.
    """

    epoch: int = 0
    window: int = 0
    used: int = 0
    taken: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, int] = field(default_factory=dict)
    documents: int = 0


def stream_batches(run: Run, start: dict[str, Any] | None) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """Endless batches (batch, width_a + width_b) of scaled rows, each with the position after it.

    Documents that the run holds out are left out here, too, also when the corpus begins anew.

    Args:
        run: its activations are harvested.
        start: a position that this function gave; None: where the stored documents end.

    Raises:
        UserError: if a model or a source does not load, or the corpus has no document beside the held-out ones.
    """
    config = run.config()
    batch = config.training.batch
    scale = ActivationStore(run.activations).column_scale()
    for rows, position in read_ahead(_windows(run, config, start)):
        generator = np.random.default_rng([config.training.seed, position.window])
        order = torch.from_numpy(generator.permutation(len(rows)))
        for used in range(position.used, len(rows) // batch):
            chosen = order[used * batch : (used + 1) * batch]
            yield rows[chosen].float() * scale, asdict(replace(position, used=used + 1))


def _windows(run: Run, config: RunConfig, start: dict[str, Any] | None) -> Iterator[tuple[Tensor, StreamPosition]]:
    """Rows of one window after another, (rows, width_a + width_b) bfloat16, and where each begins."""
    if start is None:
        known = pairing.read_position(run)
        start = {"taken": known.taken, "pairs": known.pairs, "documents": sum(known.shards)}
    position = StreamPosition(**start)
    pairer, held_out = Pairer(config), _held_out(run)
    sides = {side: _side(config, side) for side in SIDES}
    store = ActivationStore(run.activations)
    while True:
        batches, begun = 0, position
        for parts, after in _drawn(pairer, config, position, held_out):
            rows = torch.cat([_kept(store, tokens, sides) for tokens in parts])
            batches += len(rows) // config.training.batch
            yield rows, position
            position = after
        if not batches and not begun.taken:
            raise UserError(
                f"{run.path}: no {config.training.window_shards} shards of the whole corpus hold one batch of "
                f"{config.training.batch} pairs to train on; give more texts or lower training.batch."
            )
        position = StreamPosition(epoch=position.epoch + 1, window=position.window, documents=position.documents)


@dataclass(frozen=True)
class _Side:
    model: LoadedModel
    read: Reader
    limit: Limit


def _side(config: RunConfig, side: Side) -> _Side:
    model = models.load(config.models.side(side))
    return _Side(model, partial(model.streams, [model.layer]), Limit(config.harvest, model))


def _drawn(
    pairer: Pairer, config: RunConfig, position: StreamPosition, held_out: set[bytes]
) -> Iterator[tuple[list[pa.Table], StreamPosition]]:
    """Tokens to train on of a window's shards, and the position after it, until the sources run dry."""
    drawn = config.corpus.model_copy(update={"seed": config.corpus.seed + position.epoch})
    sources = {name: source.documents for name, source in corpus.open_sources(drawn).items()}
    at = Position([position.documents], dict(position.taken), dict(position.pairs))
    pairing.skip(sources, at)
    shards = pairing.draw(pairer, sources, config, at, enough=float("inf"))
    while window := list(islice(shards, config.training.window_shards)):
        parts = []
        for documents, tokens in window:
            at.shards.append(len(documents))
            parts.append(tokens.filter([_digest(row) not in held_out for row in documents]))
        position = StreamPosition(
            position.epoch, position.window + 1, 0, dict(at.taken), dict(at.pairs), sum(at.shards)
        )
        yield parts, position


def _kept(store: ActivationStore, tokens: pa.Table, sides: dict[Side, _Side]) -> Tensor:
    """Both models' rows of these documents that are neither first positions nor outliers nor non-finite."""
    if not tokens.num_rows:  # all of these documents are held out
        return torch.zeros(0, store.manifest.a.width + store.manifest.b.width, dtype=torch.bfloat16)
    origin = flatten(tokens)
    keep = torch.from_numpy(np.minimum(origin.index_a, origin.index_b) >= store.manifest.skip_first)
    streams = []
    for side, own in sides.items():
        ids, paired = (tokens[f"{name}_{side}"].to_pylist() for name in ("ids", "index"))
        [rows] = paired_rows(ids, paired, own.read, own.limit, own.model, lambda _: None)
        keep &= rows.norm(dim=1) <= store.manifest.side(side).norm_limit  # false for NaN too
        streams.append(rows.to(torch.bfloat16))
    return torch.cat(streams, dim=1)[keep]


def _held_out(run: Run) -> set[bytes]:
    """Digests of the documents that the run keeps out of training."""
    return {_digest(row) for row in stored.read(run).to_pylist() if row["held_out"]}


def _digest(row: dict[str, Any]) -> bytes:
    return blake2b("\0".join([*row["roles"], *row["contents"]]).encode(), digest_size=16).digest()
