"""Statements on a feature store and what lies beside it, and errors as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from dfc.config import MissingError
from dfc.store import attached, errors


class Attached:
    """A features.duckdb with what lies beside it, read-only.

    Raises:
        UserError: from every method, if a file is missing, is no feature store or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def _frame(self, sql: str, values: Sequence[Any] = ()) -> pd.DataFrame:
        with self._cursor() as cursor:
            return cursor.execute(sql, list(values)).df()

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        with self._cursor() as cursor:
            rows = cursor.execute(sql, list(values)).fetchall()
            names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in rows]

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        run = self.path.parent
        try:
            with attached.connection(self.path).cursor() as cursor:
                yield cursor
        except FileNotFoundError:
            raise MissingError(
                f"{self.path}: this run has no feature store yet; make it with `python -m dfc index {run}`."
            ) from None
        except duckdb.Error as error:
            again = f"make it again with `python -m dfc index --again {run}`"
            raise errors.explained(error, self.path, "a readable feature store", again) from None
