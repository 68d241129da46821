"""A DuckDB file beside a run's store that grows while others read it.

It is opened for each call alone and closed at once, so that neither the app's readers nor what writes in the background
keeps the other waiting; each call is one transaction.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from dfc.config import UserError
from dfc.store import errors

_PATIENCE = 20.0  # seconds until another process has closed the file
_one_at_a_time = threading.Lock()  # one process may not hold a file open for reading and for writing


@dataclass(frozen=True)
class KeptFile:
    """A file, made by the first thing that is written; `_tables` are the statements that make its tables.

    Every method raises UserError if the file is damaged (DamagedError), or another process does not let go of it.
    """

    path: Path

    _tables = ""
    _what = "a readable file"

    def _write(self, sql: str, values: list[Any]) -> None:
        with self._open(write=True) as connection:
            connection.execute(sql, values)

    def _read(self, sql: str, values: list[Any] | None = None) -> pd.DataFrame:
        with self._open(write=False) as connection:
            return connection.execute(sql, values or []).df()

    @contextmanager
    def _open(self, write: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, for one transaction; a reader of a file that is not there is given empty tables in memory."""
        try:
            with _one_at_a_time:
                missing = not self.path.exists()
                connection = duckdb.connect() if missing and not write else _patiently(self.path, write)
                try:
                    if write or missing:
                        connection.execute(self._tables)
                    connection.begin()
                    yield connection
                    connection.commit()
                finally:
                    connection.close()
        except duckdb.ConstraintException as error:
            raise UserError(f"{self.path}: this does not fit, and nothing of it is kept ({error!s:.200}).") from None
        except duckdb.Error as error:
            again = "move it away: a new one is begun"
            raise errors.explained(error, self.path, self._what, again) from None


def add(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Add rows to a table, all or none of them; each has the columns of the schema."""
    connection.register("incoming", pa.Table.from_pylist(rows, schema))
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
    connection.unregister("incoming")


def _patiently(path: Path, write: bool) -> duckdb.DuckDBPyConnection:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return duckdb.connect(str(path), read_only=not write)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() or time.monotonic() > until:
                raise
            time.sleep(0.02)
