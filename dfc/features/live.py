"""Encode a text while somebody waits: both models read it, and the run's crosscoder says what fires where.

The figures are those that the index holds for the same document, since everything is done as harvesting does it: the
same template, tokens and cut, the stream up to the same block, the same pairs left out, and each row rounded as the
store keeps it before it is scaled and encoded. One difference is left. Harvesting read several documents in one batch,
of which the float32 sums of a product depend by a millionth or so; a coordinate that lies between two bfloat16 values
may then be rounded the other way, by 2⁻⁸ of itself. On the demo run 4 of 10,000 coordinates are; of 113,000
activations of 25 documents none came, or went, or moved by more than 0.0008 of itself or of 1. Without the rounding
single activations near the threshold differ by up to a tenth. An int8 store is met as closely where the shard is known
whose factors its rows were stored with; a text that is not stored takes those of the first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import torch
from torch import Tensor

from dfc import alignment, corpus, models
from dfc.activations import batches, pairing, shards
from dfc.activations import documents as stored
from dfc.activations.manifest import Manifest
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, RunConfig, Side, UserError
from dfc.corpus import Document, Encoding, Rendering, Tally
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Crosscoder
from dfc.models import LoadedModel
from dfc.runs import Run
from dfc.store.reader import Context

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Report = Callable[[str], object]

FIRST, LEAD, OUTLIER, NOT_FINITE = 1, 2, 3, 4
"""Why a pair does not count: at a first position, in a lead-in, of outlying norm, not finite; 0: it counts."""
_LOCK_SECONDS = 0.2  # between two looks at a model that somebody else uses


@dataclass(frozen=True, eq=False)
class Live:
    """A run, ready to read texts: both models, the crosscoder, and what its activations were brought to."""

    run: Run
    config: RunConfig
    manifest: Manifest
    crosscoder: Crosscoder
    models: dict[Side, LoadedModel]


@dataclass(frozen=True, eq=False)
class Reading:
    """A document under both models, and what fires on it.

    Attributes:
        source: of the document.
        tokens: text of each token under each model.
        index: the paired tokens of each model, (pairs,); increasing, unless a template reorders turns.
        ids: of the same tokens.
        why: why each pair does not count, (pairs,); 0 of those that do.
        kept: which pairs count, (pairs,): no first positions, no outliers, nothing that is not finite.
        cut: the models for which the text was too long, so that its end was not read.
        rows, features, values: one entry an activation, sorted by feature and row; `rows` are numbers of pairs.
    """

    source: str
    tokens: dict[Side, list[str]]
    index: dict[Side, Ints]
    kept: npt.NDArray[np.bool_]
    cut: tuple[Side, ...]
    rows: Ints
    features: Ints
    values: Floats
    ids: dict[Side, list[int]]
    why: npt.NDArray[np.uint8]

    @property
    def pairs(self) -> int:
        return len(self.kept)

    def activations(self, feature: int) -> Floats:
        """One feature on every pair, (pairs,); NaN on those that do not count."""
        activations = np.where(self.kept, np.float32(0), np.float32(np.nan))
        first, last = np.searchsorted(self.features, [feature, feature + 1])
        activations[self.rows[first:last]] = self.values[first:last]
        return activations

    def context(self, feature: int) -> Context:
        """One feature on the whole text, as the index keeps its contexts."""
        values = self.activations(feature)
        return self.spread(values, feature)

    def spread(self, values: Floats, feature: int = -1) -> Context:
        """A value a pair, (pairs,), NaN where there is none, on the tokens of both models."""
        peak = int(np.nan_to_num(values, nan=-1.0).argmax()) if self.pairs else 0
        activations: dict[Side, list[float | None]] = {}
        for side in SIDES:
            activations[side] = [None] * len(self.tokens[side])
            for token, value in zip(self.index[side].tolist(), values.tolist(), strict=True):
                activations[side][token] = None if value != value else value
        fires = self.pairs and values[peak] > 0
        return Context(
            feature_id=feature,
            band=0,
            rank=0,
            document=-1,
            source=self.source,
            role="",
            start=0,
            stop=0,
            peak=float(values[peak]) if fires else 0.0,
            tokens_a=self.tokens["a"],
            tokens_b=self.tokens["b"],
            activations_a=activations["a"],
            activations_b=activations["b"],
            peak_a=int(self.index["a"][peak]) if fires else -1,
            peak_b=int(self.index["b"][peak]) if fires else -1,
        )


def nothing(message: str) -> None:
    """Report to nobody."""


def open_run(run: Run, report: Report = nothing) -> Live:
    """Load what reading needs, each part once in this process.

    Args:
        run: whose models and crosscoder.
        report: told what is being waited for.

    Raises:
        UserError: if a model does not load, or the run's activations or crosscoder are not there.
    """
    config = run.config()
    manifest = ActivationStore(run.activations).manifest
    crosscoder = _shared_crosscoder(run)
    loaded: dict[Side, LoadedModel] = {}
    for side in SIDES:
        report(f"Loading {config.models.side(side).title} …")
        loaded[side] = models.shared(config.models.side(side))
    return Live(run, config, manifest, crosscoder, loaded)


def prompt(turns: Sequence[tuple[str, str]]) -> Document:
    """Turns, (role, text), as a document; as in a corpus, white space around each goes, and turns without words do.

    Raises:
        UserError: if nothing is left.
    """
    messages = [{"role": role, "content": text} for role, text in ((r, corpus.clean(t)) for r, t in turns) if text]
    document = corpus.of_messages("prompt", messages)
    if document is None:
        raise UserError("there is nothing to read; type a text, or give a turn of the chat some words.")
    return document


def shard_of(run: Run, document: int) -> int:
    """The shard in which a document of the run is stored; 0 for what is not stored."""
    ends = np.cumsum(pairing.read_position(run).shards)
    return int(np.searchsorted(ends, document, side="right")) if 0 <= document < (ends[-1] if len(ends) else 0) else 0


def read(live: Live, document: Document, report: Report = nothing, shard: int = 0, lead: int = 0) -> Reading:
    """Run both models over a document and encode its pairs.

    Args:
        live: from `open_run`.
        document: a plain text or a chat, see `prompt`.
        report: told what is being waited for.
        shard: whose factors an int8 store would round the rows with.
        lead: characters at the beginning of the document's content that are read, but do not count.

    Raises:
        UserError: if a device has no memory for the document.
    """
    given = {}
    for side in SIDES:
        model = live.models[side]
        rendering = corpus.render(document, model.tokenizer, moment=model.config.date)
        given[side] = rendering, corpus.encode([rendering], model.tokenizer, model.max_tokens)[0]
    [reading] = _read(live, [_tokenised(live, document, given, lead)], report, shard)
    return reading


def read_together(
    live: Live,
    documents: Sequence[tuple[str, Document]],
    noted: Mapping[Side, Tally],
    report: Report = nothing,
    leads: Sequence[int] = (),
) -> list[Reading]:
    """The same of several documents, read together; one that a model's template refuses has no pairs.

    Args:
        live: from `open_run`.
        documents: each with its place, as people are told it.
        noted: grows by what each model is given otherwise than it stands in the documents.
        report: told what is being waited for.
        leads: of each, the characters at its beginning that are read, but do not count; none without.

    Raises:
        UserError: if a device has no memory for one of them.
    """
    given: dict[Side, list[tuple[Rendering, Encoding]]] = {}
    for side in SIDES:
        model = live.models[side]
        renderings, encodings = corpus.give(
            documents, model.tokenizer, noted[side], moment=model.config.date, max_tokens=model.max_tokens
        )
        given[side] = list(zip(renderings, encodings, strict=True))
    tokenised = [
        _tokenised(live, document, {side: given[side][number] for side in SIDES}, leads[number] if leads else 0)
        for number, (_, document) in enumerate(documents)
    ]
    return _read(live, tokenised, report)


def read_stored(live: Live, number: int, report: Report = nothing) -> Reading:
    """The same of a document of the run, with the tokens and pairs that are stored of it.

    Raises:
        UserError: if there is no such document, what is stored is damaged or of another version, or a device has no
            memory for it.
    """
    document = stored.find(live.run, number)
    shard = shard_of(live.run, number)
    table = shards.read_shown(live.run.activations, shard)
    [row] = table.filter(pc.equal(table["document"], number)).to_pylist()
    ids: dict[Side, list[int]] = {}
    texts, index, cut = {}, {}, []
    for side in SIDES:
        text = row[f"text_{side}"]
        text = "".join(turn.content for turn in document.turns) if text is None else text
        until = list(accumulate(row[f"lengths_{side}"], initial=0))
        texts[side] = [text[start:end] for start, end in pairwise(until)]
        ids[side], index[side] = row[f"ids_{side}"], np.array(row[f"index_{side}"], dtype=np.int64)
        if len(ids[side]) == live.models[side].max_tokens and until[-1] < len(text.rstrip()):
            cut.append(side)
    led = np.zeros(len(index["a"]), np.bool_)
    [reading] = _read(live, [_Tokenised(document.source, ids, texts, index, tuple(cut), led)], report, shard)
    return reading


@dataclass(frozen=True, eq=False)
class _Tokenised:
    """A document whose tokens are known; attributes as of `Reading`, `led` the pairs of its lead-in, (pairs,)."""

    source: str
    ids: dict[Side, list[int]]
    texts: dict[Side, list[str]]
    index: dict[Side, Ints]
    cut: tuple[Side, ...]
    led: npt.NDArray[np.bool_]


def _tokenised(
    live: Live, document: Document, given: Mapping[Side, tuple[Rendering, Encoding]], lead: int = 0
) -> _Tokenised:
    """A document's tokens and pairs, from what each model is given of it."""
    tokens, texts, cut = {}, {}, []
    for side, (rendering, encoding) in given.items():
        model = live.models[side]
        tokens[side] = alignment.tokens_of([rendering], [encoding], model.tokenizer)
        texts[side] = alignment.token_texts(rendering.text, tokens[side])
        if len(tokens[side].ids) == model.max_tokens and tokens[side].ends.max() < len(rendering.text.rstrip()):
            cut.append(side)
    pairs = alignment.align(tokens["a"], tokens["b"])
    ids = {side: tokens[side].ids.tolist() for side in SIDES}
    index: dict[Side, Ints] = {"a": pairs.index_a, "b": pairs.index_b}
    return _Tokenised(document.source, ids, texts, index, tuple(cut), pairs.ends <= lead)


@torch.no_grad()
def _read(live: Live, documents: Sequence[_Tokenised], report: Report, shard: int = 0) -> list[Reading]:
    """What fires on the pairs of documents, which each model reads together."""
    streams = {side: _streams(live, side, documents, report) for side in SIDES}
    return [
        _coded(live, document, {side: streams[side][number] for side in SIDES}, shard)
        for number, document in enumerate(documents)
    ]


def _coded(live: Live, document: _Tokenised, streams: Mapping[Side, Tensor], shard: int) -> Reading:
    """What fires on a document's pairs, whose streams are known, each (pairs, width)."""
    index, why = document.index, np.zeros(len(document.led), np.uint8)
    why[np.minimum(index["a"], index["b"]) < live.manifest.skip_first] = FIRST
    why[document.led] = LEAD
    rows = []
    for side in SIDES:
        norms = streams[side].norm(dim=1).numpy()
        why[(why == 0) & (norms > live.manifest.side(side).norm_limit)] = OUTLIER
        why[(why == 0) & ~np.isfinite(norms)] = NOT_FINITE
        rows.append(shards.as_stored(live.run.activations, side, shard, streams[side]))
    kept = why == 0
    chosen = np.flatnonzero(kept)
    codes = live.crosscoder.encode(live.crosscoder.scaled(torch.cat(rows, dim=1)[torch.from_numpy(chosen)]))
    at, features = chosen[codes.rows.numpy()], codes.features.numpy()
    order = np.lexsort((at, features))
    return Reading(
        document.source,
        document.texts,
        index,
        kept,
        document.cut,
        at[order],
        features[order],
        codes.values.numpy()[order],
        document.ids,
        why,
    )


def _streams(live: Live, side: Side, documents: Sequence[_Tokenised], report: Report) -> Sequence[Tensor]:
    """One model's stream on its paired tokens of each document, (pairs, width) float32."""
    model = live.models[side]
    ids, paired = [one.ids[side] for one in documents], [one.index[side].tolist() for one in documents]
    if not any(ids):  # of chats that the model's template refuses
        return [torch.zeros(0, model.width) for _ in documents]
    with held(model, report):
        report(f"{model.title} reads the text …")
        read, limit = partial(model.streams, [model.layer]), batches.Limit(live.config.harvest, model)
        [rows] = batches.paired_rows(ids, paired, read, limit, model, lambda count: None)
    return rows.split([len(places) for places in paired])


@contextmanager
def held(model: LoadedModel, report: Report) -> Iterator[None]:
    """The model for this thread alone; while somebody else has it, that is reported again and again."""
    while not model.lock.acquire(timeout=_LOCK_SECONDS):
        report(f"Somebody else is using {model.title}; waiting …")
    try:
        yield
    finally:
        model.lock.release()


_crosscoders: dict[Run, tuple[int, Crosscoder]] = {}
_crosscoders_lock = threading.Lock()


def _shared_crosscoder(run: Run) -> Crosscoder:
    """The run's crosscoder; only that of the run read last is kept, since one may fill much of the memory."""
    path = run.crosscoder / "model.safetensors"
    with _crosscoders_lock:
        stamp = path.stat().st_mtime_ns if path.exists() else 0
        known = _crosscoders.get(run)
        if known is None or known[0] != stamp:
            _crosscoders.clear()
            known = _crosscoders[run] = stamp, crosscoder_model.load(run.crosscoder)
        return known[1]
