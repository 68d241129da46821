"""What edits of a run's features do to its models: what is left out when a feature is taken away, and how alike both
write when it is carried over."""

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

_WRITTEN = pa.schema(
    {
        "feature_id": pa.int32(),
        "fingerprint": pa.string(),
        "side": pa.string(),
        "drawn": pa.string(),
        "prompt": pa.string(),
        "strength": pa.float64(),
        "seed": pa.int32(),
        "r2": pa.float64(),
        "text": pa.string(),
    }
)
_ALIKE = pa.schema(
    [field for field in _WRITTEN if field.name not in ("side", "text")]
    + [pa.field("way", pa.string()), pa.field("value", pa.float64())]
)
ALONE = -1
"""In place of a feature's number: texts of models that were left alone, whose fingerprint is empty."""


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

    def written(self, feature: int, fingerprint: str, r2: float | None, drawn: str) -> pd.DataFrame:
        """What both models wrote under a feature and a stitch of such R²: side, prompt, strength, seed and text."""
        return self._read(
            """SELECT side, prompt, strength, seed, text FROM written
               WHERE feature_id = ? AND fingerprint = ? AND r2 IS NOT DISTINCT FROM ? AND drawn = ?
               ORDER BY side, prompt, strength, seed""",
            [feature, fingerprint, r2, drawn],
        )

    def add_written(self, rows: list[dict[str, Any]]) -> None:
        """Keep texts, with the columns of `written`; those of the same place, of other features, go."""
        self._replace("written", rows, _WRITTEN)

    def alike(self, fingerprints: Mapping[int, str]) -> pd.DataFrame:
        """How alike what both models wrote is, under these features and, in the same ways, left alone."""
        return self._read(
            f"""SELECT feature_id, drawn, prompt, strength, seed, r2, way, value FROM alike
                WHERE feature_id = {ALONE} OR {_CURRENT} ORDER BY feature_id, way, drawn, prompt, strength, seed""",
            _known(fingerprints),
        )

    def add_alike(self, rows: list[dict[str, Any]]) -> None:
        """Keep how alike texts are, with the columns of `alike`."""
        self._replace("alike", rows, _ALIKE)

    def outsides(self) -> pd.DataFrame:
        """What was measured on both models left alone, the latest first, with the columns of `outside`."""
        return self._read("SELECT * FROM outside ORDER BY measured DESC, prompts, measure", [])

    def add_outside(self, prompts: str, measure: str, drawn: str, asked: int, means: list[list[float]]) -> None:
        """Keep what was measured on both models left alone: of each prompt the mean of A's answers, and of B's."""
        with self._open(write=True) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO outside VALUES (?, ?, ?, now() AT TIME ZONE 'UTC', ?, ?)",
                [prompts, measure, drawn, asked, means],
            )

    def _replace(self, table: str, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
        with self._open(write=True) as connection:
            _add(connection, table, rows, schema, "INSERT OR REPLACE")

    def _read(self, sql: str, values: list[Any]) -> pd.DataFrame:
        with self._open(write=False) as connection:
            return connection.execute(sql, values).df()

    @contextmanager
    def _open(self, write: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        with beside.opened(self.path, _SCHEMA, write, "a readable file of what edits do") as connection:
            yield connection


_CURRENT = "list_contains(map_entries(MAP(?::INTEGER[], ?::VARCHAR[])), {'key': feature_id, 'value': fingerprint})"


def beside_store(features: Path) -> EffectStore | None:
    """What lies beside a feature store; None where nothing was measured yet."""
    kept = EffectStore(features.with_name("effects.duckdb"))
    return kept if kept.path.exists() else None


def _known(fingerprints: Mapping[int, str]) -> list[Collection[Any]]:
    return [list(fingerprints), list(fingerprints.values())]


def _add(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    rows: list[dict[str, Any]],
    schema: pa.Schema,
    add: str = "INSERT",
) -> None:
    """Add rows to a table, each with the columns of the schema."""
    connection.register("incoming", pa.Table.from_pylist(rows, schema))
    connection.execute(f"{add} INTO {table} BY NAME SELECT * FROM incoming")
    connection.unregister("incoming")
