"""Texts about which a judge is asked: where a feature fires, and where it surely does not.

All are cut alike out of the documents that the run was made of, as far around a pair as contexts are. Where a feature
fires the store knows. Where it does not is found out: random stretches of the corpus are encoded.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from dfc.activations import documents as stored
from dfc.activations import shards
from dfc.activations.shards import ActivationStore
from dfc.config import Side
from dfc.crosscoder import model as crosscoder_model
from dfc.machine import devices, progress
from dfc.report.heatmap import side_of
from dfc.runs import Run
from dfc.screen.questions import Shown
from dfc.store.reader import Context, FeatureRow, Store

SHOWN = 10
"""Texts that are explained."""
TESTED = 10
"""Texts of each kind by which an explanation is tested."""
POOL = 240
"""Random stretches of the corpus among which texts are looked for in which a feature does not fire."""
_SHARDS = 4  # that these are drawn from
_CHARACTERS = 700  # of a text
_STRONG = 0.5  # of a context's peak: from which activation on a token is named
_TOKENS = 10  # that a decoder vector promotes, and suppresses
_SEED = 0


@dataclass(frozen=True)
class Material:
    """What a judge is asked about one feature.

    Attributes:
        feature_id, fingerprint: which.
        shown: texts that are explained.
        lens: what it makes more and less likely, by model.
        texts: by which the explanation is tested, those in which it fires among the others.
        fires: of each of these, whether it does.
        held_out: of those in which it fires, how many are of documents that were kept out of training.
    """

    feature_id: int
    fingerprint: str
    shown: tuple[Shown, ...]
    lens: dict[str, dict[str, list[str]]]
    texts: tuple[str, ...]
    fires: tuple[bool, ...]
    held_out: int


@dataclass(frozen=True)
class Stretch:
    """A random stretch of the corpus, and which features fire in it."""

    document: int
    text: str
    features: frozenset[int]


def gather(run: Run, features: Sequence[int]) -> tuple[Material, ...]:
    """The texts for some features, in their order; the same ones whenever they are asked for.

    Raises:
        UserError: if the run has not all features, or its activations or texts are not there.
    """
    store, documents = Store(run.store), stored.read(run)
    pool = stretches(run, documents)
    return tuple(_material(store, store.feature(one), documents, pool) for one in features)


def stretches(run: Run, documents: pa.Table, size: int = POOL) -> tuple[Stretch, ...]:
    """Random stretches of the corpus, of as many documents as may be, and which features fire in them."""
    settings, activations = run.config(), ActivationStore(run.activations)
    device = devices.pick("auto")
    crosscoder = crosscoder_model.load(run.crosscoder).to(device)
    draw = np.random.default_rng(_SEED)
    chosen = sorted(draw.permutation(len(activations))[:_SHARDS].tolist())
    found: list[Stretch] = []
    seen: set[str] = set()
    with progress.bar("judge: other texts", len(chosen), "shards") as bar:
        for place, shard in enumerate(chosen):
            rows = activations.rows(shard)
            kept = activations.keep(shard, rows)
            wanted = -(-(size - len(found)) // (len(chosen) - place))
            at = _spread(draw, np.flatnonzero(kept), rows.document, wanted)
            spans = _spans(rows, at, settings.index.pairs_before, settings.index.pairs_after)
            inside = [np.flatnonzero(kept[start:stop]) + start for start, stop, *_ in spans]
            x = activations.raw(shard)[torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *inside]))]
            codes = crosscoder.encode((x.float() * activations.column_scale()).to(device))
            owner = np.repeat(np.arange(len(inside)), [len(one) for one in inside])[codes.rows.cpu().numpy()]
            fired = codes.features.cpu().numpy()
            for number, (_, _, begin, end) in enumerate(spans):
                document = int(rows.document[at[number]])
                text = cut(documents, document, begin, end)
                if text.strip() and text not in seen:
                    seen.add(text)
                    found.append(Stretch(document, text, frozenset(fired[owner == number].tolist())))
            bar.update()
    return tuple(found)


def cut(documents: pa.Table, number: int, start: int, stop: int) -> str:
    """Some characters of a document's content, the last where there are too many: peaks are near the end."""
    content = "".join(turn.content for turn in stored.document(documents, number).turns)
    return content[max(start, stop - _CHARACTERS) : stop]


def _spread(
    draw: np.random.Generator, rows: npt.NDArray[np.int64], document: npt.NDArray[np.int32], most: int
) -> npt.NDArray[np.int64]:
    """So many rows, drawn at random, increasing: one of each document, and further ones where there are too few."""
    order = draw.permutation(rows)
    first = np.zeros(len(order), dtype=bool)
    first[np.unique(document[order], return_index=True)[1]] = True
    return np.sort(np.concatenate([order[first], order[~first]])[:most])


def _spans(rows: shards.Rows, at: npt.NDArray[np.int64], before: int, after: int) -> list[tuple[int, int, int, int]]:
    """First row, end, and the characters of the document from and to which each reaches, as contexts do."""
    starts = np.flatnonzero(shards.breaks(rows))
    number = np.searchsorted(starts, at, side="right") - 1
    begins, ends = starts[number], np.append(starts, len(rows))[number + 1]
    first, stop = np.maximum(begins, at - before), np.minimum(ends, at + after + 1)
    opens = np.searchsorted(rows.document, rows.document[at])
    since = np.where(first == opens, 0, rows.end[first - 1])
    return list(zip(first.tolist(), stop.tolist(), since.tolist(), rows.end[stop - 1].tolist(), strict=True))


def _material(store: Store, feature: FeatureRow, documents: pa.Table, pool: Sequence[Stretch]) -> Material:
    identity, side = feature.feature_id, side_of(feature.partition)
    everything = store.contexts(identity)
    quoted = {one.number: cut(documents, one.document, one.start, one.stop) for one in everything}
    contexts = apart(everything, quoted)
    held = set(np.flatnonzero(documents["held_out"].to_numpy()).tolist())
    tested, shown = divided(contexts, held)
    own, seen = {one.document for one in contexts}, set(quoted.values())
    silent = [one for one in pool if identity not in one.features and one.text not in seen]
    draw = random.Random(f"{_SEED}/{feature.fingerprint}")
    draw.shuffle(silent)
    silent.sort(key=lambda one: one.document in own)  # of other documents first
    mixed = [(quoted[one.number], True) for one in tested] + [(one.text, False) for one in silent[:TESTED]]
    draw.shuffle(mixed)
    return Material(
        identity,
        feature.fingerprint,
        tuple(Shown(quoted[one.number], _fires_on(one, side)) for one in shown),
        _lens(store, identity),
        tuple(text for text, _ in mixed),
        tuple(fires for _, fires in mixed),
        sum(one.document in held for one in tested),
    )


def divided(contexts: Sequence[Context], held_out: set[int]) -> tuple[list[Context], list[Context]]:
    """Contexts by which an explanation is tested, and those that are explained; no text is both.

    Of each other document one, the strongest first. The test has those of documents kept out of training first, then
    every second one of the others, at most TESTED and half of all.
    """
    strongest = list(contexts[: TESTED + SHOWN])
    most = min(TESTED, len(strongest) // 2)
    order = [one for one in strongest if one.document in held_out]
    rest = [one for one in strongest if one.document not in held_out]
    tested = (order + rest[1::2] + rest[::2])[:most]
    return tested, [one for one in strongest if one not in tested][:SHOWN]


def apart(contexts: Sequence[Context], quoted: Mapping[int, str]) -> list[Context]:
    """The strongest context of each document, and of those that read the same one; `quoted` has texts by number."""
    documents, texts, kept = set[int](), set[str](), list[Context]()
    for context in contexts:
        text = quoted[context.number]
        if text.strip() and context.document not in documents and text not in texts:
            kept.append(context)
        documents.add(context.document)
        texts.add(text)
    return kept


def _fires_on(context: Context, side: Side) -> tuple[str, ...]:
    """The stretches of tokens on which it is at least half as strong as at its peak."""
    tokens, values = (
        (context.tokens_a, context.activations_a) if side == "a" else (context.tokens_b, context.activations_b)
    )
    runs: list[str] = []
    joined = False
    for token, value in zip(tokens, values, strict=True):
        strong = (value or 0.0) >= _STRONG * context.peak
        if strong:
            runs[len(runs) - joined :] = [(runs[-1] if joined else "") + token]
        joined = strong
    return tuple(run for run in dict.fromkeys(runs) if run.strip())


def _lens(store: Store, identity: int) -> dict[str, dict[str, list[str]]]:
    words = {"promoted": "more_likely", "suppressed": "less_likely"}
    logits: Any = store.logits(identity)
    return {
        f"model {side.upper()}": {
            words[str(direction)]: group["token"].head(_TOKENS).tolist()
            for direction, group in of_side.groupby("direction")
        }
        for side, of_side in logits.groupby("side")
    }
