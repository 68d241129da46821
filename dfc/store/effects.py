"""What edits of a run's features do to its models: what is left out when a feature is taken away."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa

from dfc.store import beside

_SCHEMA = (Path(__file__).parent / "effects.sql").read_text(encoding="utf-8")
ABLATIONS = pa.schema(
    {
        "feature_id": pa.int32(),
        "side": pa.string(),
        "document": pa.int32(),
        "held_out": pa.bool_(),
        "firings": pa.int32(),
        "positions": pa.int32(),
        "kl": pa.float64(),
        "random": pa.float64(),
    }
)


def effects_path(features: Path) -> Path:
    """Where what edits do lies beside a feature store."""
    return features.with_name("effects.duckdb")


@dataclass(frozen=True)
class EffectStore:
    """A run's effects.duckdb; what is asked for comes by fingerprints, so that of other features counts as none.

    Every method raises UserError if the file is damaged (DamagedError), or another process does not let go of it.
    """

    path: Path

    def ablated(self, fingerprints: Mapping[int, str], texts: int, positions: int) -> set[int]:
        """Which of these features were taken away already in so many texts and positions of each."""
        rows = self._read(
            f"SELECT feature_id FROM ablated WHERE {_CURRENT} AND texts = ? AND positions = ?",
            [*_known(fingerprints), texts, positions],
        )
        return set(rows["feature_id"].tolist())

    def add_ablation(
        self, feature: int, fingerprint: str, texts: int, positions: int, rows: list[dict[str, Any]]
    ) -> None:
        """Keep what taking away a feature did, rows with the columns of ABLATIONS, in place of what was kept of it."""
        with self._open(write=True) as connection:
            for table in ("ablated", "ablations"):
                connection.execute(f"DELETE FROM {table} WHERE feature_id = ?", [feature])
            connection.execute(
                "INSERT INTO ablated VALUES (?, ?, now() AT TIME ZONE 'UTC', ?, ?)",
                [feature, fingerprint, texts, positions],
            )
            _add(connection, "ablations", rows, ABLATIONS)

    def ablations(self, fingerprints: Mapping[int, str]) -> pd.DataFrame:
        """What taking away these features did: the columns of ABLATIONS, text by text in the order of documents."""
        return self._read(
            f"""SELECT ablations.* FROM ablations JOIN ablated USING (feature_id) WHERE {_CURRENT}
                ORDER BY feature_id, side, document""",
            _known(fingerprints),
        )

    def _read(self, sql: str, values: list[Any]) -> pd.DataFrame:
        with self._open(write=False) as connection:
            return connection.execute(sql, values).df()

    @contextmanager
    def _open(self, write: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        with beside.opened(self.path, _SCHEMA, write, "a readable file of what edits do") as connection:
            yield connection


_CURRENT = "list_contains(map_entries(MAP(?::INTEGER[], ?::VARCHAR[])), {'key': feature_id, 'value': fingerprint})"


def _known(fingerprints: Mapping[int, str]) -> list[Collection[Any]]:
    return [list(fingerprints), list(fingerprints.values())]


def _add(connection: duckdb.DuckDBPyConnection, table: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Add rows to a table, each with the columns of the schema."""
    connection.register("incoming", pa.Table.from_pylist(rows, schema))
    connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
    connection.unregister("incoming")
