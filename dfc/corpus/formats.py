"""Files of every format that is read, compressed or not: what rows they hold, each with its place.

A row may still be what is to be parsed or read: a line of JSON, or the file of a whole text. Nothing is unpickled.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfc.config import SourceConfig
from dfc.corpus import chats, csv_rows, encodings, files, json_rows
from dfc.corpus.encodings import Encoding
from dfc.corpus.tally import Tally, Unusable
from dfc.machine import pointers

UNREADABLE = (ValueError, OverflowError, KeyError, pa.ArrowException)  # no Python form: no UTF-8, a key twice
_TABLE_ROWS = 256  # rows of long documents at once
_MARGIN = 1 << 16  # bytes of a text that are read beyond what its characters may take

Features = Mapping[str, Any] | list[Any] | None


@dataclass(frozen=True)
class Text:
    """A file that is one text and is not read yet."""

    file: Path
    place: str


def read(file: Path, place: str, source: SourceConfig, noted: Tally) -> Iterator[tuple[str, Any]]:
    """(place, row) of each row of a file: its value, or Unusable; a str is a line of JSON, a Text a file of one text.

    Raises:
        OSError, ArrowException: if it is damaged.
        UserError: if it is one JSON value, too large to hold.
    """
    kind = files.kind_of(file)
    if pointers.is_one(file):
        yield place, Unusable("not read", "a pointer of Git LFS; fetch the file with `git lfs pull`")
    elif kind == ".parquet":
        yield from _parquet_rows(file, place, source)
    elif kind in (".arrow", ".feather"):
        yield from _arrow_rows(file, place, source)
    elif kind not in files.HELD:
        yield place, Text(file, place)
    elif (encoding := encodings.detect(partial(files.opened, file))) is None:
        yield place, Unusable("encoding")
    else:
        _note(encoding, place, noted)
        rows = csv_rows.read if kind in (".csv", ".tsv") else json_rows.read
        if not encoding.broken:
            yield from rows(file, place, encoding, source)
            return
        for at, row in rows(file, place, encoding, source):
            yield at, Unusable("encoding") if files.is_broken(row) else row


def whole_text(raw: Text, source: SourceConfig, characters: int, noted: Tally) -> Any:
    """The row that a file of one text is; only about so many characters are read.

    Raises:
        OSError: if it is gone or damaged.
    """
    with closing(files.opened(raw.file)) as file:
        content = file.read(4 * characters + _MARGIN)
        is_cut = bool(file.read(1))
    encoding = encodings.detect(lambda: io.BytesIO(content), is_cut)
    if encoding is None or encoding.broken:
        return Unusable("encoding")
    _note(encoding, raw.place, noted)
    return {source.text: content.decode(encoding.name, "ignore" if is_cut else "strict").lstrip()[:characters]}


def meant(value: Any, features: Features) -> Any:
    """A value of a table of the library `datasets`, as its features mean it: names for labels, JSON read."""
    if value is None or features is None:
        return value
    if isinstance(features, list):
        return [meant(item, features[0]) for item in value] if features else value
    match features.get("_type"):
        case "ClassLabel":
            names = features.get("names") or []
            return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
        case "Json":
            read = json_rows.parsed(value) if isinstance(value, str) else value
            return value if isinstance(read, Unusable) else read
        case "List" | "LargeList" | "Sequence" if isinstance(value, list):
            return [meant(item, features.get("feature")) for item in value]
        case "Sequence" if isinstance(value, dict):
            inner = features.get("feature") or {}
            return {key: [meant(item, inner.get(key)) for item in items or []] for key, items in value.items()}
        case None if isinstance(value, dict):
            return {key: meant(item, features.get(key)) for key, item in value.items()}
    return value


def python_rows(batch: pa.RecordBatch | pa.Table, features: Features = None) -> list[Any]:
    """The rows of a table as Python has them; one that cannot be had is Unusable."""
    try:
        batch.validate(full=True)  # damaged offsets would be followed anywhere
        return [meant(row, features) for row in batch.to_pylist(maps_as_pydicts="strict")]
    except UNREADABLE:
        if len(batch) == 1:
            return [Unusable("bad row", "damaged, no UTF-8, or a map with a key twice")]
        return [row for at in range(len(batch)) for row in python_rows(batch.slice(at, 1), features)]


def columns(names: list[str], source: SourceConfig) -> list[str]:
    """Those columns of a table that documents are made from, or all if there are none."""
    wanted = {name.casefold() for name in chats.fields(source)}
    return [name for name in names if name.strip().casefold() in wanted] or names


def features_of(schema: pa.Schema) -> Features:
    """The features that `datasets` has written into a table, if it has."""
    try:
        described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return described if isinstance(described, dict) else None


def _note(encoding: Encoding, place: str, noted: Tally) -> None:
    if encoding.confidence is not None:
        noted.add("guessed", place, encoding.in_words)


def _parquet_rows(file: Path, place: str, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    with closing(files.opened(file)) as opened:
        packed = file.suffix.lower() in files.COMPRESSED
        with pq.ParquetFile(io.BytesIO(opened.read()) if packed else opened) as table:
            wanted, features = columns(table.schema_arrow.names, source), features_of(table.schema_arrow)
            batches = table.iter_batches(batch_size=_TABLE_ROWS, columns=wanted)
            yield from _numbered(place, (row for batch in batches for row in python_rows(batch, features)))


def _arrow_rows(file: Path, place: str, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    """Rows of an Arrow file, or of a stream, as `datasets` keeps it."""
    packed = file.suffix.lower() in files.COMPRESSED
    with closing(files.opened(file)) as opened:
        start = opened.read(6)
        content = pa.py_buffer(start + opened.read()) if packed else pa.memory_map(str(file))
    if start.startswith(b"FEA1"):
        yield place, Unusable("not read", "Feather V1; write it as Parquet")
        return
    open_table: Callable[[Any], Any] = pa.ipc.open_file if start == b"ARROW1" else pa.ipc.open_stream
    with open_table(content) as table:
        wanted, features = columns(table.schema.names, source), features_of(table.schema)
        read_all = (
            (table.get_batch(number) for number in range(table.num_record_batches))
            if hasattr(table, "num_record_batches")
            else iter(table)
        )
        parts = (batch.slice(at, _TABLE_ROWS) for batch in read_all for at in range(0, len(batch), _TABLE_ROWS))
        yield from _numbered(place, (row for part in parts for row in python_rows(part.select(wanted), features)))


def _numbered(place: str, rows: Iterator[Any]) -> Iterator[tuple[str, Any]]:
    for number, row in enumerate(rows):
        yield f"{place} row {number}", row
