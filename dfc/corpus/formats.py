"""Files of every format that is read, compressed or not: what rows they hold, each with its place.

A row may still be what is to be parsed or read: a line of JSON, or the file of a whole text. Nothing is unpickled.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfc.config import SourceConfig, UserError
from dfc.corpus import chats, encodings, splits
from dfc.corpus.encodings import Encoding
from dfc.corpus.tally import Tally, Unusable

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".txt", ".text", ".md")
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
HELD = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")  # of many rows, held whole to be shuffled if they are small
HELD_BYTES = 512 * 2**20
UNREADABLE = (ValueError, OverflowError, pa.ArrowException)  # of a value without a Python form, e.g. not UTF-8
_TABLE_ROWS = 256  # rows of long documents at once
_CSV_FIELD = 2**24  # a quote that is never closed ends here
_PACKED = 8  # how many times as large a compressed file is taken to be
_ESCAPED = re.compile("[\udc80-\udcff]")  # what stands for a byte that is no character
_MARGIN = 1 << 16  # bytes of a text that are read beyond what its characters may take

Features = Mapping[str, Any] | list[Any] | None


@dataclass(frozen=True)
class Text:
    """A file that is one text and is not read yet."""

    file: Path
    place: str


def kind_of(file: Path) -> str:
    """Which of KINDS a file is, by the end of its name, in small letters and without that of its compression."""
    name = file.with_suffix("") if file.suffix.lower() in COMPRESSED else file
    return name.suffix.lower()


def size_of(file: Path) -> int:
    """Bytes that a file holds, about."""
    return file.stat().st_size * (_PACKED if file.suffix.lower() in COMPRESSED else 1)


def read(file: Path, place: str, source: SourceConfig, noted: Tally) -> Iterator[tuple[str, Any]]:
    """(place, row) of each row of a file: its value, or Unusable; a str is a line of JSON, a Text a file of one text.

    Raises:
        OSError, ArrowException: if it is damaged.
        UserError: if it is one JSON value, too large to hold.
    """
    kind = kind_of(file)
    if kind == ".parquet":
        yield from _parquet_rows(file, place, source)
    elif kind in (".arrow", ".feather"):
        yield from _arrow_rows(file, place, source)
    elif kind not in HELD:
        yield place, Text(file, place)
    elif (encoding := encodings.detect(partial(_opened, file))) is None:
        yield place, Unusable("encoding")
    else:
        _note(encoding, place, noted)
        rows = _csv_rows if kind in (".csv", ".tsv") else _json_rows
        if not encoding.broken:
            yield from rows(file, place, encoding, source)
            return
        for at, row in rows(file, place, encoding, source):
            yield at, Unusable("encoding") if _is_broken(row) else row


def whole_text(raw: Text, source: SourceConfig, characters: int, noted: Tally) -> Any:
    """The row that a file of one text is; only about so many characters are read.

    Raises:
        OSError: if it is gone or damaged.
    """
    with closing(_opened(raw.file)) as file:
        content = file.read(4 * characters + _MARGIN)
        is_cut = bool(file.read(1))
    encoding = encodings.detect(lambda: io.BytesIO(content), is_cut)
    if encoding is None or encoding.broken:
        return Unusable("encoding")
    _note(encoding, raw.place, noted)
    return {source.text: content.decode(encoding.name, "ignore" if is_cut else "strict").lstrip()[:characters]}


def parsed(text: str) -> Any:
    """What JSON holds, or Unusable."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, a number too long, brackets too deep
        return Unusable("bad row", f"no JSON: {str(error).splitlines()[0]:.60}")


def named(value: Any, features: Features) -> Any:
    """A value of a table of the library `datasets`, as its features mean it: names for labels, JSON read."""
    if value is None or features is None:
        return value
    if isinstance(features, list):
        return [named(item, features[0]) for item in value] if features else value
    match features.get("_type"):
        case "ClassLabel":
            names = features.get("names") or []
            return names[value] if isinstance(value, int) and 0 <= value < len(names) else value
        case "Json":
            read = parsed(value) if isinstance(value, str) else value
            return value if isinstance(read, Unusable) else read
        case "List" | "LargeList" | "Sequence" if isinstance(value, list):
            return [named(item, features.get("feature")) for item in value]
        case "Sequence" if isinstance(value, dict):
            inner = features.get("feature") or {}
            return {key: [named(item, inner.get(key)) for item in items or []] for key, items in value.items()}
        case None if isinstance(value, dict):
            return {key: named(item, features.get(key)) for key, item in value.items()}
    return value


def python_rows(batch: pa.RecordBatch | pa.Table, features: Features = None) -> list[Any]:
    """The rows of a table as Python has them; one that cannot be had is Unusable."""
    try:
        batch.validate(full=True)  # damaged offsets would be followed anywhere
        return [named(row, features) for row in batch.to_pylist()]
    except UNREADABLE:
        if len(batch) == 1:
            return [Unusable("bad row", "damaged or no UTF-8")]
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


def _opened(file: Path) -> IO[bytes]:
    codec = COMPRESSED.get(file.suffix.lower())
    if codec is None:
        return file.open("rb")
    return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(file)), codec), 1 << 20)


@contextmanager
def _lines(file: Path, encoding: Encoding, newline: str | None = None) -> Iterator[io.TextIOWrapper]:
    errors = "surrogateescape" if encoding.broken else "strict"
    with ExitStack() as stack:
        opened = stack.enter_context(closing(_opened(file)))
        name = "utf-8-sig" if encoding.name == "utf-8" else encoding.name
        yield stack.enter_context(io.TextIOWrapper(opened, name, errors, newline))


def _note(encoding: Encoding, place: str, noted: Tally) -> None:
    if encoding.confidence is not None:
        noted.add("guessed", place, f"{encoding.name}, confidence {encoding.confidence:.2f}")


def _is_broken(row: Any) -> bool:
    """Whether a row holds bytes that are no characters."""
    texts = [row] if isinstance(row, str) else list(row.values()) if isinstance(row, dict) else []
    return any(_ESCAPED.search(text) for text in texts if isinstance(text, str))


def _json_rows(file: Path, place: str, encoding: Encoding, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    """A value a line; or the values of a file that holds one, or several over several lines."""
    if kind_of(file) == ".json" and size_of(file) > HELD_BYTES:
        _refuse_a_list(file, encoding, source)
    with _lines(file, encoding) as lines:
        at, start = next(((at, line) for at, line in enumerate(lines, 1) if line.strip()), (0, ""))
        if not at:
            return
        first = parsed(start)
        by_line = not isinstance(first, Unusable) and any(line.strip() for line in lines)
    if not by_line:
        values: list[Any] | None = [first]
        if isinstance(first, Unusable):
            values = _values(file, encoding) if size_of(file) <= HELD_BYTES else None
        if values is not None:
            for number, value in enumerate(values):
                of_value = f"{place} value {number}" if len(values) > 1 else place
                if kind_of(file) != ".json" and not isinstance(first, Unusable):
                    of_value = f"{place}:{at}"
                for row_place, row in _of_the_split(value, of_value, source):
                    yield row_place, {source.text: row} if isinstance(row, str) else row
            return
        if kind_of(file) == ".json" and not _has_objects(file, encoding):
            yield place, first
            return
    splits.refuse(source)
    with _lines(file, encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{place}:{number}", line


def _refuse_a_list(file: Path, encoding: Encoding, source: SourceConfig) -> None:
    with _lines(file, encoding) as lines:
        if lines.read(1024).lstrip().startswith("["):
            raise UserError(
                f"corpus source `{source.name}`: {file}: is one JSON list, too large to hold; "
                f"write each of its items on a line of a .jsonl file."
            )


def _values(file: Path, encoding: Encoding) -> list[Any] | None:
    """The values that a file holds one after another, whatever lines they are on; None if it is not that."""
    with _lines(file, encoding) as lines:
        text = lines.read()
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        found.append(value)
    return found


def _has_objects(file: Path, encoding: Encoding) -> bool:
    """Whether some line of a file is an object of its own, as in JSON Lines of which others are broken."""
    with _lines(file, encoding) as lines:
        return any(line.lstrip().startswith("{") and isinstance(parsed(line), dict) for line in lines)


def _of_the_split(value: Any, place: str, source: SourceConfig) -> list[tuple[str, Any]]:
    """The rows of a JSON value, of the split that is asked for where its keys are splits.

    Raises:
        UserError: if there are none, and one is asked for.
    """
    chosen = splits.in_object(value, source, place) if isinstance(value, dict) else None
    if chosen is None:
        splits.refuse(source)
        return _rows_in(value, place, source)
    found: list[tuple[str, Any]] = []
    for at, rows in chosen:
        found += [(at, rows)] if isinstance(rows, Unusable) else _rows_in(rows, at, source)
    return found


def _rows_in(value: Any, place: str, source: SourceConfig) -> list[tuple[str, Any]]:
    """The rows of a JSON value: its items, those of the lists in it, of a map, or of its columns; or it is one row."""
    if isinstance(value, list):
        if chats.is_chat(value):
            return [(place, value)]
        return [(f"{place} item {number}", item) for number, item in enumerate(value)]
    if not isinstance(value, dict) or chats.is_row(value, source):
        return [(place, value)]
    wanted = {name.casefold() for name in chats.fields(source)}
    by_column = any(name.strip().casefold() in wanted for name in value)
    items = list(value.values())
    if by_column and _are_columns(items):
        keys = [list(item) if isinstance(item, dict) else list(range(len(item))) for item in items]
        return [
            (f"{place} row {number}", {name: column[keys[0][number]] for name, column in value.items()})
            for number in range(len(keys[0]))
        ]
    if items and all(isinstance(item, dict) for item in items):
        return [(f"{place} `{name:.40}`", item) for name, item in value.items()]
    lists = {name: item for name, item in value.items() if isinstance(item, list) and _holds_rows(item)}
    if len(value) == 1 and isinstance(items[0], list):
        lists = value
    if lists and not by_column:
        return [row for name, rows in lists.items() for row in _rows_in(rows, f"{place} `{name:.40}`", source)]
    return [(place, value)]


def _are_columns(items: list[Any]) -> bool:
    """Whether these are lists of one length, or maps of the same keys, as pandas writes them."""
    if not items:
        return False
    if all(isinstance(item, dict) for item in items):
        return all(item.keys() == items[0].keys() for item in items)
    return all(isinstance(item, list) and len(item) == len(items[0]) for item in items)


def _holds_rows(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict | list) for item in items)


def _csv_rows(file: Path, place: str, encoding: Encoding, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(_CSV_FIELD)  # the module's own limit is shorter than many documents
    with _lines(file, encoding, newline="") as handle:
        delimiter = _delimiter(handle, kind_of(file), source)
    with _lines(file, encoding, newline="") as handle:
        reader = csv.DictReader(handle, delimiter=delimiter)
        while True:
            line = max(reader.line_num, 1) + 1  # where the row begins: it may go over several lines
            row: Any
            try:
                row = next(reader)
                if None in row:  # more cells than the header has
                    cells = len(row) - 1 + len(row[None])
                    row = Unusable("bad row", f"{cells} cells under a header of {len(row) - 1}")
            except StopIteration:
                return
            except csv.Error as error:
                row = Unusable("bad row", f"no CSV: {str(error)[:60]}")
            yield f"{place}:{line}", row


def _delimiter(handle: IO[str], kind: str, source: SourceConfig) -> str:
    """What stands between the names of the first line, so that a wanted one is among them, and as many as can be."""
    wanted = {name.casefold() for name in chats.fields(source)}
    header = handle.readline(_CSV_FIELD)
    usual = "\t,;|" if kind == ".tsv" else ",;\t|"

    def names(delimiter: str) -> list[str]:
        try:
            return next(csv.reader([header], delimiter=delimiter), [])
        except csv.Error:
            return []

    def fit(delimiter: str) -> tuple[bool, int]:
        found = names(delimiter)
        return any(name.strip().casefold() in wanted for name in found), len(found)

    return max(usual, key=fit)  # of those that fit alike, the first


def _parquet_rows(file: Path, place: str, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    with closing(_opened(file)) as opened:
        packed = file.suffix.lower() in COMPRESSED
        with pq.ParquetFile(io.BytesIO(opened.read()) if packed else opened) as table:
            wanted, features = columns(table.schema_arrow.names, source), features_of(table.schema_arrow)
            batches = table.iter_batches(batch_size=_TABLE_ROWS, columns=wanted)
            yield from _numbered(place, (row for batch in batches for row in python_rows(batch, features)))


def _arrow_rows(file: Path, place: str, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    """Rows of an Arrow file, or of a stream, as `datasets` keeps it."""
    packed = file.suffix.lower() in COMPRESSED
    with closing(_opened(file)) as opened:
        start = opened.read(6)
        content = pa.py_buffer(start + opened.read()) if packed else pa.memory_map(str(file))
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
