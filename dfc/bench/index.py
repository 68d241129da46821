"""The pass over all features against encoding alone, what evidence reads, and writing the store against the pass."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfc.activations import documents as stored
from dfc.activations import manifest, shards
from dfc.activations.loader import kept_rows
from dfc.activations.manifest import Manifest, ShardFacts, SideFacts
from dfc.activations.shards import ActivationStore
from dfc.bench import large_store
from dfc.bench.figures import Figure
from dfc.config import SIDES, CrosscoderConfig
from dfc.crosscoder.model import Crosscoder
from dfc.evidence import moments
from dfc.features import coactivation, encoding, statistics
from dfc.features.codes import CodesOnDisk
from dfc.store.writer import StoreWriter

WIDTHS = (576, 640)
FEATURES, K = 16_384, 64
PAIRS, SHARD_PAIRS, DOCUMENT_PAIRS = 65_536, 8_192, 256
_BATCH, _SOURCES = 2_048, 8
_TARGET, _WRITING = 1.5, 1.0


def run() -> list[Figure]:
    """Seconds of processor time at 16,384 features and 65,536 pairs, of which a twentieth is held out."""
    return measure(FEATURES, K, PAIRS, SHARD_PAIRS)


def measure(features: int, k: int, pairs: int, shard_pairs: int) -> list[Figure]:
    """The same at other sizes."""
    with tempfile.TemporaryDirectory() as folder:
        crosscoder, store = _synthetic(Path(folder), features, k, pairs, shard_pairs)
        started = time.process_time()
        for shard in range(len(store)):
            encoding.encode_shard(crosscoder, kept_rows(store, shard), _BATCH)
        alone, started = time.process_time() - started, time.process_time()
        codes = CodesOnDisk(Path(folder) / "codes", crosscoder, store)
        for shard in range(len(store)):
            encoding.write_shard(codes.folder, crosscoder, kept_rows(store, shard), _BATCH, "bench")
        kept, started = time.process_time() - started, time.process_time()
        source_of = np.arange(pairs // DOCUMENT_PAIRS) % _SOURCES
        collected = statistics.collect(codes, source_of, _SOURCES, top=20)
        counted, started = time.process_time() - started, time.process_time()
        coactivation.strongest(coactivation.sample(codes, pairs), 10)
        partners, started = time.process_time() - started, time.process_time()
        for _ in moments.stored_rows(codes, source_of, _SOURCES, _BATCH).batches:
            pass
        batches = time.process_time() - started
        written = _writing(Path(folder) / "features.duckdb", features)
    whole = kept + counted + partners
    return [
        Figure("activations a pair", float(collected.count.sum() / collected.pairs), ""),
        Figure("encoding alone", alone, "s"),
        Figure("encoding, codes on disk, held-out pairs explained", kept, "s", "encoding alone", kept / alone),
        Figure("statistics from the codes", counted, "s", "encoding alone", counted / alone),
        Figure("partners", partners, "s", "encoding alone", partners / alone),
        Figure("rows and codes of the evidence's batches", batches, "s", "encoding alone", batches / alone),
        Figure("the whole pass", whole, "s", "encoding alone", whole / alone, _TARGET),
        Figure("writing the store", written, "s", "the whole pass", written / whole, _WRITING),
    ]


def _writing(path: Path, features: int) -> float:
    """Seconds of processor time to write a store of so many features with every table, invented ones.

    They depend on the number of features and of their contexts, not on that of the pairs, unlike the pass's.
    """
    seconds = 0.0
    with StoreWriter(path) as writer:
        for table, rows in large_store.pieces(writer.columns, features):
            started = time.process_time()
            writer.append(table, rows)
            seconds += time.process_time() - started
        started = time.process_time()
    return seconds + time.process_time() - started


def _synthetic(folder: Path, features: int, k: int, pairs: int, shard_pairs: int) -> tuple[Crosscoder, ActivationStore]:
    """Sums of a few decoder vectors, common and rare (Zipf), and a crosscoder whose thresholds keep about k."""
    torch.manual_seed(0)
    crosscoder = Crosscoder(CrosscoderConfig(features=features, k=k), WIDTHS)
    crosscoder.initialise(0, torch.zeros(sum(WIDTHS)))
    vectors = torch.zeros(features, sum(WIDTHS))
    for side, columns in (("a", slice(0, WIDTHS[0])), ("b", slice(WIDTHS[0], None))):
        ids, own = crosscoder.decoder_vectors("a" if side == "a" else "b")
        vectors[ids, columns] = own
    chances = 1 / (20 + torch.randperm(features).float())

    def rows(count: int) -> Tensor:
        chosen = torch.multinomial(chances, count * k, replacement=True).view(count, k)
        weights = torch.rand(count, k) + 0.5
        return torch.nn.functional.embedding_bag(chosen, vectors, per_sample_weights=weights, mode="sum")

    x = rows(min(1_024, pairs))
    for part in crosscoder.parts:
        scores = torch.cat([scores for _, _, scores in crosscoder.blocks(part, crosscoder.seen(x))], dim=1).flatten()
        wanted = max(1, round(len(x) * k * len(part) / features))
        part.threshold.copy_(scores.kthvalue(max(1, len(scores) - wanted)).values)
    facts = []
    for shard in range(pairs // shard_pairs):
        numbers = np.arange(shard * shard_pairs, (shard + 1) * shard_pairs, DOCUMENT_PAIRS) // DOCUMENT_PAIRS
        cuts = np.arange(0, shard_pairs + 1, DOCUMENT_PAIRS)
        index = (np.tile(np.arange(DOCUMENT_PAIRS), len(numbers)), cuts)
        tokens = shards.tokens_table(
            document=numbers,
            held_out=numbers % 20 == 0,
            **dict.fromkeys(("ids_a", "ids_b", "lengths_a", "lengths_b", "index_a", "index_b", "ends"), index),
            **dict.fromkeys(("text_a", "text_b"), [None] * len(numbers)),
            roles=(np.repeat(numbers % len(stored.ROLES), DOCUMENT_PAIRS), cuts),
        )
        shards.write_tokens(folder, shard, tokens)
        held_out = int(np.sum(numbers % 20 == 0)) * DOCUMENT_PAIRS
        facts.append(ShardFacts(shard_pairs, shard_pairs - held_out, held_out))
        made = rows(shard_pairs).split(WIDTHS, dim=1)
        for side, own in zip(SIDES, made, strict=True):
            shards.write_rows(folder, side, shard, own)
    a, b = (SideFacts("", "", None, "", "", "", False, 0, 1, width, "float32", 1.0, 1e9, 1.0) for width in WIDTHS)
    manifest.write(folder, Manifest(a, b, 0, tuple(facts)))
    return crosscoder, ActivationStore(folder)
