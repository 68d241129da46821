"""Rows of JSON: a value a line, or one that holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dfc.config import SourceConfig, UserError
from dfc.corpus import chats, files, messages, splits
from dfc.corpus.documents import texts_in
from dfc.corpus.encodings import Encoding
from dfc.corpus.tally import Unusable, named


def read(file: Path, place: str, encoding: Encoding, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    """A value a line; or the values of a file that holds one, or several over several lines.

    JSON Lines have a row a line, however many there are.
    """
    lined = files.kind_of(file) != ".json"
    if not lined and files.size_of(file) > files.HELD_BYTES:
        _refuse_a_list(file, encoding, source)
    with files.lines(file, encoding) as lines:
        start = next((line for line in lines if line.strip()), "")
        if not start:
            return
        first = parsed(start)
        by_line = not isinstance(first, Unusable) and (lined or any(line.strip() for line in lines))
    if not by_line:
        values: list[Any] | None = [first]
        if isinstance(first, Unusable):
            values = _values(file, encoding) if files.size_of(file) <= files.HELD_BYTES else None
        if values is not None:
            for number, value in enumerate(values):
                of_value = f"{place} value {number}" if len(values) > 1 else place
                for row_place, row in _of_the_split(value, of_value, source):
                    yield row_place, {source.text: row} if isinstance(row, str) else row
            return
        if not lined and not _has_objects(file, encoding):
            yield place, first
            return
    splits.refuse(source)
    with files.lines(file, encoding) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{place}:{number}", line


def held(value: Any, place: str, source: SourceConfig) -> list[tuple[str, Any]]:
    """The rows of a line's value that is none itself, and holds nothing but rows and what is no row; else none."""
    if isinstance(value, dict) and (_names_a_row(value, source) or splits.are_splits(value)):
        return []
    found = _rows_in(value, place, source) if isinstance(value, dict | list) else []
    rows = [row for _, row in found if not isinstance(row, Unusable)]
    usable = (messages.is_chat(row) or (isinstance(row, dict) and chats.is_row(row, source)) for row in rows)
    return found if rows and all(usable) else []


def parsed(text: str) -> Any:
    """What JSON holds, or Unusable."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, a number too long, brackets too deep
        return Unusable("bad row", f"no JSON: {str(error).splitlines()[0]:.60}")


def _refuse_a_list(file: Path, encoding: Encoding, source: SourceConfig) -> None:
    with files.lines(file, encoding) as lines:
        if lines.read(1024).lstrip().startswith("["):
            raise UserError(
                f"{named(source)}{file}: is one JSON list, too large to hold; "
                f"write each of its items on a line of a .jsonl file."
            )


def _values(file: Path, encoding: Encoding) -> list[Any] | None:
    """The values that a file holds one after another, whatever lines they are on; None if it is not that."""
    with files.lines(file, encoding) as lines:
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
    with files.lines(file, encoding) as lines:
        return any(line.lstrip().startswith("{") and isinstance(parsed(line), dict) for line in lines)


def _of_the_split(value: Any, place: str, source: SourceConfig) -> list[tuple[str, Any]]:
    """The rows of a JSON value, of the split that is asked for where its keys are splits.

    Raises:
        UserError: if there are none, and one is asked for.
    """
    whole = isinstance(value, dict) and not chats.is_row(value, source)
    chosen = splits.in_object(value, source, place) if whole else None
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
        if messages.is_chat(value):
            return [(place, value)]
        return [(f"{place} item {number}", item) for number, item in enumerate(value)]
    if not isinstance(value, dict) or chats.is_row(value, source):
        return [(place, value)]
    items = list(value.values())
    by_column = _names_a_row(value, source)
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
        others = sorted(value.keys() - lists.keys(), key=lambda name: (-sum(map(len, texts_in(value[name]))), name))
        beside = [(f"{place} `{name:.40}`", Unusable("other key")) for name in others]  # the one with most words first
        held = [row for name, rows in lists.items() for row in _rows_in(rows, f"{place} `{name:.40}`", source)]
        return held + beside
    return [(place, value)]


def _are_columns(items: list[Any]) -> bool:
    """Whether these are lists of one length, or maps of the same keys, as pandas writes them."""
    if not items:
        return False
    if all(isinstance(item, dict) for item in items):
        return all(item.keys() == items[0].keys() for item in items)
    return all(isinstance(item, list) and len(item) == len(items[0]) for item in items)


def _names_a_row(value: dict[Any, Any], source: SourceConfig) -> bool:
    """Whether an object's fields are those of a row, rather than one of them a list of whole rows."""
    return chats.names_a_row(value, source) and not any(
        isinstance(items, list)
        and bool(items)
        and all(isinstance(item, dict) and chats.is_row(item, source) for item in items)
        for items in value.values()
    )


def _holds_rows(items: list[Any]) -> bool:
    return bool(items) and all(isinstance(item, dict | list) for item in items)
