"""A file beside a run's store that grows while it is read: opened for each call alone and closed at once.

So neither the app's readers nor what writes in the background keeps the other waiting; each call is one transaction.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from dfc.config import UserError
from dfc.store import errors

_PATIENCE = 20.0  # seconds until another process has closed the file
_one_at_a_time = threading.Lock()  # one process may not hold a file open for reading and for writing


def expect_writable(path: Path) -> None:
    """See that what is computed for a file can be kept in it, before it is computed.

    Raises:
        UserError: if not.
    """
    place = path if path.exists() else path.parent
    if not os.access(place, os.W_OK):
        raise UserError(f"{path}: cannot be written, so nothing is begun; see that you may write there.")


@contextmanager
def opened(path: Path, schema: str, write: bool, what: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """The file, for one transaction; a reader of a file that is not there is given empty tables in memory.

    Args:
        path: of the file.
        schema: statements that make its tables where they are not there.
        write: whether it is written.
        what: it is meant to be, such as `a readable file of what was steered`.

    Raises:
        UserError: if the file is damaged (DamagedError), or another process does not let go of it.
    """
    try:
        with _one_at_a_time:
            missing = not path.exists()
            connection = duckdb.connect() if missing and not write else _patiently(path, write)
            try:
                if write or missing:
                    connection.execute(schema)
                connection.begin()
                yield connection
                connection.commit()
            finally:
                connection.close()
    except duckdb.ConstraintException as error:
        raise UserError(f"{path}: this does not fit, and nothing of it is kept ({error!s:.200}).") from None
    except duckdb.Error as error:
        raise errors.explained(error, path, what, "move it away: a new one is begun") from None


def _patiently(path: Path, write: bool) -> duckdb.DuckDBPyConnection:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            return duckdb.connect(str(path), read_only=not write)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower() or time.monotonic() > until:
                raise
            time.sleep(0.02)
