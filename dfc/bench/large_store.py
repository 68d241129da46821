"""An invented store of any size, written through the real writer a range of features at a time.

Words follow Zipf's law, two thirds of the documents in letters, a third in Chinese characters; peaks, stretches and
strengths are random, but of the numbers and the lengths that a real run gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dfc.config import PARTITIONS, SIDES, VERDICTS, IndexConfig
from dfc.evidence import reference
from dfc.machine import progress
from dfc.store import attached, columns
from dfc.store.contexts import COLUMNS
from dfc.store.writer import StoreWriter, evidence_writer

SOURCES = ("web", "news", "code", "books", "chats", "reviews")
VALUES: dict[str, Sequence[str]] = {
    "source": SOURCES,
    "main_source": SOURCES,
    "role": ("text", "system", "user", "assistant"),
    "side": SIDES,
    "direction": ("promoted", "suppressed"),
    "neighbours.kind": ("a", "b", "a_to_b", "b_to_a"),
    "phrases.kind": ("token", "phrase"),
    "verdict": VERDICTS,
    "label_origin": ("words",),
}
"""What columns of names hold; a table's rows for one feature go through all combinations."""
ROWS = {
    "features": 1,
    "logits": 80,
    "logit_counts": 2,
    "sources": len(SOURCES),
    "roles": 4,
    "phrases": 12,
    "coactivations": 10,
}
"""Rows a feature of each table whose values nothing else depends on."""
EVIDENCE_ROWS = {"evidence": 1, "neighbours": 20}
"""Likewise of the evidence."""
_RANGE = 2_048  # features written at once, and documents that their contexts come from
_DOCUMENT = 750  # tokens
WORDS, CHARACTERS = 40_000, 8_000
_PAIRS = 96_000_000  # that the facts speak of
_EXCLUSIVE = 0.05  # of all features, in each model
_APART = 128  # features from the first of a finding to the first of the next
_MEMBERS = 5  # of a finding, at most
_LISTS = {"histogram": 64, "quantiles": 6, "peak_tokens": 5, "counts": 48}  # lengths

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Texts:
    """Documents of equal length, all tokens in a row.

    Attributes:
        content: their texts in UTF-8.
        bytes_before, characters_before: what comes before each token of A, (tokens + 1,).
        lengths: characters of each token, by side.
        unknown: numbers of the tokens without a partner, by side.
        until: by side, tokens up to and with each pair's, (pairs + 1,), from 0.
        first: number of each document's first pair, (documents + 1,).
    """

    content: bytes
    bytes_before: Ints
    characters_before: Ints
    lengths: dict[str, Ints]
    unknown: dict[str, Ints]
    until: dict[str, Ints]
    first: Ints


def vocabulary(seed: int = 0) -> list[str]:
    """The tokens: words with a space before them, the commonest first, then Chinese characters, likewise."""
    random = np.random.default_rng(seed)
    letters = np.array(list("etaoinsrhldcumfgpwybvkxjqz"))
    lengths = np.clip(random.poisson(3 + np.log10(np.arange(1, WORDS + 1)) / 2), 1, 14)
    drawn = letters[random.geometric(0.12, size=lengths.sum()) % len(letters) - 1]
    ends = np.cumsum(lengths)
    words = [" " + "".join(drawn[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
    return words + [chr(0x4E00 + code) for code in random.permutation(CHARACTERS)]


def write(path: Path, features: int, seed: int = 0) -> None:
    """Write a store of `features` features, and its evidence, with every table filled.

    Args:
        path: the file, replaced if it exists.
        features: how many; the memory used does not depend on it.
        seed: the same seed writes the same content.
    """
    with StoreWriter(path) as writer:
        writer.facts(_facts(features))
        for table, rows in pieces(writer.columns, features, seed):
            writer.append(table, rows)
    with evidence_writer(attached.evidence_path(path)) as writer:
        writer.facts({"verified": True, "rule": "surprise", "identity": attached.identity(path)})
        for table, rows in _evidence(writer.columns, features, seed):
            writer.append(table, rows)


def pieces(kinds: Callable[[str], Mapping[str, str]], features: int, seed: int = 0) -> Iterator[tuple[str, pa.Table]]:
    """The rows of every table but `run`, a range of features at a time.

    Args:
        kinds: names and SQL types of a table's columns.
        features: how many.
        seed: the same seed gives the same rows.
    """
    random = np.random.default_rng(seed)
    tokens = pa.array(vocabulary(seed))
    config = IndexConfig()
    yield "models", _models()
    with progress.bar("inventing a store", features, "features") as bar:
        for start in range(0, features, _RANGE):
            ids = np.arange(start, min(start + _RANGE, features))
            texts, documents = _texts(random, tokens, ids)
            yield "documents", documents
            yield "contexts", _contexts(random, texts, documents, ids, config)
            for table, each in ROWS.items():
                yield table, _invented(random, table, kinds(table), tokens, ids, each, features)
            bar.update(len(ids))


def _evidence(kinds: Callable[[str], Mapping[str, str]], features: int, seed: int) -> Iterator[tuple[str, pa.Table]]:
    """Likewise of the evidence."""
    random = np.random.default_rng(seed)
    tokens = pa.array(vocabulary(seed))
    for start in range(0, features, _RANGE):
        ids = np.arange(start, min(start + _RANGE, features))
        for table, each in EVIDENCE_ROWS.items():
            yield table, _invented(random, table, kinds(table), tokens, ids, each, features)
    yield "reference", reference.table(reference.distributions(*_measures(random, features)))
    yield "findings", _findings(random, kinds("findings"), tokens, features)


def _texts(random: np.random.Generator, tokens: pa.StringArray, numbers: Ints) -> tuple[_Texts, pa.Table]:
    """Documents with these numbers, and the same as rows of the table."""
    chinese = random.random(len(numbers)) < 1 / 3
    zipf = random.random((len(numbers), _DOCUMENT))
    # The inverse of the distribution function of ranks r with a share of 1 / r.
    ids = np.where(
        chinese[:, None],
        WORDS + (CHARACTERS**zipf).astype(np.int64) - 1,
        (WORDS**zipf).astype(np.int64) - 1,
    ).ravel()
    words = tokens.take(pa.array(ids))
    bytes_before = np.frombuffer(words.buffers()[1], dtype=np.int32).astype(np.int64)
    lengths = np.diff(bytes_before) // np.where(ids >= WORDS, 3, 1)  # bytes of such a Chinese character
    characters_before = np.append(0, np.cumsum(lengths))

    # Some tokens of A are one token with the next in B; some of B's have bytes that are tokens of their own.
    count = len(ids)
    paired = random.random(count) < 0.85
    paired[_DOCUMENT - 1 :: _DOCUMENT] = True
    pairs = np.flatnonzero(paired)
    fragments = (random.random(len(pairs)) < 0.1).astype(np.int64)
    at_b = np.cumsum(fragments + 1) - 1
    lengths_b = np.zeros(at_b[-1] + 1, dtype=np.int64)
    lengths_b[at_b] = np.diff(characters_before[pairs + 1], prepend=0)
    known_b = np.zeros(len(lengths_b), dtype=bool)
    known_b[at_b] = True
    texts = _Texts(
        words.buffers()[2].to_pybytes(),
        bytes_before,
        characters_before,
        {"a": lengths, "b": lengths_b},
        {"a": np.flatnonzero(~paired), "b": np.flatnonzero(~known_b)},
        {"a": np.append(0, pairs + 1), "b": np.append(0, at_b + 1)},
        np.searchsorted(pairs, np.arange(len(numbers) + 1) * _DOCUMENT),
    )
    cuts = pa.py_buffer(bytes_before[::_DOCUMENT].astype(np.int32))
    contents = pa.StringArray.from_buffers(len(numbers), cuts, words.buffers()[2])
    ones = pa.array(np.arange(len(numbers) + 1, dtype=np.int32))
    documents = pa.table(
        {
            "document": numbers,
            "source": pa.array(SOURCES).take(pa.array(random.integers(len(SOURCES), size=len(numbers)))),
            "held_out": random.random(len(numbers)) < 0.1,
            "roles": pa.ListArray.from_arrays(ones, pa.array(["text"] * len(numbers))),
            "contents": pa.ListArray.from_arrays(ones, contents),
        }
    )
    return texts, documents


def _contexts(
    random: np.random.Generator, texts: _Texts, documents: pa.Table, ids: Ints, config: IndexConfig
) -> pa.Table:
    each = config.top_contexts + 4 * config.band_contexts
    band = np.repeat([0, 1, 2, 3, 4], [config.top_contexts, *[config.band_contexts] * 4])
    rank = np.arange(each) - np.searchsorted(band, band)
    count = len(ids) * each
    pair = random.integers(texts.first[-1], size=count)
    document = np.searchsorted(texts.first, pair, side="right") - 1
    first = np.maximum(texts.first[document], pair - config.pairs_before)
    last = np.minimum(texts.first[document + 1], pair + config.pairs_after + 1)
    # Each fires at its peak and on some of the other pairs.
    shape = count, config.pairs_before + config.pairs_after + 1
    fires = (random.random(shape) < 0.1) & (np.arange(shape[1]) < (last - first)[:, None])
    fires[np.arange(count), pair - first] = True
    where, fired = np.nonzero(fires)
    peak = np.sort(random.lognormal(1, 0.5, (len(ids), each)), axis=1)[:, ::-1].ravel()
    begin = texts.until["a"][first], texts.until["a"][last]
    edges = zip(*(texts.bytes_before[side].tolist() for side in begin), strict=True)
    text = pa.array([texts.content[start:stop] for start, stop in edges], pa.binary()).cast(pa.string())
    origin = texts.characters_before[document * _DOCUMENT]
    columns = {
        "feature_id": np.repeat(ids, each),
        "band": np.tile(band, len(ids)),
        "rank": np.tile(rank, len(ids)),
        "document": documents["document"].take(pa.array(document)),
        "source": documents["source"].take(pa.array(document)),
        "role": pa.array(["text"] * count),
        "start": texts.characters_before[begin[0]] - origin,
        "stop": texts.characters_before[begin[1]] - origin,
        "peak": peak,
        "text_a": text,
        # In a tenth, as in chats, the models' renderings differ.
        "text_b": pc.if_else(pa.array(random.random(count) < 0.1), text, None),
        "fired": _lists(fired, np.append(0, np.cumsum(fires.sum(axis=1)))),
        "activations": _lists(peak[where] * random.random(len(where)), np.append(0, np.cumsum(fires.sum(axis=1)))),
    }
    for side in "ab":
        since, until = texts.until[side][first], texts.until[side][last]
        columns[f"peak_{side}"] = texts.until[side][pair + 1] - 1 - since
        columns[f"lengths_{side}"] = _lists(*_taken(texts.lengths[side], since, until))
        unknown, counts = _taken(
            texts.unknown[side], *(np.searchsorted(texts.unknown[side], at) for at in (since, until))
        )
        columns[f"unknown_{side}"] = _lists(unknown - np.repeat(since, np.diff(counts)), counts)
    return pa.table(columns).select(COLUMNS.names).cast(COLUMNS)


def _measures(random: np.random.Generator, features: int) -> tuple[dict[str, Any], Any, Any]:
    """Values of every measure, the partition of each feature, and whether it was judged."""
    partitions = np.array(PARTITIONS)[_partition(np.arange(features), features)]
    drawn = {one.name: random.random(features) ** 2 for one in columns.EVIDENCE if one.kind == "FLOAT"}
    return drawn, partitions, random.random(features) < 0.95


def _findings(
    random: np.random.Generator, columns: Mapping[str, str], tokens: pa.StringArray, features: int
) -> pa.Table:
    """A finding of every so many features: its first one and those after it."""
    first = np.arange(0, features, _APART)
    numbers = first // _APART
    known = {
        "finding": numbers,
        "side": pa.array(SIDES).take(pa.array(_better(first, features))),
        "members": np.minimum(1 + numbers % _MEMBERS, features - first),
        "gap": np.sort(random.random(len(first)))[::-1],
    }
    table = _invented(random, "findings", columns, tokens, first, 1, features)
    return pa.table({name: known.get(name, table[name]) for name in table.column_names})


def _member(feature: Ints) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
    """Number of the finding at or before each feature, its place from the first of it, and whether it is part of it."""
    number, at = np.divmod(feature, _APART)
    return number, at, at <= number % _MEMBERS


def _better(feature: Ints, features: int) -> Ints:
    """Place in SIDES of the model that does better where a feature of a finding fires: that of the finding's first."""
    first = feature // _APART * _APART
    partition = _partition(first, features)
    return np.where(partition < len(SIDES), partition, first // _APART % len(SIDES))


def _partition(feature: Ints, features: int) -> Ints:
    """Place in PARTITIONS of each feature's partition."""
    exclusive = int(_EXCLUSIVE * features)
    return np.searchsorted([exclusive, 2 * exclusive], feature, side="right")


def _invented(
    random: np.random.Generator,
    table: str,
    columns: Mapping[str, str],
    tokens: pa.StringArray,
    ids: Ints,
    each: int,
    features: int,
) -> pa.Table:
    """`each` rows for each feature of a table with these columns, by name and type; what is not named is random."""
    count, place = len(ids) * each, np.tile(np.arange(each), len(ids))
    feature = np.repeat(ids, each)
    arrays: dict[str, Any] = {}
    step = 1  # rows of a feature after which the next column of names goes on
    for name, kind in columns.items():
        names = VALUES.get(name) or VALUES.get(f"{table}.{name}")
        if names is not None:
            arrays[name] = pa.array(names).take(pa.array(place // step % len(names)))
            step *= len(names)
        elif name == "feature_id":
            arrays[name] = feature
        elif name == "partition":
            arrays[name] = pa.array(PARTITIONS).take(pa.array(_partition(feature, features)))
        elif name in ("finding", "place") and table == "evidence":
            number, at, within = _member(feature)
            arrays[name] = pa.array(number if name == "finding" else at, mask=~within)
        elif name == "knows":
            within = _member(feature)[-1]
            arrays[name] = pc.if_else(pa.array(within), pa.array(SIDES).take(pa.array(_better(feature, features))), "")
        elif name == "rank":
            arrays[name] = place // step
        elif name == "least":  # of a distribution whose most is above 0
            arrays[name] = -_values(random, kind, tokens, count, features)
        elif kind.endswith("[]"):
            length = _LISTS[name]
            values = _values(random, kind[:-2], tokens, count * length, features)
            arrays[name] = _lists(values, np.arange(count + 1) * length)
        else:
            arrays[name] = _values(random, kind, tokens, count, features)
    return pa.table(arrays)


def _values(random: np.random.Generator, kind: str, tokens: pa.StringArray, count: int, features: int) -> Any:
    if kind == "BOOLEAN":
        return random.random(count) < 0.95
    if kind == "VARCHAR":
        return tokens.take(pa.array(random.integers(len(tokens), size=count)))
    if kind == "BIGINT":
        return (1e5 ** random.random(count)).astype(np.int64)  # counts, as many small as large
    if kind in ("INTEGER", "SMALLINT"):
        return random.integers(min(features, 1 << 15) if kind == "SMALLINT" else features, size=count)
    assert kind in ("FLOAT", "DOUBLE"), kind
    return random.random(count) ** 2


def _models() -> pa.Table:
    named = [{"side": side, "name": f"invented-{side}", "source": "none"} for side in SIDES]
    sizes: dict[str, Any] = {"layer": 16, "layers": 32, "width": 4_096, "scale": [0.1] * 4_096, "fve": 0.7}
    return pa.Table.from_pylist([{**names, **sizes} for names in named])


def _facts(features: int) -> dict[str, Any]:
    each = ("fve_a", "fve_b", "alive_a", "alive_b", "alive_shared")
    return {
        "name": "invented",
        "kind": "dfc",
        "features": features,
        "k": 200,
        **dict.fromkeys(each, 0.7),
        **dict.fromkeys(("variance_a", "variance_b"), 4_096.0),
        "l0": 200.0,
        **{f"l0_{partition}": 20.0 if partition != "shared" else 160.0 for partition in PARTITIONS},
        "pairs": _PAIRS,
        "kept_pairs": _PAIRS,
        "dropped_pairs": 0,
        "documents": _PAIRS // _DOCUMENT,
        "held_out_documents": _PAIRS // _DOCUMENT // 10,
        "histogram_edges": np.exp2(np.arange(-24, 41) / 4).tolist(),
        "source_pairs": dict.fromkeys(SOURCES, _PAIRS // len(SOURCES)),
        "role_pairs": dict.fromkeys(VALUES["role"], _PAIRS // len(VALUES["role"])),
    }


def _runs(starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    """The numbers from each start to each stop, one run after another, and where the runs begin, (runs + 1,)."""
    offsets = np.append(0, np.cumsum(stops - starts))
    return np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], stops - starts), offsets


def _taken(values: Ints, starts: Ints, stops: Ints) -> tuple[Ints, Ints]:
    numbers, offsets = _runs(starts, stops)
    return values[numbers], offsets


def _lists(values: Any, offsets: Ints) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), pa.array(values))
