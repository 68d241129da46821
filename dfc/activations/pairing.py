"""Draw documents from the sources, tokenise them for both models, and pair the tokens.

A stage of its own, since it needs tokenizers alone. It writes shard by shard and notes how
far each source was read, so that after an interruption it goes on where it was.
"""

from __future__ import annotations

import shutil
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from transformers import PreTrainedTokenizerBase

from dfc import alignment, corpus, models, runs
from dfc.activations import documents as stored
from dfc.activations import shards
from dfc.alignment import Pairs, Tokens
from dfc.config import SIDES, CorpusConfig, ModelConfig, RunConfig, SettingsError, Side, UserError, dump
from dfc.corpus import Document, Tally
from dfc.machine import disk, progress
from dfc.runs import Run

_DOCUMENTS_AT_ONCE = 4


@dataclass
class Position:
    """How far pairing is.

    Attributes:
        shards: documents in each shard that was written.
        taken, pairs: documents taken from each source, and pairs found in them.
        noted: what each model was given otherwise than it stands in the documents; None: an older version did not say.
        sources: what of each source was left out and what was noted, once all is paired.
    """

    shards: list[int] = field(default_factory=list)
    taken: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, int] = field(default_factory=dict)
    noted: dict[Side, Tally] | None = field(default_factory=lambda: {side: Tally() for side in SIDES})
    sources: dict[str, dict[str, Tally]] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """Pairs in all."""
        return sum(self.pairs.values())


class Pairer:
    """Pairs the tokens of documents under both models' tokenizers, each cut to what its model reads.

    `noted` grows meanwhile: what each model was given otherwise than it stands in the documents. `dates` are the times
    that their templates are told; None where they do not ask.

    Raises:
        UserError: if a tokenizer does not load, or a model has no such layer.
    """

    def __init__(self, config: RunConfig) -> None:
        self._corpus = config.corpus
        self._lengths = {side: models.describe(config.models.side(side)).max_tokens for side in SIDES}
        self._tokenizers = {side: models.load_tokenizer(config.models.side(side)) for side in SIDES}
        self.dates = {side: _date(config.models.side(side), self._tokenizers[side]) for side in SIDES}
        self.noted: dict[Side, Tally] = {side: Tally() for side in SIDES}

    def tokenizer(self, side: Side) -> PreTrainedTokenizerBase:
        """One model's tokenizer."""
        return self._tokenizers[side]

    def pairs(self, documents: list[Document], first: int = 0) -> tuple[Tokens, Tokens, Pairs]:
        """The documents' tokens under both tokenizers, and their pairs; they are numbered from `first`."""
        a, b, pairs, _ = self._paired(documents, first)
        return a, b, pairs

    def table(self, documents: list[Document], first: int) -> pa.Table:
        """The documents as a table of shards.TOKENS_SCHEMA, numbered from `first`."""
        a, b, pairs, texts = self._paired(documents, first)
        numbers = range(first, first + len(documents))
        return shards.tokens_table(
            document=numbers,
            held_out=[is_held_out(number, self._corpus) for number in numbers],
            ids_a=(a.ids, a.first),
            ids_b=(b.ids, b.first),
            **texts,
            lengths_a=(alignment.text_lengths(a), a.first),
            lengths_b=(alignment.text_lengths(b), b.first),
            index_a=(pairs.index_a, pairs.first),
            index_b=(pairs.index_b, pairs.first),
            ends=(pairs.ends, pairs.first),
            roles=(stored.roles_of(documents, pairs), pairs.first),
        )

    def _paired(
        self, documents: list[Document], first: int
    ) -> tuple[Tokens, Tokens, Pairs, dict[str, list[str | None]]]:
        """Tokens, pairs, and what was tokenised where it is not the content itself."""
        tokens: dict[Side, Tokens] = {}
        texts: dict[str, list[str | None]] = {}
        for side, tokenizer in self._tokenizers.items():
            given, encoded = corpus.give(
                [(_place(number, document), document) for number, document in enumerate(documents, first)],
                tokenizer,
                self.noted[side],
                moment=self.dates[side],
                max_tokens=self._lengths[side],
            )
            tokens[side] = alignment.tokens_of(given, encoded, tokenizer)
            texts[f"text_{side}"] = [
                one.text if document.is_chat else None for document, one in zip(documents, given, strict=True)
            ]
        return tokens["a"], tokens["b"], alignment.align(tokens["a"], tokens["b"]), texts


def pair(run: Run, sites: int = 1) -> None:
    """Draw documents until there are enough pairs; write the shards' tokens, then corpus.parquet.

    Sources are mixed so that their pairs are in the ratio of their weights, until one after another runs dry.

    Args:
        run: its folder.
        sites: runs that will share what is paired; all have to fit on the disk.

    Raises:
        UserError: if a source cannot be read, no two tokens can be paired, no document is held out or all are, or the
            disk is too small.
    """
    config = run.config()
    pairer = Pairer(config)
    keep_dates(run, pairer.dates)
    check_disk(run, sites)
    opened = corpus.open_sources(config.corpus)
    sources = {name: source.documents for name, source in opened.items()}
    run.corpus.unlink(missing_ok=True)  # first: without it, this stage is not done
    position = read_position(run)
    if position.noted is None or not all(part_path(run, shard).exists() for shard in range(len(position.shards))):
        position = Position()  # corpus.parquet was lost: what is drawn again is compared with what is there
    pairer.noted = position.noted or pairer.noted
    skip(sources, position)
    with progress.bar("pairing tokens", config.corpus.pairs, "pairs", position.found) as bar:
        for drawn, tokens in draw(pairer, sources, config, position, enough=config.corpus.pairs):
            shards.write_tokens(run.activations, len(position.shards), tokens)
            stored.write(drawn, part_path(run, len(position.shards)))
            position.shards.append(len(drawn))
            disk.write_json(position_path(run), asdict(position))
            bar.update(position.found - bar.n)
    if not position.found:
        raise UserError(f"{run.path}: no token of either model could be paired; are the corpus's documents empty?")
    _check_held_out(run, len(position.shards))
    stored.merge([part_path(run, shard) for shard in range(len(position.shards))], run.corpus)
    shutil.rmtree(part_path(run, 0).parent)
    position.sources = {name: {"left_out": one.left_out, "noted": one.noted} for name, one in opened.items()}
    disk.write_json(position_path(run), asdict(position))
    for sentence in corpus.remarks(remarks(position), config):
        progress.say(sentence)
    runs.record(run, "pair", documents=sum(position.shards), pairs=position.pairs, **remarks(position))


def keep_dates(run: Run, dates: Mapping[Side, datetime | None]) -> None:
    """Keep in a run's settings what time its models' templates are told, so that they are told the same again."""
    config = run.config()
    if any(config.models.side(side).date != dates[side] for side in SIDES):
        told: dict[str, ModelConfig] = {
            side: config.models.side(side).model_copy(update={"date": dates[side]}) for side in SIDES
        }
        config = config.model_copy(update={"models": config.models.model_copy(update=told)})
        disk.write_text(run.path / "run.yaml", dump(config))


def share(run: Run, others: Sequence[Run]) -> None:
    """Give what was paired for one run to others that differ from it in their layers alone."""
    dates = {side: run.config().models.side(side).date for side in SIDES}
    for other in others:
        keep_dates(other, dates)
        for path in [*sorted((run.activations / "tokens").iterdir()), position_path(run), run.corpus]:
            target = other.path / path.relative_to(run.path)
            with disk.replacing(target) as temporary:
                shutil.copyfile(path, temporary)


def repair(run: Run, shard: int) -> None:
    """Pair the documents of a shard again.

    Raises:
        UserError: if corpus.parquet is damaged, too.
    """
    position = read_position(run)
    first = sum(position.shards[:shard])
    table = stored.read(run)
    documents = [stored.document(table, number) for number in range(first, first + position.shards[shard])]
    shards.write_tokens(run.activations, shard, Pairer(run.config()).table(documents, first))


def read_position(run: Run) -> Position:
    """How far pairing is.

    Raises:
        UserError: if the note of it is damaged.
    """
    path = position_path(run)
    if not path.exists():
        return Position()
    with disk.reading(path, f"delete {run.activations} and run `python -m dfc harvest {run.path}`"):
        content = disk.read_json(path)
        noted = {side: Tally(**content["noted"][side]) for side in SIDES} if "noted" in content else None
        sources = {
            name: {kind: Tally(**tally) for kind, tally in tallies.items()}
            for name, tallies in content.get("sources", {}).items()
        }
        return Position(content["shards"], content["taken"], content["pairs"], noted, sources)


def count_shards(run: Run) -> int:
    """How many shards were paired."""
    return len(read_position(run).shards)


def is_held_out(document: int, config: CorpusConfig) -> bool:
    """Drawn by a hash, so that it does not depend on what else is in the corpus."""
    digest = blake2b(f"{config.seed}/{document}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < config.held_out * 2**32


def check_disk(run: Run, sites: int = 1) -> None:
    """Say how large the activations will be, of so many runs together.

    Raises:
        UserError: if they do not fit on the disk.
    """
    config = run.config()
    a, b = (models.describe(config.models.side(side)).width for side in SIDES)
    needed = sites * shards.predicted_bytes(config.corpus.pairs, (a, b), config.harvest.format)
    there = sum(path.stat().st_size for path in run.activations.rglob("*") if path.is_file())
    free = shutil.disk_usage(run.path).free
    progress.say(f"activations of {config.corpus.pairs:,} pairs take about {_size(needed)}; {_size(free)} are free")
    if needed - there > free:
        raise UserError(
            f"{run.path}: activations of {config.corpus.pairs:,} pairs need about {_size(needed)}, {_size(free)} are "
            f"free on this disk; lower corpus.pairs, set `harvest.format: int8`, or set DFC_DATA to another disk."
        )


def remarks(position: Position) -> dict[str, Any]:
    """What was left out and given otherwise, as plain values: {left_out: {source}, noted: {source}, models: {side}}."""
    by_kind = {
        kind: {name: asdict(tallies[kind]) for name, tallies in position.sources.items()}
        for kind in ("left_out", "noted")
    }
    return {**by_kind, "models": {side: asdict(tally) for side, tally in (position.noted or {}).items()}}


def _check_held_out(run: Run, count: int) -> None:
    """See that there are pairs to train on and others to measure on, before any model runs.

    Raises:
        UserError: if no document with pairs was held out, or all were.
    """
    found: set[bool] = set()
    for shard in range(count):
        table = shards.read_tokens(run.activations, shard, ["held_out", "ends"])
        found |= set(table["held_out"].filter(pc.greater(pc.list_value_length(table["ends"]), 0)).to_pylist())
        if len(found) == 2:
            return
    which, change = ("all documents were", "lower") if found == {True} else ("no document was", "raise")
    raise UserError(
        f"{run.path}: {which} held out, and some are to train on, others to measure on; add documents or {change} "
        f"corpus.held_out, and delete {run.activations}."
    )


def skip(sources: dict[str, Iterator[Document]], position: Position) -> None:
    """Leave out the documents that were taken already."""
    for name, taken in position.taken.items():
        deque(islice(sources[name], taken), maxlen=0)


def draw(
    pairer: Pairer, sources: dict[str, Iterator[Document]], config: RunConfig, position: Position, enough: float
) -> Iterator[tuple[list[dict[str, Any]], pa.Table]]:
    """Documents and tokens of one shard after another, until there are enough pairs or all sources are dry.

    Documents come from the source that lags most behind its weight. Shards end between two draws, so that what is
    drawn next depends on the position alone, which follows, but for its shards.
    """
    weights = {source.name: source.weight for source in config.corpus.sources}
    position.noted = pairer.noted
    pairs, taken = Counter(position.pairs), Counter(position.taken)
    number = sum(position.shards)
    drawn: list[dict[str, Any]] = []
    tokens: list[pa.Table] = []
    in_shard = 0
    while sources and pairs.total() < enough:
        name = min(sources, key=lambda source: pairs[source] / weights[source])
        documents = list(islice(sources[name], _DOCUMENTS_AT_ONCE))
        if not documents:
            del sources[name]
            continue
        table = pairer.table(documents, number)
        held_out = table["held_out"].to_pylist()
        drawn += [
            stored.row(document, at, out)
            for at, (document, out) in enumerate(zip(documents, held_out, strict=True), number)
        ]
        tokens.append(table)
        number += len(documents)
        new = shards.count_pairs(table)
        pairs[name] += new
        taken[name] += len(documents)
        in_shard += new
        if in_shard >= config.harvest.shard_pairs:
            position.pairs, position.taken = dict(pairs), dict(taken)
            yield drawn, pa.concat_tables(tokens).combine_chunks()
            drawn, tokens, in_shard = [], [], 0
    if in_shard:
        position.pairs, position.taken = dict(pairs), dict(taken)
        yield drawn, pa.concat_tables(tokens).combine_chunks()


def _date(model: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> datetime | None:
    """The time that a model's template is told: that of the settings, or now; None if it does not ask."""
    if corpus.is_dated(tokenizer):
        return model.date or datetime.now().replace(microsecond=0)
    if model.date is not None:
        raise SettingsError(f"{model.title}: has no chat template that asks for a date; take `date` out.")
    return None


def _place(number: int, document: Document) -> str:
    return f"document {number} of `{document.source}`"


def position_path(run: Run) -> Path:
    """Where it is noted how far pairing is."""
    return run.activations / "pairing.json"


def part_path(run: Run, shard: int) -> Path:
    """A shard's documents, until they are joined."""
    return run.activations / "documents" / f"{shard:05d}.parquet"


def _size(number: float) -> str:
    """Bytes for people."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1_000:
            return f"{number:.3g} {unit}"
        number /= 1_000
    return f"{number:.3g} TB"
