"""Rows of files, folders and datasets, each with its place, in an order drawn with a seed.

Memory stays bounded: lines of text files are all held to be shuffled up to 512 MB; above that, for Parquet and on the
hub, rows are drawn from a moving window of 10,000. Nothing is unpickled.
"""

from __future__ import annotations

import csv
import glob
import json
import os
import random
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dfc import runs
from dfc.config import MemoryShortError, MissingError, SourceConfig, UserError, shipped
from dfc.machine import memory

KINDS = (".jsonl", ".json", ".parquet", ".csv", ".txt", ".md")
CHATS = ("conversations", "conversation")  # usual fields of a chat, beside the one that is configured
_SAVED = ("dataset_dict.json", "dataset_info.json", "state.json")  # what datasets.save_to_disk leaves in its folder
_HELD = (".jsonl", ".json", ".csv")  # text files of many rows; of .txt and .md only the names are held
_HELD_BYTES = 512 * 2**20
_WINDOW = 10_000
_PARQUET_ROWS = 256  # rows of long documents at once
_CSV_FIELD = 2**24  # a quote that is never closed ends here
_UNREADABLE = (ValueError, OverflowError, pa.ArrowException)  # of a value without a Python form, e.g. not UTF-8

# What a row is until it is its turn: a line of JSON, the file of a whole text, or the row; None where it is broken.
_Raw = str | Path | dict[str, Any] | None


def read_rows(source: SourceConfig, seed: int, characters: int) -> Iterator[tuple[str, Any]]:
    """(place, row) of each row, shuffled with the seed; a row that cannot be read is None.

    Lines count from 1, items and rows of a dataset from 0. Of a text file only the first `characters` are read.

    Raises:
        UserError: if there is nothing at the source's path, nothing of a kind that is read, or it is damaged.
    """
    source = source.model_copy(update={"path": shipped.here_or_shipped(source.path)})
    if any(os.path.isfile(os.path.join(source.path, name)) for name in _SAVED):
        return _saved_rows(source, seed)
    files = _files(source)
    return _file_rows(files, source, seed, characters) if files else _hub_rows(source, seed)


def _files(source: SourceConfig) -> list[Path]:
    """The files a source's path stands for; none if it must be the id of a dataset on the hub."""
    path = Path(source.path)
    if os.path.isfile(path):  # in pathlib, a path that is too long raises
        files = [path]
    elif os.path.isdir(path):
        files = [file for file in path.rglob("*") if not _is_hidden(file.relative_to(path)) and file.is_file()]
    else:
        files = [Path(name) for name in glob.glob(source.path, recursive=True) if Path(name).is_file()]
        if not files:
            if source.path.endswith(KINDS) or source.path.startswith((".", "/")) or glob.has_magic(source.path):
                raise MissingError(f"corpus source `{source.name}`: {source.path}: no such file.")
            return []
    readable = sorted(file for file in files if file.suffix.lower() in KINDS)
    if not readable:
        raise UserError(
            f"corpus source `{source.name}`: {source.path}: no file of a kind that is read; "
            f"give {', '.join(KINDS[:-1])} or {KINDS[-1]}."
        )
    return readable


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _file_rows(files: list[Path], source: SourceConfig, seed: int, characters: int) -> Iterator[tuple[str, Any]]:
    draw = random.Random(seed)
    base = os.path.commonpath([file.parent for file in files]) or "."
    places = {file: os.path.relpath(file, base) for file in files}
    size = sum(file.stat().st_size for file in files if file.suffix.lower() in _HELD)
    held = size <= _HELD_BYTES and not any(file.suffix.lower() == ".parquet" for file in files)
    if not held:
        draw.shuffle(files)
    raw = chain.from_iterable(_read(file, places[file], source) for file in files)
    if held:
        rows = list(raw)
        draw.shuffle(rows)
    for place, row in rows if held else _window_shuffled(raw, draw):
        yield place, _finish(row, source, characters)


def _window_shuffled(rows: Iterator[tuple[str, _Raw]], draw: random.Random) -> Iterator[tuple[str, _Raw]]:
    window: list[tuple[str, _Raw]] = []
    for row in rows:
        if len(window) < _WINDOW:
            window.append(row)
            continue
        at = draw.randrange(_WINDOW)
        yield window[at]
        window[at] = row
    draw.shuffle(window)
    yield from window


def _read(file: Path, place: str, source: SourceConfig) -> Iterator[tuple[str, _Raw]]:
    with runs.reading(file, _remedy(source), pa.ArrowException):
        match file.suffix.lower():
            case ".parquet":
                yield from _parquet_rows(file, place, source)
            case ".csv":
                yield from _csv_rows(file, place)
            case ".txt" | ".md":
                yield place, file
            case _:
                yield from _json_rows(file, place, source)


def _finish(raw: _Raw, source: SourceConfig, characters: int) -> Any:
    if isinstance(raw, str):
        return _parse(raw)
    if isinstance(raw, Path):
        with runs.reading(raw, _remedy(source)), raw.open(encoding="utf-8-sig", errors="replace") as handle:
            text = handle.read(characters).lstrip()
            return {source.text: text + handle.read(characters - len(text))}
    return raw


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # not JSON, a number too long, brackets too deep
        return None


def _remedy(source: SourceConfig) -> str:
    return f"mend it, or leave it out of corpus source `{source.name}`"


def _json_rows(file: Path, place: str, source: SourceConfig) -> Iterator[tuple[str, _Raw]]:
    with file.open(encoding="utf-8-sig", errors="replace") as handle:
        if file.suffix.lower() == ".json" and handle.read(1024).lstrip().startswith("["):
            handle.seek(0)
            if file.stat().st_size > _HELD_BYTES:
                raise UserError(
                    f"corpus source `{source.name}`: {file}: is one JSON list, too large to hold; "
                    f"write each of its items on a line of a .jsonl file."
                )
            items = _parse(handle.read())
            if not isinstance(items, list):
                yield place, None
                return
            for number, item in enumerate(items):
                yield f"{place} item {number}", item if isinstance(item, dict) else None
            return
        handle.seek(0)
        for number, line in enumerate(handle, start=1):
            if line.strip():
                yield f"{place}:{number}", line


def _csv_rows(file: Path, place: str) -> Iterator[tuple[str, _Raw]]:
    csv.field_size_limit(_CSV_FIELD)  # the module's own limit is shorter than many documents
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        reader = csv.DictReader(handle)
        while True:
            line = max(reader.line_num, 1) + 1  # where the row begins: it may go over several lines
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error:
                row = None
            yield f"{place}:{line}", row


def _parquet_rows(file: Path, place: str, source: SourceConfig) -> Iterator[tuple[str, _Raw]]:
    with pq.ParquetFile(file) as table:
        columns = _columns(table.schema_arrow.names, source)
        number = 0
        for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=columns):
            for row in _batch_rows(batch):
                yield f"{place} row {number}", row
                number += 1


def _batch_rows(batch: pa.RecordBatch) -> list[dict[str, Any] | None]:
    try:
        return batch.to_pylist()
    except _UNREADABLE:
        if len(batch) == 1:
            return [None]
        return [row for at in range(len(batch)) for row in _batch_rows(batch.slice(at, 1))]


def _columns(names: list[str], source: SourceConfig) -> list[str]:
    """Those columns of a table that documents are made from."""
    wanted = {source.text, source.messages, *CHATS, source.prompt, source.response, source.language_field}
    return [name for name in names if name in wanted]


def _saved_rows(source: SourceConfig, seed: int) -> Iterator[tuple[str, Any]]:
    from datasets import DatasetDict, load_from_disk

    with runs.reading(Path(source.path), _remedy(source), pa.ArrowException):
        saved = load_from_disk(source.path)
    if isinstance(saved, DatasetDict):
        if source.split not in saved:
            raise UserError(
                f"corpus source `{source.name}`: {source.path}: has no split `{source.split}`; "
                f"set `split` to one of {', '.join(saved)}."
            )
        saved = saved[source.split]
    saved = saved.select_columns(_columns(saved.column_names, source)).with_format("arrow")
    order = array("q", range(len(saved)))
    random.Random(seed).shuffle(order)
    for number in order:
        table = saved[number]
        try:
            table.validate(full=True)  # the file is mapped as it is: damaged offsets would be followed anywhere
            (row,) = table.to_pylist()
        except _UNREADABLE:
            row = None
        yield f"row {number}", row


def _hub_rows(source: SourceConfig, seed: int) -> Iterator[tuple[str, Any]]:
    from datasets import load_dataset

    try:
        dataset = load_dataset(source.path, source.subset, split=source.split, streaming=True)
        for number, row in enumerate(dataset.shuffle(seed=seed, buffer_size=_WINDOW)):
            yield f"row {number} as drawn", row
    except Exception as error:  # the hub client raises many kinds, its own and those of its transports
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        if memory.is_out_of_memory(error):
            raise MemoryShortError(
                f"corpus source `{source.name}`: there is no memory to read {source.path} ({first}); close other "
                f"programs."
            ) from error
        raise UserError(
            f"corpus source `{source.name}`: {source.path} could not be read as a hub dataset "
            f"({type(error).__name__}: {first}); "
            f"check the id, `subset` and `split`, your login and the network, or give a file or a folder."
        ) from error
