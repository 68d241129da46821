"""Reads the text around pairs of a run, and a sample of the corpus beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.corpus import Document
from dfc.features.passages import Corpus, Ints, Stretch, stretch
from dfc.machine import progress


@dataclass(frozen=True)
class Rows:
    """Where the text around is read; arrays of one length, sorted by row.

    Attributes:
        row: global row of a pair.
        feature: that peaks there; -1: none is asked for.
        apart: whether it is for `tests`.
    """

    row: Ints
    feature: Ints
    apart: npt.NDArray[np.bool_]


def read(wanted: Rows, store: ActivationStore, documents: pa.Table, characters: int) -> Corpus:
    """Stretches around pairs, and a sample of what the pairs cover.

    Args:
        wanted: which pairs.
        store, documents: where they come from.
        characters: how many to draw for the sample, about.
    """
    stretches: list[Stretch] = []
    sample: list[str] = []
    share = min(1.0, characters / max(1, _characters(documents)))
    due = 0.0
    shard_of = wanted.row >> 32
    with progress.bar("features: words", len(wanted.row), "contexts") as bar:
        for shard in range(len(store)):
            origin = store.rows(shard)
            numbers, first = np.unique(origin.document, return_index=True)
            last = np.append(first[1:], len(origin)) - 1
            for number, end in zip(numbers.tolist(), origin.end[last].tolist(), strict=True):
                due += share
                if due >= 1:
                    due -= 1
                    sample.append("".join(turn.content for turn in stored.document(documents, number).turns)[:end])
            start, stop = np.searchsorted(shard_of, [shard, shard + 1]).tolist()
            at = wanted.row[start:stop] & 0xFFFFFFFF
            before = np.maximum(at - 1, 0)
            same = (at > 0) & (origin.document[before] == origin.document[at])
            begins = np.where(same, origin.end[before], 0)
            cached: dict[int, Document] = {}
            distinct, first_of, place = np.unique(at, return_index=True, return_inverse=True)
            where = origin.document[distinct], begins[first_of], origin.end[distinct]
            found = []  # of each pair once: features share peaks
            for number, begin, end in zip(*(column.tolist() for column in where), strict=True):
                if number not in cached:
                    cached[number] = stored.document(documents, number)
                found.append(stretch(cached[number], begin, end))
            stretches += [found[one] for one in place.tolist()]
            bar.update(stop - start)
    order = np.argsort(wanted.feature, kind="stable")
    feature, apart = wanted.feature[order], wanted.apart[order]

    def those(chosen: npt.NDArray[np.bool_]) -> tuple[Ints, list[Stretch]]:
        return feature[chosen], [stretches[place] for place in order[chosen].tolist()]

    words, tests = those((feature >= 0) & ~apart), those((feature >= 0) & apart)
    return Corpus(*words, sample, *tests, those(feature < 0)[1])


def _characters(documents: pa.Table) -> int:
    contents = documents["contents"].combine_chunks().flatten()
    return int(pc.sum(pc.utf8_length(contents)).as_py() or 0)
