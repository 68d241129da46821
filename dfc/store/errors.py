"""What an error of DuckDB about a file means: damage is one thing among several, and only it asks for a new file."""

from __future__ import annotations

from pathlib import Path

import duckdb

from dfc.config import DamagedError, MemoryShortError, UserError, VersionError
from dfc.machine import memory

_REFUSED = ("permission denied", "is a directory", "lock on file", "too many open files", "no space left")


def explained(error: duckdb.Error, path: Path, what: str, remedy: str) -> UserError:
    """The error to raise in place of DuckDB's, by its kind.

    Args:
        error: what DuckDB raised.
        path: the file.
        what: the file is meant to be, such as `a readable feature store`.
        remedy: what to do if it is damaged, an imperative without a full stop.
    """
    said = (str(error).splitlines() or [type(error).__name__])[0]
    if memory.is_out_of_memory(error):
        return MemoryShortError(f"{path}: there is no memory to read it ({said:.200}); close other programs.")
    if any(words in said.lower() for words in _REFUSED):
        return UserError(
            f"{path}: cannot be opened ({said:.200}); see that you may read and write it, and that "
            "no other program writes it."
        )
    if "version number" in said or "newer version" in said:
        return VersionError(f"{path}: was written by another version of DuckDB ({said:.200}); install that version.")
    return DamagedError(f"{path}: is not {what} ({said:.200}); {remedy}.")
