"""Rows of files, folders and datasets, each with its place, in an order drawn with a seed.

Memory stays bounded: lines of text files are all held to be shuffled up to 512 MB; above that, for tables and on the
hub, rows are drawn from a moving window of 10,000. Nothing is unpickled.
"""

from __future__ import annotations

import glob
import os
import random
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from dfc import runs
from dfc.config import MemoryShortError, MissingError, SourceConfig, UserError, shipped
from dfc.corpus import formats, splits
from dfc.corpus.formats import KINDS
from dfc.corpus.tally import Tally, Unusable
from dfc.machine import memory

_OF_A_DATASET = ("dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json")
"""What the library `datasets` writes beside a dataset's rows."""
_TABLES = (".parquet", ".arrow", ".feather")
_WINDOW = 10_000


@dataclass(frozen=True)
class _Files:
    """What a source's path stands for: files that are read, and why others are not."""

    base: str
    read: Sequence[Path]
    left_out: Sequence[tuple[Path, Unusable]] = ()
    is_split: bool = False  # whether these are the files of one split

    def place(self, file: Path) -> str:
        return os.path.relpath(file, self.base)


def read_rows(source: SourceConfig, seed: int | None, characters: int, noted: Tally) -> Iterator[tuple[str, Any]]:
    """(place, row) of each row, shuffled with the seed; a row or a file that cannot be read is Unusable.

    Lines count from 1, items and rows of a dataset from 0. Of a text file only about the first `characters` are read.

    Args:
        source: where they come from.
        seed: of their order; None: as they stand there.
        characters: that are wanted of a text.
        noted: told how files were read, where that is not plain.

    Raises:
        UserError: if there is nothing at the source's path, nothing of a kind that is read, it is damaged, or an option
            has no effect on it.
    """
    path = shipped.here_or_shipped(os.path.expanduser(source.path))
    source = source.model_copy(update={"path": path})
    if _is_saved(path):
        return _saved_rows(source, seed)
    files = _files(source)
    if files is None:
        return _hub_rows(source, seed)
    if files.is_split:
        source = source.model_copy(update={"split": splits.DEFAULT, "subset": None})
    return _file_rows(files, source, seed, characters, noted)


def _is_saved(path: str) -> bool:
    """Whether `datasets` has saved a dataset in this folder: some of what it writes may lie beside other files, too."""
    if not os.path.isdir(path):
        return False
    there = {name for name in _OF_A_DATASET if os.path.isfile(os.path.join(path, name))}
    if "dataset_dict.json" in there:
        return any(_is_saved(entry.path) for entry in os.scandir(path) if entry.is_dir())
    return bool(there & {"state.json", "dataset_info.json"}) and any(
        name.endswith(".arrow") for name in os.listdir(path)
    )


def _files(source: SourceConfig) -> _Files | None:
    """The files a source's path stands for; none if it must be the id of a dataset on the hub."""
    path = Path(source.path)
    if os.path.isfile(path):  # in pathlib, a path that is too long raises
        found = [path]
    elif os.path.isdir(path):
        found = [file for file in path.rglob("*") if not _is_hidden(file.relative_to(path)) and file.is_file()]
    else:
        found = [Path(name) for name in glob.glob(source.path, recursive=True) if Path(name).is_file()]
        if not found:
            if source.path.endswith(KINDS) or source.path.startswith((".", "/", "~")) or glob.has_magic(source.path):
                raise MissingError(f"corpus source `{source.name}`: {source.path}: no such file.")
            return None
    readable = sorted(file for file in found if formats.kind_of(file) in KINDS)
    left_out = [
        (file, Unusable("not read", "".join(file.suffixes[-2:]) or file.name))
        for file in sorted({*found} - {*readable})
    ]
    if os.path.isdir(path):
        about = [file for file in readable if file.name in _OF_A_DATASET]
        left_out += [(file, Unusable("about the dataset")) for file in about]
        readable = [file for file in readable if file not in about]
    if not readable:
        raise UserError(
            f"corpus source `{source.name}`: {source.path}: no file of a kind that is read; "
            f"give {', '.join(KINDS[:-1])} or {KINDS[-1]}."
        )
    chosen = splits.choose(path, readable, source) if os.path.isdir(path) else None
    if chosen is not None:
        readable, left_out = list(chosen.files), [*left_out, *chosen.left_out]
    elif not all(formats.kind_of(file) == ".json" for file in readable):  # an object in one may hold splits
        splits.refuse(source)
    base = os.path.commonpath([file.parent for file in [*readable, *(file for file, _ in left_out)]]) or "."
    return _Files(base, readable, left_out, chosen is not None)


def _is_hidden(file: Path) -> bool:
    return any(part.startswith(".") for part in file.parts)


def _file_rows(
    files: _Files, source: SourceConfig, seed: int | None, characters: int, noted: Tally
) -> Iterator[tuple[str, Any]]:
    yield from ((files.place(file), unusable) for file, unusable in files.left_out)
    draw, order = random.Random(seed), list(files.read)
    size = sum(formats.size_of(file) for file in order if formats.kind_of(file) in formats.HELD)
    held = size <= formats.HELD_BYTES and not any(formats.kind_of(file) in _TABLES for file in order)
    if not held and seed is not None:
        draw.shuffle(order)
    rows: Iterator[tuple[str, Any]] = chain.from_iterable(
        _read(file, files.place(file), source, noted) for file in order
    )
    if held and seed is not None:
        listed = list(rows)
        draw.shuffle(listed)
        rows = iter(listed)
    for place, row in rows if held or seed is None else _window_shuffled(rows, draw):
        if isinstance(row, formats.Text):
            with runs.reading(row.file, _remedy(source)):
                row = formats.whole_text(row, source, characters, noted)
        yield place, formats.parsed(row) if isinstance(row, str) else row


def _window_shuffled(rows: Iterator[tuple[str, Any]], draw: random.Random) -> Iterator[tuple[str, Any]]:
    window: list[tuple[str, Any]] = []
    for row in rows:
        if len(window) < _WINDOW:
            window.append(row)
            continue
        at = draw.randrange(_WINDOW)
        yield window[at]
        window[at] = row
    draw.shuffle(window)
    yield from window


def _read(file: Path, place: str, source: SourceConfig, noted: Tally) -> Iterator[tuple[str, Any]]:
    with runs.reading(file, _remedy(source), pa.ArrowException):
        yield from formats.read(file, place, source, noted)


def _remedy(source: SourceConfig) -> str:
    return f"mend it, or leave it out of corpus source `{source.name}`"


def _saved_rows(source: SourceConfig, seed: int | None) -> Iterator[tuple[str, Any]]:
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
    else:
        splits.refuse(source)
    saved = saved.select_columns(formats.columns(saved.column_names, source))
    features = saved.features.to_dict()
    saved = saved.with_format("arrow")
    order = array("q", range(len(saved)))
    if seed is not None:
        random.Random(seed).shuffle(order)
    for number in order:
        (row,) = formats.python_rows(saved[number], features)
        yield f"row {number}", row


def _hub_rows(source: SourceConfig, seed: int | None) -> Iterator[tuple[str, Any]]:
    from datasets import load_dataset

    try:
        dataset = load_dataset(source.path, source.subset, split=source.split, streaming=True)
        features = dataset.features.to_dict() if dataset.features is not None else None
        rows = dataset if seed is None else dataset.shuffle(seed=seed, buffer_size=_WINDOW)
        for number, row in enumerate(rows):
            yield f"row {number} as drawn", formats.named(row, features)
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
