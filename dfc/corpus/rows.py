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

from dfc.config import MemoryShortError, MissingError, SourceConfig, UserError, shipped
from dfc.corpus import files, formats, json_rows, splits
from dfc.corpus.files import KINDS
from dfc.corpus.tally import Asked, Tally, Unusable, named
from dfc.machine import disk, memory

_OF_A_DATASET = ("dataset_dict.json", "dataset_info.json", "dataset_infos.json", "state.json")
"""What the library `datasets` writes beside a dataset's rows."""
_TABLES = (".parquet", ".arrow", ".feather")
_WINDOW = 10_000


@dataclass(frozen=True)
class _Files:
    """What a source's path stands for: files that are read, and why others are not."""

    base: str
    read: Sequence[Path]
    saved: Sequence[Path] = ()  # folders in which `datasets` has saved one
    left_out: Sequence[tuple[Path, Unusable]] = ()
    is_split: bool = False  # whether the files are those of one split

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
        return _saved_rows(Path(path), "", source, seed)
    there = _files(source)
    if there is None:
        return _hub_rows(source, seed)
    return _file_rows(there, source, seed, characters, noted)


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
    left_out: list[tuple[Path, Unusable]] = []
    if os.path.isfile(path):  # in pathlib, a path that is too long raises
        found = [path]
    elif os.path.isdir(path):
        found, left_out = _below(path)
    else:
        found, left_out = _matching(source.path)
        if not found and not left_out:
            if may_be_file(source.path):
                raise MissingError(f"{named(source)}{source.path}: no such file.")
            return None
    saved = sorted(folder for folder in found if folder.is_dir())
    readable = sorted(file for file in found if file not in saved and files.kind_of(file) in KINDS)
    left_out += [
        (file, Unusable("not read", "".join(file.suffixes[-2:]) or file.name))
        for file in sorted({*found} - {*readable, *saved})
    ]
    if os.path.isdir(path):
        about = [file for file in readable if file.name in _OF_A_DATASET]
        left_out += [(file, Unusable("about the dataset")) for file in about]
        readable = [file for file in readable if file not in about]
    if not readable and not saved:
        raise UserError(
            f"{named(source)}{source.path}: no file of a kind that is read; "
            f"give {', '.join(KINDS[:-1])} or {KINDS[-1]}."
        )
    chosen = splits.choose(path, readable, source) if readable and os.path.isdir(path) else None
    if chosen is not None:
        readable, left_out = list(chosen.files), [*left_out, *chosen.left_out]
    elif not all(files.kind_of(file) == ".json" for file in readable):  # an object in one may hold splits
        splits.refuse(source)
    named_all = [*readable, *saved, *(file for file, _ in left_out)]
    base = os.path.commonpath([file.parent for file in named_all]) or "."
    return _Files(base, readable, saved, left_out, chosen is not None)


def may_be_file(path: str) -> bool:
    """Whether a path that is not there looks like that of files, rather than the id of a dataset on the hub."""
    return path.endswith(KINDS) or path.startswith((".", "/", "~")) or glob.has_magic(path)


def _below(folder: Path) -> tuple[list[Path], list[tuple[Path, Unusable]]]:
    """Files and saved datasets below a folder, and what is not gone into. Links are followed, each folder once."""
    found: list[Path] = []
    left_out: list[tuple[Path, Unusable]] = []
    seen = {folder.resolve()}

    def refused(error: OSError) -> None:
        left_out.append((Path(error.filename), Unusable("folder", error.strerror or "")))

    for at, folders, names in os.walk(folder, followlinks=True, onerror=refused):
        entries = [Path(at, name) for name in sorted(folders)]
        folders.clear()
        for entry in entries:
            real = entry.resolve()
            if entry.name.startswith("."):
                left_out.append((entry, Unusable("hidden")))
            elif real in seen:
                left_out.append((entry, Unusable("folder", "a link to what is read already")))
            elif _is_saved(str(entry)):
                found.append(entry)
            else:
                folders.append(entry.name)
            seen.add(real)
        for file in (Path(at, name) for name in sorted(names)):
            if file.name.startswith("."):
                left_out.append((file, Unusable("hidden")))
            elif file.is_file():
                found.append(file)
            else:
                left_out.append((file, Unusable("not read", "a link to nothing" if file.is_symlink() else "no file")))
    return found, left_out


def _matching(pattern: str) -> tuple[list[Path], list[tuple[Path, Unusable]]]:
    """Files and saved datasets that a pattern names, and the folders among what it names that it does not go into."""
    matches = [Path(name) for name in sorted(set(glob.glob(pattern, recursive=True)))]
    folders = [match for match in matches if match.is_dir()]
    saved = [folder for folder in folders if _is_saved(str(folder))]
    found = [match for match in matches if match.is_file() and not any(one in match.parents for one in saved)]
    entered = {parent for match in (*found, *saved) for parent in match.parents}
    left_out = [(one, Unusable("folder")) for one in folders if one not in saved and one not in entered]
    broken = [
        (one, Unusable("not read", "a link to nothing")) for one in matches if one.is_symlink() and not one.exists()
    ]
    return [*found, *saved], [*left_out, *broken]


def _file_rows(
    there: _Files, source: SourceConfig, seed: int | None, characters: int, noted: Tally
) -> Iterator[tuple[str, Any]]:
    yield from ((there.place(file), unusable) for file, unusable in there.left_out)
    draw, order = random.Random(seed), [*there.read, *there.saved]
    size = sum(files.size_of(file) for file in there.read if files.kind_of(file) in files.HELD)
    held = size <= files.HELD_BYTES and not any(files.kind_of(file) in _TABLES for file in there.read)
    held = held and not there.saved
    if not held and seed is not None:
        draw.shuffle(order)
    of_files = source
    if there.is_split:
        of_files = source.model_copy(update={"split": splits.DEFAULT, "subset": None})
    rows: Iterator[tuple[str, Any]] = chain.from_iterable(
        _saved_rows(file, f"{there.place(file)} ", source, seed)
        if file in there.saved
        else _read(file, there.place(file), of_files, noted)
        for file in order
    )
    if held and seed is not None:
        listed = list(rows)
        draw.shuffle(listed)
        rows = iter(listed)
    for place, row in rows if held or seed is None else _window_shuffled(rows, draw):
        if isinstance(row, str):
            row = json_rows.parsed(row)
            if type(row) is not dict or source.text not in row:  # most have a text
                yield from json_rows.held(row, place, of_files) or [(place, row)]
                continue
        elif isinstance(row, formats.Text):
            with disk.reading(row.file, _remedy(source)):
                row = formats.whole_text(row, source, characters, noted)
        yield place, row


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
    empty = True
    with disk.reading(file, _remedy(source), pa.ArrowException):
        for row in formats.read(file, place, source, noted):
            empty = False
            yield row
    if empty:
        yield place, Unusable("empty")


def _remedy(source: SourceConfig) -> str:
    of_a_corpus = "" if isinstance(source, Asked) else f", or leave it out of corpus source `{source.name}`"
    return f"mend it{of_a_corpus}"


def _saved_rows(folder: Path, place: str, source: SourceConfig, seed: int | None) -> Iterator[tuple[str, Any]]:
    """Rows of what `datasets` has saved in a folder; `place` is what their places begin with."""
    from datasets import DatasetDict, load_from_disk

    with disk.reading(folder, _remedy(source), pa.ArrowException):
        saved = load_from_disk(str(folder))
    splits.refuse(source, has_splits=isinstance(saved, DatasetDict))
    if isinstance(saved, DatasetDict):
        if source.split not in saved:
            raise UserError(
                f"{named(source)}{folder}: has no split `{source.split}`; set `split` to one of {', '.join(saved)}."
            )
        others = [name for name in saved if name != source.split]
        yield from ((f"{place}`{name}`", Unusable("other split", str(name))) for name in others)
        saved = saved[source.split]
    saved = saved.select_columns(formats.columns(saved.column_names, source))
    features = saved.features.to_dict()
    saved = saved.with_format("arrow")
    order = array("q", range(len(saved)))
    if seed is not None:
        random.Random(seed).shuffle(order)
    for number in order:
        (row,) = formats.python_rows(saved[number], features)
        yield f"{place}row {number}", row
    if not len(saved):
        yield place.strip() or folder.name, Unusable("empty")


def _hub_rows(source: SourceConfig, seed: int | None) -> Iterator[tuple[str, Any]]:
    from datasets import load_dataset

    try:
        dataset = load_dataset(source.path, source.subset, split=source.split, streaming=True)
        features = dataset.features.to_dict() if dataset.features is not None else None
        rows = dataset if seed is None else dataset.shuffle(seed=seed, buffer_size=_WINDOW)
        for number, row in enumerate(rows):
            yield f"row {number} as drawn", formats.meant(row, features)
    except Exception as error:  # the hub client raises many kinds, its own and those of its transports
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        if memory.is_out_of_memory(error):
            raise MemoryShortError(
                f"{named(source)}there is no memory to read {source.path} ({first}); close other programs."
            ) from error
        raise UserError(
            f"{named(source)}{source.path} could not be read as a hub dataset "
            f"({type(error).__name__}: {first}); "
            f"check the id, `subset` and `split`, your login and the network, or give a file or a folder."
        ) from error
