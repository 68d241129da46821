"""The stretches of text on which features fire, in both tokenisations.

The statistics say which documents to show; this pass goes over their shards once more,
looks up each feature's activation on every paired token around its peak, and cuts the
same stretch of text out of both models' tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from transformers import PreTrainedTokenizerBase

from dfc import alignment, corpus, progress
from dfc.activations import documents as stored
from dfc.activations.loader import kept_rows
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, RunConfig, Side
from dfc.crosscoder.model import Crosscoder
from dfc.features.statistics import Ints, LargestOfEach, Statistics, encode_shard

BANDS = 4
_SHOWN_PEAKS = 5
_WHOLE = 1 << 30  # tokens: the stored ones are the first of these
CONTEXTS_SCHEMA = pa.schema(
    {
        "feature_id": pa.int32(),
        "band": pa.int8(),
        "rank": pa.int16(),
        "document": pa.int32(),
        "source": pa.string(),
        "peak": pa.float32(),
        "tokens_a": pa.list_(pa.string()),
        "activations_a": pa.list_(pa.float32()),
        "peak_a": pa.int16(),
        "tokens_b": pa.list_(pa.string()),
        "activations_b": pa.list_(pa.float32()),
        "peak_b": pa.int16(),
    }
)


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
    peak: npt.NDArray[np.float32]


def choose(statistics: Statistics, per_band: int) -> Chosen:
    """The strongest contexts, and `per_band` from each quarter of a uniform sample of the others."""
    parts = [_strongest(statistics.top), *_lower_bands(statistics, per_band)]
    columns = [np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])]
    by_row = np.argsort(columns[3], kind="stable")
    return Chosen(*(column[by_row] for column in columns))


def build(
    chosen: Chosen,
    crosscoder: Crosscoder,
    store: ActivationStore,
    documents: pa.Table,
    tokenizers: dict[Side, PreTrainedTokenizerBase],
    config: RunConfig,
) -> pa.Table:
    """The contexts table, sorted by feature, band and rank; empty where nothing fires."""
    pieces = [CONTEXTS_SCHEMA.empty_table()]
    shard_of = chosen.row >> 32
    with progress.bar("features: contexts", len(chosen.row), "contexts") as bar:
        for shard in np.unique(shard_of).tolist():
            start, stop = np.searchsorted(shard_of, [shard, shard + 1])
            part = Chosen(*(array[start:stop] for array in vars(chosen).values()))
            shown = list(_of_shard(shard, part, crosscoder, store, documents, tokenizers, config))
            pieces.append(pa.Table.from_pylist(shown, schema=CONTEXTS_SCHEMA))
            bar.update(int(stop - start))
    return pa.concat_tables(pieces).sort_by([("feature_id", "ascending"), ("band", "ascending"), ("rank", "ascending")])


def peak_tokens(contexts: pa.Table, features: int, side_of: list[Side]) -> list[list[str]]:
    """For each feature the commonest texts at the peak of its top contexts.

    Args:
        contexts: the contexts table.
        features: number of features.
        side_of: in which model's tokens each feature is read, (features,).
    """
    counts: list[Counter[str]] = [Counter() for _ in range(features)]
    columns = ("feature_id", "band", "tokens_a", "peak_a", "tokens_b", "peak_b")
    for feature, band, tokens_a, peak_a, tokens_b, peak_b in zip(
        *(contexts[c].to_pylist() for c in columns), strict=True
    ):
        if band == 0:
            text = tokens_a[peak_a] if side_of[feature] == "a" else tokens_b[peak_b]
            counts[feature][text.strip()] += 1
    return [[text for text, _ in count.most_common(_SHOWN_PEAKS)] for count in counts]


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


def _of_shard(
    shard: int,
    chosen: Chosen,
    crosscoder: Crosscoder,
    store: ActivationStore,
    documents: pa.Table,
    tokenizers: dict[Side, PreTrainedTokenizerBase],
    config: RunConfig,
) -> Iterator[dict[str, object]]:
    rows = store.rows(shard)
    kept = store.keep(shard, rows)
    codes = encode_shard(crosscoder, kept_rows(store, shard), config.index.batch)
    total = len(rows.document)
    keys = codes.features * total + codes.rows  # increasing, since codes are sorted
    first_of = dict(zip(*(array.tolist() for array in np.unique(rows.document, return_index=True)), strict=True))
    pairs_of = np.bincount(rows.document)
    texts: dict[int, dict[Side, list[str]]] = {}
    for feature, band, rank, row, peak in zip(*(array.tolist() for array in vars(chosen).values()), strict=True):
        at = row & 0xFFFFFFFF
        document = int(rows.document[at])
        begin = first_of[document]
        end = begin + int(pairs_of[document])
        start, stop = max(begin, at - config.index.pairs_before), min(end, at + config.index.pairs_after + 1)
        if document not in texts:
            texts[document] = _token_texts(documents, document, tokenizers)
        wanted = feature * total + np.arange(start, stop)
        place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
        values = np.where(keys[place] == wanted, codes.values[place], np.float32(0))
        context: dict[str, object] = {
            "feature_id": feature,
            "band": band,
            "rank": rank,
            "document": document,
            "source": documents["source"][document].as_py(),
            "peak": peak,
        }
        for side, index in zip(SIDES, (rows.index_a, rows.index_b), strict=True):
            # Unpaired tokens after the pair before the first one belong to this stretch too.
            first = 0 if start == begin else int(index[start - 1]) + 1
            activations: list[float | None] = [None] * (int(index[stop - 1]) + 1 - first)
            for token, value, known in zip(
                index[start:stop].tolist(), values.tolist(), kept[start:stop].tolist(), strict=True
            ):
                activations[token - first] = value if known else None
            context[f"tokens_{side}"] = texts[document][side][first : int(index[stop - 1]) + 1]
            context[f"activations_{side}"] = activations
            context[f"peak_{side}"] = int(index[at]) - first
        yield context


def _token_texts(
    documents: pa.Table, number: int, tokenizers: dict[Side, PreTrainedTokenizerBase]
) -> dict[Side, list[str]]:
    """Texts of all tokens of a document in both models."""
    document = stored.document(documents, number)
    result: dict[Side, list[str]] = {}
    for side in SIDES:
        rendering = corpus.render(document, tokenizers[side])
        tokens = alignment.tokenize([rendering], tokenizers[side], _WHOLE)
        result[side] = alignment.token_texts(rendering.text, tokens)
    return result
