"""The file of a notebook: opened for each operation alone, in one transaction, as soon as nobody else has it open."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from dfc.config import UserError, VersionError
from dfc.machine import disk
from dfc.store import errors
from dfc.store.book import Decision, FlagSaid, Label, Mark, NamedList, Note

WAIT_SECONDS = 10.0
COLUMNS = {
    "lists": ("name", "added", "title", "author", "summary"),
    "marks": ("run", "feature_id", "kind", "name", "fingerprint", "added", "note", "place", "contexts", "said"),
    "notes": ("run", "feature_id", "fingerprint", "written", "text"),
    "decisions": ("run", "feature_id", "fingerprint", "decided", "who", "choice", "reason"),
    "labels": ("run", "feature_id", "fingerprint", "written", "who", "text"),
    "flags": ("run", "feature_id", "fingerprint", "written", "who", "flag", "applies"),
}
"""Of each table, in the order in which `dfc.store.book` has them as attributes."""
_VERSION = 1
_SCHEMA = (Path(__file__).parent / "notes.sql").read_text(encoding="utf-8")

# Connections of one process share one handle, which either reads or writes: one operation at a time.
_turn = threading.Lock()


class BookFile:
    """A file with the tables of notes.sql, made when something is first written.

    Raises:
        UserError: from every method, if the file is no notebook, or another program keeps it open for too long.
    """

    def __init__(self, path: Path, wait_seconds: float = WAIT_SECONDS) -> None:
        self.path = path
        self._wait = wait_seconds

    def read(self, *queries: str) -> list[list[tuple[Any, ...]]]:
        """Rows of several queries, all of the same moment."""
        if not self.path.exists():
            return [[] for _ in queries]
        with self._open(read_only=True) as connection:
            if _is_current(connection):
                return [connection.execute(sql).fetchall() for sql in queries]
        self.write(lambda connection: None)  # which gives an older file what it lacks
        return self.read(*queries)

    def write(self, work: Callable[[duckdb.DuckDBPyConnection], object]) -> None:
        """Do all of some work, or none of it."""
        disk.make_folder(self.path.parent)
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
    try:  # table by table: a fresh connection takes ten times as long to list the columns of all
        return all({*names} <= {*connection.table(table).columns} for table, names in COLUMNS.items())
    except duckdb.CatalogException:  # there is no such table
        return False


def table(entries: Iterable[Note | Mark | NamedList | Decision | Label | FlagSaid]) -> list[dict[str, Any]]:
    """Entries as rows of their table."""
    return [asdict(entry) for entry in entries]


def insert(connection: duckdb.DuckDBPyConnection, name: str, rows: list[dict[str, Any]], then: str = "") -> None:
    """Add rows to a table, all at once: one by one would take a second for a few hundred."""
    if rows:
        connection.register("incoming", pa.Table.from_pylist(rows))
        connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM incoming {then}")
        connection.unregister("incoming")
