"""The stretches of text on which features fire, in both tokenisations.

The statistics say which documents to show; this pass goes over their shards once more, looks up where each feature
fires around its peak, and cuts the same stretch of text out of both models' tokens. Contexts come shard by shard and
are wanted feature by feature: they are put into files by ranges of features, and these are sorted one after another.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfc.activations import documents as stored
from dfc.activations import shards
from dfc.activations.shards import ActivationStore, Rows
from dfc.config import SIDES, RunConfig, Side
from dfc.features.codes import CodesOnDisk, Floats, Ints
from dfc.features.statistics import LargestOfEach, Statistics, rank_in_group
from dfc.machine import progress
from dfc.store.contexts import COLUMNS, token_texts

BANDS = 4
_SHOWN_PEAKS = 5
_AT_ONCE = 1 << 16  # contexts sorted at once


@dataclass(frozen=True)
class Chosen:
    """Contexts to be shown; arrays of one length, sorted by row.

    Attributes:
        feature, band, rank: what is shown where; band 0 is the strongest.
        row: global row of the peak.
        peak: activation there.
    """

    feature: Ints
    band: Ints
    rank: Ints
    row: Ints
    peak: Floats

    def __len__(self) -> int:
        return len(self.row)

    def take(self, places: Ints | slice) -> Chosen:
        """Those at some places."""
        return Chosen(*(column[places] for column in vars(self).values()))


def choose(statistics: Statistics, per_band: int) -> Chosen:
    """The strongest contexts, and `per_band` from each quarter of a uniform sample of the others."""
    parts = [_strongest(statistics.top), *_lower_bands(statistics, per_band)]
    chosen = Chosen(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))
    return chosen.take(np.argsort(chosen.row, kind="stable"))


def build(
    chosen: Chosen,
    encoded: CodesOnDisk,
    documents: pa.Table,
    config: RunConfig,
    folder: Path,
    at_once: int = _AT_ONCE,
) -> Iterator[pa.Table]:
    """The rows of the store's table `contexts` in pieces, sorted by feature, band and rank.

    About `at_once` of them are in memory at any time; the others lie in files in `folder` meanwhile.
    """
    files = len(chosen) // at_once + 1
    width = -(-encoded.features // files)
    with tempfile.TemporaryDirectory(dir=folder, prefix="contexts.") as inside:
        parts = [Path(inside) / f"{number}.arrow" for number in range(files)]
        with ExitStack() as stack, progress.bar("features: contexts", len(chosen), "contexts") as bar:
            writers = [stack.enter_context(pa.ipc.new_stream(path, COLUMNS)) for path in parts]
            shard_of = chosen.row >> 32
            for shard in np.unique(shard_of).tolist():
                part = chosen.take(slice(*np.searchsorted(shard_of, [shard, shard + 1])))
                part = part.take(np.argsort(part.feature, kind="stable"))
                rows = _of_shard(shard, part, encoded, documents, config)
                cuts = np.searchsorted(part.feature, np.arange(files + 1) * width)
                for number in np.flatnonzero(np.diff(cuts)).tolist():
                    writers[number].write_table(rows.slice(cuts[number], cuts[number + 1] - cuts[number]))
                bar.update(len(part))
        for path in parts:
            with pa.ipc.open_stream(path) as reader:
                piece = reader.read_all()
            path.unlink()
            if len(piece):
                yield piece.sort_by([(name, "ascending") for name in ("feature_id", "band", "rank")])


def documents_of(chosen: Chosen, store: ActivationStore, documents: pa.Table) -> pa.Table:
    """The documents that these contexts are cut from, in the order of their numbers."""
    shards = np.unique(chosen.row >> 32).tolist()
    numbers = [
        np.unique(store.rows(shard).document[chosen.row[chosen.row >> 32 == shard] & 0xFFFFFFFF]) for shard in shards
    ]
    wanted = documents.take(np.unique(np.concatenate([np.zeros(0, dtype=np.int32), *numbers])))
    return wanted.select(["document", "source", "held_out", "roles", "contents"])


def peaks(contexts: pa.Table, of_b: npt.NDArray[np.bool_]) -> pa.Table:
    """The commonest texts at the peaks of each feature's strongest contexts, the commonest first.

    Args:
        contexts: rows of the table `contexts`, whole features.
        of_b: whether a feature is read in model B's tokens, (features,).

    Returns:
        feature_id and token, at most five rows a feature.
    """
    top = contexts.filter(pc.equal(contexts["band"], 0))
    in_b = of_b[top["feature_id"].to_numpy()]
    at_peak = []
    for side in SIDES:
        tokens = token_texts(top, side)
        at_peak.append(tokens.flatten().take(pa.array(tokens.offsets.to_numpy()[:-1] + top[f"peak_{side}"].to_numpy())))
    text = pc.utf8_trim_whitespace(pc.if_else(pa.array(in_b), at_peak[1], at_peak[0]))
    named = pa.table({"feature_id": top["feature_id"], "token": text, "rank": top["rank"]})
    counts = named.group_by(["feature_id", "token"]).aggregate([("rank", "count"), ("rank", "min")])
    order = [("feature_id", "ascending"), ("rank_count", "descending"), ("rank_min", "ascending")]
    counts = counts.sort_by(order).select(["feature_id", "token"])
    return counts.filter(pa.array(rank_in_group(counts["feature_id"].to_numpy()) < _SHOWN_PEAKS))


def peak_tokens(peaks: list[pa.Table], features: int) -> pa.ListArray:
    """What `peaks` found in all the pieces as one list a feature, (features,)."""
    empty = pa.table({"feature_id": pa.array([], pa.int32()), "token": pa.array([], pa.string())})
    table = pa.concat_tables([empty, *peaks]).combine_chunks()
    counts = np.bincount(table["feature_id"].to_numpy(), minlength=features)
    return pa.ListArray.from_arrays(
        pa.array(np.append(0, np.cumsum(counts)).astype(np.int32)), table["token"].combine_chunks()
    )


def _strongest(top: LargestOfEach) -> Chosen:
    feature, rank = np.nonzero(top.rows >= 0)
    band = np.zeros_like(feature)
    return Chosen(feature, band, rank, top.rows[feature, rank], top.values[feature, rank])


def _lower_bands(statistics: Statistics, per_band: int) -> Iterator[Chosen]:
    """The sample without what is shown already, sorted by value and cut into quarters, and a fair draw from each."""
    sample = statistics.sample
    shown = (sample.rows[:, :, None] == statistics.top.rows[:, None, :]).any(axis=2)
    usable = (sample.rows >= 0) & ~shown
    order = np.argsort(-np.where(usable, sample.values, -np.inf), axis=1, kind="stable")
    left = usable.sum(axis=1)[:, None]
    quarter = np.arange(order.shape[1]) * BANDS // np.maximum(left, 1)
    for band in range(BANDS):
        inside = (quarter == band) & (np.arange(order.shape[1]) < left)
        # The sample's keys are random: the largest few of a quarter are a fair draw from it.
        keys = np.where(inside, np.take_along_axis(sample.keys, order, axis=1), -np.inf)
        drawn = np.argsort(-keys, axis=1, kind="stable")[:, :per_band]
        feature, rank = np.nonzero(np.isfinite(np.take_along_axis(keys, drawn, axis=1)))
        place = order[feature, drawn[feature, rank]]
        yield Chosen(
            feature, np.full_like(feature, band + 1), rank, sample.rows[feature, place], sample.values[feature, place]
        )


@dataclass(frozen=True)
class _Tokens:
    """The tokens of some documents in one model, all in a row.

    Attributes:
        texts: each document as the model reads it.
        first: number of each document's first token, (documents + 1,).
        until: where each token's text ends in its document's.
        lengths: characters of each token.
        unknown: numbers of the tokens whose activation is not known.
        unknown_before: how many of these come before each token, (tokens + 1,).
    """

    texts: list[str]
    first: Ints
    until: Ints
    lengths: Ints
    unknown: Ints
    unknown_before: Ints


def _of_shard(
    shard: int,
    chosen: Chosen,
    encoded: CodesOnDisk,
    documents: pa.Table,
    config: RunConfig,
) -> pa.Table:
    """Contexts whose peaks lie in one shard, in the order of `chosen`."""
    rows = encoded.store.rows(shard)
    kept = encoded.store.keep(shard, rows)
    codes = encoded.shard(shard)
    at = chosen.row & 0xFFFFFFFF
    needed, place = np.unique(rows.document[at], return_inverse=True)
    opening, closing = (np.searchsorted(rows.document, rows.document[at], side) for side in ("left", "right"))
    begin, end = _stretches(rows, at)
    start = np.maximum(begin, at - config.index.pairs_before)
    stop = np.minimum(end, at + config.index.pairs_after + 1)

    # Codes are sorted by feature and row: what fires in a stretch is one run of them.
    keys = codes.features * len(rows) + codes.rows
    fired, firings = _runs(*(np.searchsorted(keys, chosen.feature * len(rows) + row) for row in (start, stop)))
    kept_before = np.append(0, np.cumsum(kept))
    columns = {
        "feature_id": chosen.feature,
        "band": chosen.band,
        "rank": chosen.rank,
        "document": rows.document[at],
        "source": documents["source"].take(rows.document[at]),
        "role": pa.array(stored.ROLES).take(pa.array(rows.role[at])),
        "start": np.where(start == opening, 0, rows.end[start - 1]),
        "stop": rows.end[stop - 1],
        "peak": chosen.peak,
        "fired": _lists(kept_before[codes.rows[fired]] - np.repeat(kept_before[start], np.diff(firings)), firings),
        "activations": _lists(codes.values[fired], firings),
    }
    shown = shards.read_shown(encoded.store.folder, shard)
    contents = documents["contents"].take(needed)
    for side, index in zip(SIDES, (rows.index_a, rows.index_b), strict=True):
        tokens = _tokens(shown, side, contents, needed, rows, index, kept)
        # Unpaired tokens after the pair before the first one belong to this stretch too.
        before = np.where((begin == opening) & (end == closing), 0, index[begin])
        first = tokens.first[place] + np.where(start == begin, before, index[start - 1] + 1)
        last = tokens.first[place] + index[stop - 1] + 1
        since = np.where(first == tokens.first[place], 0, tokens.until[first - 1]).tolist()
        until = tokens.until[last - 1].tolist()
        columns[f"text_{side}"] = pa.array(
            [tokens.texts[d][s:u] for d, s, u in zip(place.tolist(), since, until, strict=True)]
        )
        columns[f"peak_{side}"] = tokens.first[place] + index[at] - first
        covered, counts = _runs(first, last)
        columns[f"lengths_{side}"] = _lists(tokens.lengths[covered], counts)
        unknown, counts = _runs(tokens.unknown_before[first], tokens.unknown_before[last])
        columns[f"unknown_{side}"] = _lists(tokens.unknown[unknown] - np.repeat(first, np.diff(counts)), counts)
    same = pc.equal(columns["text_a"], columns["text_b"])
    columns["text_b"] = pc.if_else(same, pa.scalar(None, pa.string()), columns["text_b"])
    return pa.table(columns).select(COLUMNS.names).cast(COLUMNS)


def _stretches(rows: Rows, at: Ints) -> tuple[Ints, Ints]:
    """The first row and the end of the stretch of each of some rows: in both models, what stands between is its own."""
    starts = np.flatnonzero(shards.breaks(rows))
    number = np.searchsorted(starts, at, side="right") - 1
    return starts[number], np.append(starts, len(rows))[number + 1]


def _tokens(
    shown: pa.Table,
    side: Side,
    contents: pa.ChunkedArray,
    numbers: Ints,
    rows: Rows,
    index: npt.NDArray[np.int32],
    kept: npt.NDArray[np.bool_],
) -> _Tokens:
    """Tokens of the documents with these numbers, known where a kept pair of the shard has `index` there."""
    mine = shown.take(np.searchsorted(shown["document"].to_numpy(), numbers))
    listed = mine[f"lengths_{side}"].combine_chunks()
    lengths = listed.flatten().to_numpy().astype(np.int64)
    first = np.append(0, np.cumsum(listed.value_lengths().to_numpy()))
    summed = np.append(0, np.cumsum(lengths))
    until = summed[1:] - np.repeat(summed[first[:-1]], np.diff(first))
    texts = [
        "".join(said) if text is None else text
        for text, said in zip(mine[f"text_{side}"].to_pylist(), contents.to_pylist(), strict=True)
    ]
    place = np.searchsorted(numbers, rows.document).clip(max=len(numbers) - 1)
    known = kept & (numbers[place] == rows.document)
    unknown = np.ones(len(until), dtype=bool)
    unknown[first[place[known]] + index[known]] = False
    return _Tokens(texts, first, until, lengths, np.flatnonzero(unknown), np.append(0, np.cumsum(unknown)))


def _runs(starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """The numbers from each start to each stop, one run after another, and where the runs begin, (runs + 1,)."""
    offsets = np.append(0, np.cumsum(stops - starts))
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], stops - starts), offsets


def _lists(values: npt.NDArray[np.generic], offsets: Ints) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))
