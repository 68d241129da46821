"""Rows of tables that are text: what stands between their columns is told by the first line."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from dfc.config import SourceConfig, UserError
from dfc.corpus import chats, files
from dfc.corpus.encodings import Encoding
from dfc.corpus.tally import Unusable

_CSV_FIELD = 2**24  # characters of a cell, at most
_TOLD = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # a first line by which Excel tells what stands between columns


def read(file: Path, place: str, encoding: Encoding, source: SourceConfig) -> Iterator[tuple[str, Any]]:
    """A row a line, or several where a cell holds them, under the names of the first.

    Raises:
        UserError: if two columns have the name of one that is wanted.
    """
    csv.field_size_limit(_CSV_FIELD)  # the module's own limit is shorter than many documents
    with files.lines(file, encoding, newline="") as handle:
        first = handle.readline(_CSV_FIELD)
        told = _TOLD.fullmatch(first)
        delimiter = told[1] if told else _delimiter(first, files.kind_of(file), source)
    with files.lines(file, encoding, newline="") as handle:
        names: list[str] | None = None
        amiss = False
        for number, (line, cells) in enumerate(_cells(handle, delimiter)):
            if told and not number:
                continue
            row: Any = cells
            if names is None and isinstance(cells, list):
                names = cells
                _check_names(names, f"{place}:{line}", source)
                continue
            if isinstance(cells, Unusable):
                amiss = True
            elif len(cells) > len(names or []) or (amiss and len(cells) != len(names or [])):
                row = Unusable("bad row", f"{len(cells)} cells under a header of {len(names or [])}")
            else:
                row = dict(zip(names or [], cells, strict=False))
            yield f"{place}:{line}", row


def _cells(handle: IO[str], delimiter: str) -> Iterator[tuple[int, list[str] | Unusable]]:
    """The line on which each row begins, and its cells; behind a quote that is not closed, on from the next line.

    Otherwise such a quote would take all the rows up to the next one into its own.
    """
    line, again, held = 1, deque[str](), list[str]()

    def lines() -> Iterator[str]:
        while following := again.popleft() if again else handle.readline():
            held.append(following)
            yield following

    reader = csv.reader(lines(), delimiter=delimiter, strict=True)
    while True:
        held.clear()
        try:
            cells: list[str] | Unusable = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            cells = Unusable("bad row", f"no CSV: {str(error)[:60]}")
            again.extendleft(reversed(held[1:]))
            del held[1:]
            reader = csv.reader(lines(), delimiter=delimiter, strict=True)
        if cells:
            yield line, cells
        line += len(held)


def _check_names(names: list[str], place: str, source: SourceConfig) -> None:
    wanted = {name.casefold() for name in chats.fields(source)}
    known = [name.strip().casefold() for name in names]
    if twice := next((name for name in known if name in wanted and known.count(name) > 1), None):
        raise UserError(f"{place}: two columns are called `{twice:.40}`; give one of them another name.")


def _delimiter(header: str, kind: str, source: SourceConfig) -> str:
    """What stands between the names of the first line, so that a wanted one is among them, and as many as can be."""
    wanted = {name.casefold() for name in chats.fields(source)}
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
