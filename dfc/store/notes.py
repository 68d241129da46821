"""The notebook, data/notes.duckdb: notes, tags, favourites and named lists of features.

It lies outside every run, so that nothing is lost when a run is indexed again; each entry keeps the
fingerprint of the decoder that it was written about. DuckDB lets one process at a time open a file
for writing: every operation opens the file, does its work in one transaction and closes it, and waits
while somebody else has it open.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from dfc import runs
from dfc.config import UserError, VersionError
from dfc.store import errors
from dfc.store.book import LAST, Book, Kind, Mark, NamedList, Note, Remarks, clean_line, clean_name, clean_text, parse

WAIT_SECONDS = 10.0
_VERSION = 1
_SCHEMA = (Path(__file__).parent / "notes.sql").read_text(encoding="utf-8")
_MARKS = ("run", "feature_id", "kind", "name", "fingerprint", "added", "note", "place", "contexts")
_LISTS = ("name", "added", "title", "author", "summary")
_NOTES = ("run", "feature_id", "fingerprint", "written", "text")

# Connections of one process share one handle, which either reads or writes: one operation at a time.
_turn = threading.Lock()


class Notebook:
    """The notebook in one file, made when something is first written.

    Features are given as a run's name and a mapping from their ids to their fingerprints (`Store.fingerprints`).

    Raises:
        UserError: from every method, if the file is no notebook, or another program keeps it open for too long.
    """

    def __init__(self, path: Path, wait_seconds: float = WAIT_SECONDS) -> None:
        self.path = path
        self._wait = wait_seconds

    # -- reading

    def feature(self, run: str, feature_id: int) -> Remarks:
        """All that is kept about one feature."""
        where, values = "WHERE run = ? AND feature_id = ?", [run, feature_id]
        marks, notes = self._read(
            (f"SELECT {', '.join(_MARKS)} FROM marks {where} ORDER BY kind, lower(name), name", values),
            (f"SELECT {', '.join(_NOTES)} FROM notes {where} ORDER BY written DESC, text", values),
        )
        return Remarks(tuple(map(_mark, marks)), tuple(Note(*row) for row in notes))

    def marks(self, run: str | None = None) -> pd.DataFrame:
        """Every mark (of one run), a row each, with the attributes of `Mark`; those of a list in its order."""
        where, values = ("WHERE run = ?", [run]) if run is not None else ("", [])
        sql = (
            f"SELECT {', '.join(_MARKS)} FROM marks {where} ORDER BY kind, lower(name), name, place, added, feature_id"
        )
        [rows] = self._read((sql, values))
        return pd.DataFrame(rows, columns=list(_MARKS))

    def notes(self, run: str | None = None) -> tuple[Note, ...]:
        """Every note (of one run), the latest first."""
        where, values = ("WHERE run = ?", [run]) if run is not None else ("", [])
        sql = f"SELECT {', '.join(_NOTES)} FROM notes {where} ORDER BY written DESC, feature_id, text"
        [rows] = self._read((sql, values))
        return tuple(Note(*row) for row in rows)

    def lists(self) -> tuple[str, ...]:
        """Names of all lists, the empty ones too."""
        [rows] = self._read(("SELECT name FROM lists ORDER BY lower(name), name", []))
        return tuple(row[0] for row in rows)

    def cover(self, name: str) -> NamedList:
        """What stands above the report of a list; empty where there is no such list."""
        [rows] = self._read((f"SELECT {', '.join(_LISTS)} FROM lists WHERE name = ?", [name]))
        return NamedList(*rows[0]) if rows else NamedList(name, "")

    # -- writing

    def mark(self, run: str, features: Mapping[int, str], kind: Kind, name: str = "", note: str | None = None) -> None:
        """Mark features; one that is marked already is said again, of the version that stands there now.

        Args:
            run: name of the run.
            features: fingerprint of each feature.
            kind: what it becomes: a favourite, tagged, or put on a list, which is begun if it is new.
            name: of the tag or the list.
            note: why it is on the list; None leaves what is there.

        Raises:
            UserError: if the name is empty or too long.
        """
        name = "" if kind == "favourite" else clean_name(name)
        text = None if note is None else clean_text(note)
        if not features:
            return
        now = _now()
        rows = _table(
            Mark(run, feature, kind, name, fingerprint, now, text or "") for feature, fingerprint in features.items()
        )
        kept = "" if text is None else ", note = excluded.note"

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            if kind == "list":
                connection.execute("INSERT INTO lists (name, added) VALUES (?, ?) ON CONFLICT DO NOTHING", [name, now])
            _insert(
                connection,
                "marks",
                rows,
                "ON CONFLICT DO UPDATE SET contexts = CASE WHEN marks.fingerprint = excluded.fingerprint "
                f"THEN marks.contexts ELSE [] END, fingerprint = excluded.fingerprint, added = excluded.added{kept}",
            )

        self._write(write)

    def unmark(self, run: str, feature_ids: Iterable[int], kind: Kind, name: str = "") -> None:
        """Take marks away."""
        values = [run, [int(feature) for feature in feature_ids], kind, name]
        self._write(
            lambda connection: connection.execute(
                "DELETE FROM marks WHERE run = ? AND list_contains(?, feature_id) AND kind = ? AND name = ?", values
            )
        )

    def confirm(self, run: str, feature_id: int, fingerprint: str) -> None:
        """Let a feature's marks hold of the version that stands there now; its notes keep theirs, as history."""
        values = [fingerprint, run, feature_id]
        self._write(
            lambda connection: connection.execute(
                "UPDATE marks SET fingerprint = ? WHERE run = ? AND feature_id = ?", values
            )
        )

    def write(self, run: str, feature_id: int, fingerprint: str, text: str, before: Note | None = None) -> Note:
        """Add a note; what it was `before`, while it is still being written, goes.

        Raises:
            UserError: if it is empty or too long.
        """
        note = Note(run, feature_id, fingerprint, _now(), clean_text(text))
        if not note.text:
            raise UserError("The note is empty; write something.")

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            if before is not None:
                _erase(connection, before)
            _insert(connection, "notes", _table([note]))

        self._write(write)
        return note

    def erase(self, note: Note) -> None:
        """Take a note away."""
        self._write(lambda connection: _erase(connection, note))

    def begin_list(self, name: str) -> str:
        """A list, empty if it is new; returns its name without needless spaces.

        Raises:
            UserError: if the name is empty or too long.
        """
        name = clean_name(name)
        self._write(
            lambda connection: connection.execute(
                "INSERT INTO lists (name, added) VALUES (?, ?) ON CONFLICT DO NOTHING", [name, _now()]
            )
        )
        return name

    def describe_list(self, name: str, title: str, author: str, summary: str) -> None:
        """What stands above the report of a list.

        Raises:
            UserError: if one of these is too long.
        """
        values = [clean_line(title), clean_line(author), clean_text(summary), name]
        self._write(
            lambda connection: connection.execute(
                "UPDATE lists SET title = ?, author = ?, summary = ? WHERE name = ?", values
            )
        )

    def put_in_order(self, run: str, name: str, feature_ids: Sequence[int]) -> None:
        """The order of a run's features on a list; those that are not given come after them, as they were added."""
        places = {int(identity): place for place, identity in enumerate(feature_ids)}

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            where = "WHERE run = ? AND kind = 'list' AND name = ?"
            connection.execute(f"UPDATE marks SET place = {LAST} {where}", [run, name])
            for identity, place in places.items():
                connection.execute(
                    f"UPDATE marks SET place = ? {where} AND feature_id = ?", [place, run, name, identity]
                )

        self._write(write)

    def show_contexts(self, run: str, feature_id: int, fingerprint: str, name: str, contexts: Sequence[int]) -> None:
        """Which contexts of a feature the report of a list shows, by `Context.number`; none: the strongest.

        The feature stands on the list as the version that they were chosen of.
        """
        values = [[int(number) for number in contexts], fingerprint, run, feature_id, name]
        self._write(
            lambda connection: connection.execute(
                "UPDATE marks SET contexts = ?, fingerprint = ? WHERE run = ? AND feature_id = ? AND kind = 'list' "
                "AND name = ?",
                values,
            )
        )

    def rename_list(self, name: str, new: str) -> str:
        """Another name for a list; returns it without needless spaces.

        Raises:
            UserError: if the name is empty, too long or taken.
        """
        new = clean_name(new)
        if new == name:
            return new
        if new in self.lists():
            raise UserError(f"There is a list called “{new}” already; choose another name.")

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute("UPDATE lists SET name = ? WHERE name = ?", [new, name])
            connection.execute("UPDATE marks SET name = ? WHERE kind = 'list' AND name = ?", [new, name])

        self._write(write)
        return new

    def delete_list(self, name: str) -> None:
        """Take a list and its notes away; what else is said of its features stays."""

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute("DELETE FROM lists WHERE name = ?", [name])
            connection.execute("DELETE FROM marks WHERE kind = 'list' AND name = ?", [name])

        self._write(write)

    # -- as JSON

    def export(self) -> str:
        """The whole notebook as JSON, which `merge` takes."""
        lists, marks, notes = self._read(
            (f"SELECT {', '.join(_LISTS)} FROM lists ORDER BY name", []),
            (f"SELECT {', '.join(_MARKS)} FROM marks ORDER BY ALL", []),
            (f"SELECT {', '.join(_NOTES)} FROM notes ORDER BY ALL", []),
        )
        return Book(
            lists=tuple(NamedList(*row) for row in lists),
            marks=tuple(map(_mark, marks)),
            notes=tuple(Note(*row) for row in notes),
        ).model_dump_json(indent=1)

    def merge(self, text: str) -> Book:
        """Add what `export` wrote, here or elsewhere; what is there stays, and of two like marks the later wins.

        Returns:
            What the text held.

        Raises:
            UserError: if it is no exported notebook.
        """
        book = parse(text)
        lists = {entry.name: entry for entry in book.lists}
        for mark in book.marks:
            if mark.kind == "list" and mark.name not in lists:
                lists[mark.name] = NamedList(mark.name, mark.added)
        marks: dict[tuple[str, int, str, str], Mark] = {}
        for mark in sorted(book.marks, key=lambda mark: mark.added):
            marks[mark.run, mark.feature_id, mark.kind, mark.name] = mark

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            described = ", ".join(
                f"{name} = CASE WHEN lists.{name} = '' THEN excluded.{name} ELSE lists.{name} END"
                for name in _LISTS[2:]
            )
            _insert(connection, "lists", _table(lists.values()), f"ON CONFLICT DO UPDATE SET {described}")
            _insert(
                connection,
                "marks",
                _table(marks.values()),
                "ON CONFLICT DO UPDATE SET fingerprint = excluded.fingerprint, added = excluded.added, "
                "note = excluded.note, place = excluded.place, contexts = excluded.contexts "
                "WHERE excluded.added > marks.added",
            )
            _insert(connection, "notes", _table(set(book.notes)), "EXCEPT SELECT * FROM notes")

        self._write(write)
        return book

    # -- the file

    def _read(self, *queries: tuple[str, list[Any]]) -> list[list[tuple[Any, ...]]]:
        """Rows of several queries, all of the same moment."""
        if not self.path.exists():
            return [[] for _ in queries]
        with self._open(read_only=True) as connection:
            if _is_current(connection):
                return [connection.execute(sql, values).fetchall() for sql, values in queries]
        self._write(lambda connection: None)  # which gives an older file what it lacks
        return self._read(*queries)

    def _write(self, work: Callable[[duckdb.DuckDBPyConnection], object]) -> None:
        runs.make_folder(self.path.parent)
        with self._open(read_only=False) as connection:
            connection.execute("BEGIN")
            work(connection)
            connection.execute("COMMIT")

    @contextmanager
    def _open(self, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            with _turn, self._connect(read_only) as connection:
                if not read_only and not _is_current(connection):  # nothing is altered where nothing is lacking
                    connection.execute(_SCHEMA)
                [(version,)] = connection.execute("SELECT version FROM book").fetchall()
                if version != _VERSION:
                    raise VersionError(
                        f"{self.path}: was written as version {version}, this program reads {_VERSION}; "
                        "use the program that wrote it, and export it there."
                    )
                yield connection
        except duckdb.Error as error:
            away = "move it away, a new one is begun with the next note"
            raise errors.explained(error, self.path, "a readable notebook", away) from None

    def _connect(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        """The file, as soon as no other process has it open."""
        end = time.monotonic() + self._wait
        while True:
            try:
                return duckdb.connect(str(self.path), read_only=read_only)
            except duckdb.IOException as error:
                if "lock" not in str(error):
                    raise
                if time.monotonic() > end:
                    raise UserError(
                        f"{self.path}: another program keeps the notebook open; close it there, then try again."
                    ) from None
            time.sleep(random.uniform(0.01, 0.05))


def _is_current(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether a notebook has all columns of today."""
    found = connection.execute("SELECT table_name, column_name FROM duckdb_columns()").fetchall()
    return {("lists", name) for name in _LISTS} | {("marks", name) for name in _MARKS} <= set(found)


def _mark(row: Sequence[Any]) -> Mark:
    values: dict[str, Any] = dict(zip(_MARKS, row, strict=True))
    return Mark(**values | {"contexts": tuple(values["contexts"])})


def _erase(connection: duckdb.DuckDBPyConnection, note: Note) -> None:
    where = " AND ".join(f"{column} = ?" for column in _NOTES)
    connection.execute(f"DELETE FROM notes WHERE {where}", list(asdict(note).values()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _table(entries: Iterable[Note | Mark | NamedList]) -> list[dict[str, Any]]:
    return [asdict(entry) for entry in entries]


def _insert(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]], then: str = "") -> None:
    """All rows at once: one by one would take a second for a few hundred."""
    if rows:
        connection.register("incoming", pa.Table.from_pylist(rows))
        connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming {then}")
        connection.unregister("incoming")
