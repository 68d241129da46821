"""The documents of a run as they were paired: corpus.parquet, one row a document, its number that of its row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dfc import runs
from dfc.alignment import Pairs
from dfc.config import UserError
from dfc.corpus import PLAIN, THOUGHT, Document, Turn
from dfc.machine import disk

ROLES = (PLAIN, "system", "user", "assistant", THOUGHT)  # a row's role is an index into these
CORPUS_SCHEMA = pa.schema(
    {
        "document": pa.int32(),
        "source": pa.string(),
        "held_out": pa.bool_(),
        "roles": pa.list_(pa.string()),
        "contents": pa.list_(pa.string()),
        "given": pa.string(),  # JSON of what a template is given, where that is more than the turns
    }
)


def read(run: runs.Run) -> pa.Table:
    """All documents of a run.

    Raises:
        UserError: if corpus.parquet is missing or damaged.
    """
    again = f"delete {run.activations} and make both again with `python -m dfc harvest {run.path}`"
    with disk.reading(run.corpus, again):
        return pq.read_table(run.corpus)


def document(table: pa.Table, number: int) -> Document:
    """One of them."""
    row = table.slice(number, 1).to_pylist()[0]
    turns = tuple(Turn(*turn) for turn in zip(row["roles"], row["contents"], strict=True))
    return Document(row["source"], turns, row.get("given") or "")


def find(run: runs.Run, number: int) -> Document:
    """One document of a run, without reading the others.

    Raises:
        UserError: if there is no such document, or corpus.parquet is missing or damaged.
    """
    with disk.reading(run.corpus, f"make it again with `python -m dfc harvest {run.path}`"):
        with pq.ParquetFile(run.corpus) as file:
            count = file.metadata.num_rows
        if 0 <= number < count:
            return document(pq.read_table(run.corpus, filters=[("document", "=", number)]), 0)
    raise UserError(f"document {number} does not exist in this run; its documents are 0 to {count - 1}.")


def row(document: Document, number: int, held_out: bool) -> dict[str, Any]:
    """A document as a row of CORPUS_SCHEMA."""
    return {
        "document": number,
        "source": document.source,
        "held_out": held_out,
        "roles": [turn.role for turn in document.turns],
        "contents": [turn.content for turn in document.turns],
        "given": document.given or None,
    }


def roles_of(documents: Sequence[Document], pairs: Pairs) -> npt.NDArray[np.int8]:
    """Who says each pair of these documents, as indices into ROLES, (pairs,)."""
    turns = [turn for document in documents for turn in document.turns]
    roles = np.array([ROLES.index(turn.role) for turn in turns], dtype=np.int8)
    until = np.cumsum([len(turn.content) for turn in turns])  # as if all were one document
    lengths = np.array([sum(len(turn.content) for turn in document.turns) for document in documents])
    origin = np.repeat(np.cumsum(lengths) - lengths, np.diff(pairs.first))
    return roles[np.searchsorted(until, origin + pairs.ends)]


def write(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a part of corpus.parquet."""
    with disk.replacing(path) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=CORPUS_SCHEMA), temporary, compression="zstd")


def merge(parts: Sequence[Path], path: Path) -> None:
    """Join parts of corpus.parquet, in their order, one of them in memory at a time."""
    with disk.replacing(path) as temporary, pq.ParquetWriter(temporary, CORPUS_SCHEMA, compression="zstd") as writer:
        for part in parts:
            writer.write_table(pq.read_table(part))
