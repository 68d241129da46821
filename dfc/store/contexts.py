"""How a context is packed into a row of the table `contexts`, and what it is to its readers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfc.config import Side

COLUMNS = pa.schema(
    {
        "feature_id": pa.int32(),
        "band": pa.int8(),
        "rank": pa.int16(),
        "document": pa.int32(),
        "source": pa.string(),
        "role": pa.string(),
        "start": pa.int32(),
        "stop": pa.int32(),
        "peak": pa.float32(),
        "peak_a": pa.int16(),
        "peak_b": pa.int16(),
        "text_a": pa.string(),
        "text_b": pa.string(),
        "lengths_a": pa.list_(pa.uint16()),
        "lengths_b": pa.list_(pa.uint16()),
        "unknown_a": pa.list_(pa.uint16()),
        "unknown_b": pa.list_(pa.uint16()),
        "fired": pa.list_(pa.uint16()),
        "activations": pa.list_(pa.float32()),
    }
)
"""Columns of the table; schema.sql says what each means."""


@dataclass(frozen=True)
class Context:
    """One stretch of a document on which a feature fires, in both tokenisations.

    `activations_*[i]` is the feature's activation on `tokens_*[i]`, None where that token is not paired. The stretch
    covers the characters from `start` to `stop` of the document's content; `role` says who speaks at its peak.
    """

    feature_id: int
    band: int
    rank: int
    document: int
    source: str
    peak: float
    tokens_a: list[str]
    tokens_b: list[str]
    activations_a: list[float | None]
    activations_b: list[float | None]
    peak_a: int
    peak_b: int
    role: str
    start: int
    stop: int

    @property
    def number(self) -> int:
        """What it is called among the contexts of its feature: its band and its rank there in one."""
        return self.band * 10_000 + self.rank


def set_apart(rank: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Which of a feature's strongest contexts are not looked at for words that they have in common, every third: its
    label is tested on them, and the table `phrases` does not count them."""
    return rank % 3 == 2


def unpacked(row: dict[str, Any]) -> Context:
    """The context in a row of the table."""
    values = dict(zip(row["fired"], row["activations"], strict=True))
    text_b = row["text_a"] if row["text_b"] is None else row["text_b"]
    plain = ("feature_id", "band", "rank", "document", "source", "peak", "peak_a", "peak_b", "role", "start", "stop")
    return Context(
        **{name: row[name] for name in plain},
        tokens_a=_cut(row["text_a"], row["lengths_a"]),
        tokens_b=_cut(text_b, row["lengths_b"]),
        activations_a=_spread(values, len(row["lengths_a"]), row["unknown_a"]),
        activations_b=_spread(values, len(row["lengths_b"]), row["unknown_b"]),
    )


def token_texts(table: pa.Table, side: Side) -> pa.ListArray:
    """The tokens of every context of a table with COLUMNS in one model's tokenisation; no text is copied."""
    text, lengths = table["text_a"].combine_chunks(), table[f"lengths_{side}"].combine_chunks()
    if side == "b":
        text = table["text_b"].fill_null(table["text_a"]).combine_chunks()
    content = np.frombuffer(text.buffers()[2] or b"", dtype=np.uint8)
    begins = np.frombuffer(text.buffers()[1], dtype=np.int32)[text.offset :][[0, len(text)]] if len(text) else (0, 0)
    # UTF-8: a character begins at every byte that does not go on with one.
    characters = begins[0] + np.flatnonzero(content[begins[0] : begins[1]] & 0xC0 != 0x80)
    ends = np.append(0, np.cumsum(lengths.flatten().to_numpy(), dtype=np.int64))
    places = np.append(characters, begins[1])[ends].astype(np.int32)
    tokens = pa.StringArray.from_buffers(len(places) - 1, pa.py_buffer(places), text.buffers()[2])
    counts = np.append(0, np.cumsum(lengths.value_lengths().to_numpy())).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(counts), tokens)


def _cut(text: str, lengths: list[int]) -> list[str]:
    return [text[start:end] for start, end in pairwise(accumulate(lengths, initial=0))]


def _spread(values: dict[int, float], tokens: int, unknown: list[int]) -> list[float | None]:
    """The activation on each token: the n-th that is known is the n-th pair."""
    spread: list[float | None] = [values.get(pair, 0.0) for pair in range(tokens - len(unknown))]
    for token in unknown:  # from the first: each takes its place among those before it
        spread.insert(token, None)
    return spread
