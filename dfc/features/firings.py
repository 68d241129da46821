"""Documents of a run on which features fire, with every activation and token, from what is stored; no model is run.

Documents that were kept out of training come first, in their order, which is random. Where they are too few, those of
the feature's contexts are taken as well.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dfc.activations import loader, shards
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, Side
from dfc.crosscoder.model import Crosscoder
from dfc.features import live
from dfc.machine import progress
from dfc.runs import Run
from dfc.store.reader import Store

SEARCHED = 1_000_000
"""Held-out pairs that are looked through at most, whatever the run has."""
_AT_ONCE = 4_096  # pairs that are encoded


@dataclass(frozen=True, eq=False)
class Fired:
    """A document on which a feature fires.

    Attributes:
        document: its number.
        held_out: whether it was kept out of training.
        ids: token ids of each model.
        at: the token of each firing in each model, (firings,).
        values: activations there, (firings,).
    """

    document: int
    held_out: bool
    ids: Mapping[Side, list[int]]
    at: Mapping[Side, npt.NDArray[np.int64]]
    values: npt.NDArray[np.float32]


def documents(run: Run, crosscoder: Crosscoder, features: Collection[int], count: int) -> dict[int, list[Fired]]:
    """Up to `count` documents on which each of these features fires.

    Raises:
        UserError: if the run's activations are not there or damaged.
    """
    stored, found = ActivationStore(run.activations), {feature: list[Fired]() for feature in features}
    looked = 0
    with progress.bar("held-out documents", len(stored), "shards") as bar:
        for shard in range(len(stored)):
            lacking = [feature for feature, mine in found.items() if len(mine) < count]
            if not lacking or looked >= SEARCHED:
                bar.update(len(stored) - shard)
                break
            rows = stored.rows(shard)
            wanted = np.unique(rows.document[rows.held_out])
            looked += int(rows.held_out.sum())
            _add(stored, crosscoder, shard, wanted, {feature: found[feature] for feature in lacking}, count)
            bar.update()
    store = Store(run.store)
    for shard, wanted_by in sorted(_from_contexts(run, store, found, count).items()):
        for feature, numbers in wanted_by.items():
            _add(stored, crosscoder, shard, np.array(numbers), {feature: found[feature]}, count)
    return found


def _from_contexts(
    run: Run, store: Store, found: Mapping[int, list[Fired]], count: int
) -> dict[int, dict[int, list[int]]]:
    """Further documents of features that lack some: of each shard, of each feature."""
    chosen: dict[int, dict[int, list[int]]] = {}
    for feature, mine in found.items():
        known = {one.document for one in mine}
        others = sorted({context.document for context in store.contexts(feature)} - known)
        random.Random(feature).shuffle(others)
        for document in others[: max(0, count - len(mine))]:
            chosen.setdefault(live.shard_of(run, document), {}).setdefault(feature, []).append(document)
    return chosen


def _add(
    stored: ActivationStore,
    crosscoder: Crosscoder,
    shard: int,
    wanted: npt.NDArray[Any],
    found: Mapping[int, list[Fired]],
    count: int,
) -> None:
    """Add those of a shard's documents on which features fire, until each has so many."""
    rows, kept = stored.rows(shard), loader.kept_rows(stored, shard)
    chosen = torch.from_numpy(np.isin(kept.document.numpy(), wanted))
    at, x = kept.row[chosen].numpy(), kept.x[chosen]
    numbers, features, values = _coded(crosscoder, x, list(found))
    tokens: dict[int, dict[Side, list[int]]] = {}
    for feature, mine in found.items():
        own = features == feature
        pairs, strengths = at[numbers[own]], values[own]
        order = np.argsort(pairs)
        pairs, strengths = pairs[order], strengths[order]
        for document in np.unique(rows.document[pairs])[: count - len(mine)].tolist():
            tokens = tokens or _tokens(stored, shard, wanted)
            here = rows.document[pairs] == document
            index: dict[Side, Any] = {"a": rows.index_a[pairs[here]], "b": rows.index_b[pairs[here]]}
            mine.append(
                Fired(
                    document,
                    bool(rows.held_out[pairs[here][0]]),
                    tokens[document],
                    {side: index[side].astype(np.int64) for side in SIDES},
                    strengths[here],
                )
            )


def _coded(
    crosscoder: Crosscoder, x: torch.Tensor, features: list[int]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Row, feature and value of each activation of some features."""
    parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for first in range(0, len(x), _AT_ONCE):
        with torch.no_grad():
            codes = crosscoder.encode(x[first : first + _AT_ONCE])
        mine = torch.isin(codes.features, torch.tensor(features))
        parts.append((codes.rows[mine] + first, codes.features[mine], codes.values[mine]))
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    rows, found, values = (torch.cat([part[place] for part in parts]).numpy() for place in range(3))
    return rows, found, values


def _tokens(stored: ActivationStore, shard: int, wanted: Iterable[int]) -> dict[int, dict[Side, list[int]]]:
    """Token ids of some documents of a shard."""
    table = shards.read_tokens(stored.folder, shard, ["document", "ids_a", "ids_b"])
    asked = set(map(int, wanted))
    return {
        row["document"]: {side: row[f"ids_{side}"] for side in SIDES}
        for row in table.to_pylist()
        if row["document"] in asked
    }
