"""Write a feature store, or what lies beside it, and rename it into place."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dfc.store import (
    EVIDENCE_TABLES,
    EVIDENCE_VERSION,
    MEANING_TABLES,
    MEANING_VERSION,
    SCHEMA_VERSION,
    TABLES,
    columns,
)
from dfc.store.query import BETWEEN, folded
from dfc.store.words import WordIndex

_JOINED = 8  # contexts
_ROW_GROUP = 30_720  # rows: of DuckDB's 122,880 a feature's page reads a few, but decodes whole dictionaries of texts
_SCHEMA = (Path(__file__).parent / "schema.sql").read_text(encoding="utf-8")
_EVIDENCE = (Path(__file__).parent / "evidence.sql").read_text(encoding="utf-8")
_MEANING = (Path(__file__).parent / "meaning.sql").read_text(encoding="utf-8")


class StoreWriter:
    """A context manager; readers see the new file, whole, when the block ends without an error.

    Tables may be appended in several pieces; the rows of one table must come in feature order.

    Args:
        path: of the file.
        schema: statements that make its tables.
        tables: their names.
        version: of the schema.
    """

    def __init__(
        self, path: Path, schema: str = _SCHEMA, tables: tuple[str, ...] = TABLES, version: int = SCHEMA_VERSION
    ) -> None:
        self._schema, self._tables, self._version = schema, tables, version
        self._path = path
        self._temporary = path.with_name(path.name + ".part")
        self._words = WordIndex()

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._discard()
        try:
            self._connection = self._open()
        except BaseException:
            self._discard()
            raise
        return self

    def _open(self) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        quoted = str(self._temporary).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS store (ROW_GROUP_SIZE {_ROW_GROUP})")
        connection.execute("USE store")
        connection.execute(self._schema)
        connection.execute("INSERT INTO run VALUES ('schema_version', ?)", [json.dumps(self._version)])
        return connection

    def facts(self, values: Mapping[str, Any]) -> None:
        """Add entries to the table `run`; values are kept as JSON."""
        keys = list(values)
        texts = [json.dumps(values[key], ensure_ascii=False) for key in keys]
        self.append("run", pa.table({"key": keys, "value": texts}))

    def columns(self, table: str) -> dict[str, str]:
        """Name and SQL type of each column of a table."""
        described = self._connection.execute(
            "SELECT column_name, column_type FROM (DESCRIBE FROM query_table(?))", [table]
        )
        return dict(described.fetchall())

    def append(self, table: str, rows: pa.Table) -> None:
        """Add rows, whose columns are those of the schema in any order."""
        if table not in self._tables:
            raise ValueError(f"no such table: {table}")
        self._insert(rows, f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        if table == "contexts":
            self._make_searchable(_joined(rows))

    def _make_searchable(self, texts: pa.Table) -> None:
        # In lower case as DuckDB has it, by which searches are made as well.
        self._connection.register("texts", texts)
        lower = self._connection.sql(f"SELECT feature_id, {folded('text')} AS text FROM texts").to_arrow_table()
        self._connection.unregister("texts")
        self._insert(lower, "INSERT INTO searched SELECT * FROM incoming")
        self._words.add(lower["feature_id"].to_numpy(), lower["text"].to_pylist())

    def _insert(self, rows: pa.Table, statement: str) -> None:
        self._connection.register("incoming", rows)
        self._connection.execute(statement)
        self._connection.unregister("incoming")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and "contexts" in self._tables:
            self._insert(self._words.table(), "INSERT INTO words SELECT * FROM incoming ORDER BY word")
        self._connection.close()
        if kind is None:
            os.replace(self._temporary, self._path)
        else:
            self._discard()

    def _discard(self) -> None:
        """Remove what a killed or failed writer left, its log of changes too: DuckDB would make them in a new file."""
        for path in (self._temporary, self._temporary.with_name(self._temporary.name + ".wal")):
            path.unlink(missing_ok=True)


def evidence_writer(path: Path) -> StoreWriter:
    """The same for a run's evidence.duckdb, whose table `evidence` has the columns of the evidence."""
    figures = ", ".join(f"{one.name} {one.kind}" for one in columns.EVIDENCE)
    table = f"CREATE TABLE evidence (feature_id INTEGER NOT NULL, {figures});"
    return StoreWriter(path, _EVIDENCE + table, EVIDENCE_TABLES, EVIDENCE_VERSION)


def meaning_writer(path: Path) -> StoreWriter:
    """The same for a run's meaning.duckdb."""
    return StoreWriter(path, _MEANING, MEANING_TABLES, MEANING_VERSION)


def _joined(contexts: pa.Table) -> pa.Table:
    """The contexts' texts, several of a feature's in a row: fewer, longer texts are scanned faster."""
    parts = [contexts.select(["feature_id", f"text_{side}"]).rename_columns(["feature_id", "text"]) for side in "ab"]
    texts = pa.concat_tables(parts).drop_null().sort_by("feature_id")
    feature = texts["feature_id"].to_numpy()
    begins = np.flatnonzero(np.diff(feature, prepend=-1))
    place = np.arange(len(feature)) - np.repeat(begins, np.diff(begins, append=len(feature)))
    first = np.flatnonzero(place % _JOINED == 0)
    grouped = pa.ListArray.from_arrays(
        pa.array(np.append(first, len(feature)).astype(np.int32)), texts["text"].combine_chunks()
    )
    return pa.table({"feature_id": feature[first], "text": pc.binary_join(grouped, BETWEEN)})
