"""Run both models over the corpus and write their paired activations.

Two stages. `pair` draws documents from the sources, tokenises them for both models and
pairs the tokens. `harvest` runs each model on its own, one after the other, up to its
site. Both write shard by shard: what was written before an interruption stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import blake2b
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from dfc import alignment, corpus, models, progress, runs
from dfc.activations import shards
from dfc.activations.shards import Manifest, ShardFacts, SideFacts
from dfc.alignment import Pairs, Tokens
from dfc.config import SIDES, CorpusConfig, RunConfig, Side, UserError
from dfc.corpus import Document
from dfc.runs import Run

_DOCUMENTS_AT_ONCE = 4
CORPUS_SCHEMA = pa.schema(
    {
        "document": pa.int32(),
        "source": pa.string(),
        "held_out": pa.bool_(),
        "roles": pa.list_(pa.string()),
        "contents": pa.list_(pa.string()),
    }
)


def pair(run: Run) -> None:
    """Draw documents until there are enough pairs; write corpus.parquet and the shards' tokens.

    Sources are mixed so that their pairs are in the ratio of their weights, until one after another runs dry.

    Raises:
        UserError: if a source cannot be read, or no two tokens can be paired.
    """
    config = run.config()
    lengths = {side: models.describe(config.models.side(side)).max_tokens for side in SIDES}
    opened = corpus.open_sources(config.corpus)
    sources = {name: source.documents for name, source in opened.items()}
    run.corpus.unlink(missing_ok=True)  # first: without it, this stage is not done
    shutil.rmtree(run.activations, ignore_errors=True)
    documents: list[dict[str, object]] = []
    pending: list[dict[str, object]] = []  # documents of the shard that is being filled
    total = in_shard = shard = 0
    with progress.bar("pairing tokens", config.corpus.pairs, "pairs") as bar:
        for document, a, b, pairs in _paired_documents(config, sources, lengths):
            place = {"document": len(documents), "held_out": _is_held_out(len(documents), config.corpus)}
            roles, contents = [turn.role for turn in document.turns], [turn.content for turn in document.turns]
            documents.append({**place, "source": document.source, "roles": roles, "contents": contents})
            indices = {"index_a": pairs.index_a, "index_b": pairs.index_b, "ends": pairs.ends}
            pending.append({**place, "ids_a": a.ids, "ids_b": b.ids, **indices})
            in_shard += len(pairs.ends)
            total += len(pairs.ends)
            bar.update(len(pairs.ends))
            if in_shard >= config.harvest.shard_pairs:
                _write_tokens(run, shard, pending)
                pending, in_shard, shard = [], 0, shard + 1
            if total >= config.corpus.pairs:
                break
    if in_shard:
        _write_tokens(run, shard, pending)
    if total == 0:
        raise UserError(f"{run.path}: no token of either model could be paired; are the corpus's documents empty?")
    with runs.replacing(run.corpus) as temporary:
        pq.write_table(pa.Table.from_pylist(documents, schema=CORPUS_SCHEMA), temporary, compression="zstd")
    for name, source in opened.items():
        if source.left_out.rows:
            progress.say(f"corpus source `{name}`: left out {source.left_out_in_words()}")
    left_out = {name: asdict(source.left_out) for name, source in opened.items()}
    runs.record(run, "pair", documents=len(documents), pairs=total, left_out=left_out)


def harvest(run: Run) -> None:
    """Run both models over the paired documents and write the activation store.

    Raises:
        UserError: if a model does not load or has no such layer.
    """
    config = run.config()
    described = {side: models.describe(config.models.side(side)) for side in SIDES}
    origins = [
        shards.flatten(shards.read_tokens(run.activations, shard))
        for shard in range(len(list((run.activations / "tokens").glob("*.parquet"))))
    ]
    for side in SIDES:
        missing = [
            shard
            for shard, rows in enumerate(origins)
            if not shards.is_whole(run.activations, side, shard, len(rows.end), described[side].width)
        ]
        if missing:
            _harvest_side(run, side, models.load(config.models.side(side)), missing, len(origins), config)
    shards.write_manifest(run.activations, _manifest(run, config, described, origins))
    runs.record(run, "harvest", models=config.models.model_dump(mode="json"))


def _paired_documents(
    config: RunConfig, sources: dict[str, Iterator[Document]], lengths: dict[Side, int]
) -> Iterator[tuple[Document, Tokens, Tokens, Pairs]]:
    """Documents with both models' tokens, from the source that lags most behind its weight, until all run dry."""
    tokenizers = {side: models.load_tokenizer(config.models.side(side)) for side in SIDES}
    weights = {source.name: source.weight for source in config.corpus.sources}
    given = dict.fromkeys(sources, 0)
    while sources:
        name = min(sources, key=lambda source: given[source] / weights[source])
        batch = list(islice(sources[name], _DOCUMENTS_AT_ONCE))
        if not batch:
            del sources[name]
            continue
        tokens = {}
        for side, tokenizer in tokenizers.items():
            renderings = [corpus.render(document, tokenizer) for document in batch]
            tokens[side] = alignment.tokenize(renderings, tokenizer, lengths[side])
        for document, a, b in zip(batch, tokens["a"], tokens["b"], strict=True):
            pairs = alignment.align(a, b)
            given[name] += len(pairs.ends)
            yield document, a, b, pairs


def _is_held_out(document: int, config: CorpusConfig) -> bool:
    """Drawn by a hash, so that it does not depend on what else is in the corpus."""
    digest = blake2b(f"{config.seed}/{document}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < config.held_out * 2**32


def _write_tokens(run: Run, shard: int, rows: list[dict[str, object]]) -> None:
    with runs.replacing(shards.tokens_path(run.activations, shard)) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=shards.TOKENS_SCHEMA), temporary, compression="zstd")


def _harvest_side(
    run: Run, side: Side, model: models.LoadedModel, missing: list[int], count: int, config: RunConfig
) -> None:
    """Write one model's rows for the shards that miss them."""
    sizes = [
        int(np.sum(_lengths(shards.read_tokens(run.activations, shard, [f"ids_{side}"])[0]))) for shard in range(count)
    ]
    done = sum(size for shard, size in enumerate(sizes) if shard not in set(missing))
    with progress.bar(f"reading {model.title}"[:22], sum(sizes), "tokens", done) as bar, model.stream_reader() as read:
        for shard in missing:
            tokens = shards.read_tokens(run.activations, shard)
            ids = [np.asarray(row) for row in tokens[f"ids_{side}"].to_pylist()]
            paired = [np.asarray(row, dtype=np.int64) for row in tokens[f"index_{side}"].to_pylist()]
            first_row = np.concatenate([[0], np.cumsum([len(index) for index in paired])])
            rows = torch.empty(int(first_row[-1]), model.width, dtype=torch.bfloat16)
            for batch in _batches([len(sequence) for sequence in ids], config.harvest.batch_tokens):
                stream = read(*_pad([ids[i] for i in batch], model.device))
                for place, document in enumerate(batch):
                    start, stop = int(first_row[document]), int(first_row[document + 1])
                    index = torch.from_numpy(paired[document]).to(stream.device)
                    rows[start:stop] = stream[place, index].to(torch.bfloat16).cpu()
                bar.update(sum(len(ids[i]) for i in batch))
            shards.write_rows(run.activations, side, shard, rows)


def _lengths(lists: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return np.diff(lists.combine_chunks().offsets.to_numpy())


def _batches(lengths: list[int], batch_tokens: int) -> Iterator[list[int]]:
    """Documents of like length together, at most `batch_tokens` tokens each, padding included; empty ones left out."""
    batch: list[int] = []
    for document in sorted((i for i, length in enumerate(lengths) if length), key=lambda i: lengths[i]):
        if batch and (len(batch) + 1) * lengths[document] > batch_tokens:
            yield batch
            batch = []
        batch.append(document)
    if batch:
        yield batch


def _pad(sequences: list[npt.NDArray[np.int64]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Ids and attention mask, padded on the right (on the left, learned positions would shift)."""
    length = max(len(sequence) for sequence in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.from_numpy(sequence)
        mask[row, : len(sequence)] = 1
    return ids.to(device), mask.to(device)


def _manifest(
    run: Run, config: RunConfig, described: dict[Side, models.Description], origins: list[shards.Rows]
) -> Manifest:
    """Medians, scales and the outliers' limits from the norms of all rows."""
    late = np.concatenate([np.minimum(r.index_a, r.index_b) >= config.harvest.skip_first for r in origins])
    target = np.sqrt(sum(model.width for model in described.values()) / 2)
    sides: dict[Side, SideFacts] = {}
    for side in SIDES:
        norms = np.concatenate(
            [shards.read_norms(run.activations, side, shard, len(rows.end)) for shard, rows in enumerate(origins)]
        )
        usable = norms[late & np.isfinite(norms)]
        if not len(usable):
            raise UserError(
                f"{run.path}: every pair of model {side.upper()} lies in the first {config.harvest.skip_first} tokens "
                f"or is not finite; use longer texts, or dtype float32 or bfloat16."
            )
        median = float(np.median(usable))
        model = config.models.side(side)
        sides[side] = SideFacts(
            name=model.title,
            source=model.source,
            revision=described[side].revision,
            layer=model.layer,
            layers=described[side].layers,
            width=described[side].width,
            dtype=model.dtype,
            median_norm=median,
            norm_limit=median * config.harvest.outlier_factor,
            scale=float(target) / median,
        )
    limits = sides["a"].norm_limit, sides["b"].norm_limit
    listed = []
    for shard, rows in enumerate(origins):
        keep = shards.keep_mask(run.activations, shard, rows, config.harvest.skip_first, limits)
        held_out = int((keep & rows.held_out).sum())
        listed.append(ShardFacts(len(keep), int(keep.sum()) - held_out, held_out))
    return Manifest(sides["a"], sides["b"], config.harvest.skip_first, tuple(listed))
