"""Read a feature store: plain rows and tables for the app, the reports and scripts.

The file is attached read-only to an in-memory connection, with one cursor per call, so
that any number of threads and processes may read at once. A store that was replaced is
attached anew at the next call; whoever still reads the old one reads it to the end.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import duckdb
import pandas as pd

from dfc.config import Partition, UserError, Verdict
from dfc.store import SCHEMA_VERSION

Order = Literal[
    "feature_id",
    "density",
    "max",
    "mean",
    "relative_norm",
    "norm_a",
    "norm_b",
    "specificity",
    "main_source",
    "count",
    "confidence",
]

_JUDGED = "store.features LEFT JOIN store.evidence USING (feature_id)"

_connections: dict[Path, tuple[tuple[int, int, int], duckdb.DuckDBPyConnection]] = {}
_connections_lock = threading.Lock()


@dataclass(frozen=True)
class FeatureQuery:
    """A filtered, sorted page of the features table."""

    partitions: tuple[Partition, ...] = ("a", "b", "shared")
    alive_only: bool = True
    density: tuple[float, float] = (0.0, 1.0)
    main_source: str | None = None
    search: str = ""
    ids: tuple[int, ...] | None = None
    max: tuple[float, float] | None = None
    own_r2: tuple[float, float] | None = None
    probe_ratio: tuple[float, float] | None = None
    mirror_correlation: tuple[float, float] | None = None
    relative_norm: tuple[float, float] | None = None
    confidence: tuple[float, float] | None = None
    verdicts: tuple[Verdict, ...] = ()  # none: all, those not judged included
    order: Order = "specificity"
    descending: bool = True
    limit: int = 100
    offset: int = 0


@dataclass(frozen=True)
class FeatureRow:
    """One row of the table `features`; schema.sql says what each column means."""

    feature_id: int
    partition: Partition
    fingerprint: str
    alive: bool
    count: int
    density: float
    mean: float
    max: float
    quantiles: list[float]
    histogram: list[int]
    norm_a: float
    norm_b: float
    relative_norm: float
    peak_tokens: list[str]
    main_source: str
    specificity: float


@dataclass(frozen=True)
class EvidenceRow:
    """One row of the table `evidence`; schema.sql says what each column means, None that it does not apply."""

    feature_id: int
    held_out_count: int
    probe_r2_a: float | None
    probe_r2_b: float | None
    auroc_a: float | None
    auroc_b: float | None
    probe_ratio: float | None
    mirror_id: int | None
    mirror_correlation: float | None
    shared_id: int | None
    shared_correlation: float | None
    decoder_cosine: float | None
    nu_epsilon: float | None
    nu_r: float | None
    verdict: Verdict
    confidence: float


@dataclass(frozen=True)
class Context:
    """One stretch of a document on which a feature fires, in both tokenisations.

    `activations_*[i]` is the feature's activation on `tokens_*[i]`, None where that token is not paired.
    """

    feature_id: int
    band: int
    rank: int
    document: int
    source: str
    peak: float
    tokens_a: list[str]
    tokens_b: list[str]
    activations_a: list[float | None]
    activations_b: list[float | None]
    peak_a: int
    peak_b: int


class Store:
    """A run's features.duckdb, read-only.

    Raises:
        UserError: here and from every method, if the file is missing, is no feature store or is damaged; here also if
            it has another schema.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        version = self.facts().get("schema_version")
        if version != SCHEMA_VERSION:
            raise UserError(
                f"{path}: was written with schema {version}, this version reads {SCHEMA_VERSION}; "
                f"make it again with `python -m dfc index --again {path.parent}`."
            )

    def facts(self) -> dict[str, Any]:
        """The table `run` as a dictionary."""
        return {row["key"]: json.loads(row["value"]) for row in self._rows("SELECT key, value FROM store.run")}

    def models(self) -> pd.DataFrame:
        """One row per side, indexed by 'a' and 'b'."""
        return self._frame("SELECT * FROM store.models ORDER BY side").set_index("side")

    def features(self, query: FeatureQuery) -> pd.DataFrame:
        """One page of features, with the columns that a table shows; those of evidence are null before `verify`."""
        where, values = _conditions(query)
        direction = "DESC" if query.descending else "ASC"
        if query.order not in get_args(Order):  # the only text that enters a statement
            raise ValueError(f"cannot order by {query.order}")
        return self._frame(
            f"""SELECT feature_id, partition, alive, count, density, mean, max, norm_a, norm_b, relative_norm,
                       peak_tokens, main_source, specificity, histogram,
                       CASE partition WHEN 'b' THEN probe_r2_b ELSE probe_r2_a END AS own_r2,
                       verdict, confidence, probe_ratio, mirror_correlation, shared_correlation
                FROM {_JUDGED} WHERE {where}
                ORDER BY {query.order} {direction} NULLS LAST, feature_id LIMIT ? OFFSET ?""",
            [*values, query.limit, query.offset],
        )

    def count(self, query: FeatureQuery) -> int:
        """How many features match, all pages together."""
        where, values = _conditions(query)
        return int(self._rows(f"SELECT count(*) AS number FROM {_JUDGED} WHERE {where}", values)[0]["number"])

    def feature_ids(self, query: FeatureQuery) -> list[int]:
        """Ids of all features that match, all pages together, by number."""
        where, values = _conditions(query)
        rows = self._rows(f"SELECT feature_id FROM {_JUDGED} WHERE {where} ORDER BY feature_id", values)
        return [row["feature_id"] for row in rows]

    def feature(self, feature_id: int) -> FeatureRow:
        """Everything in one row of `features`.

        Raises:
            UserError: if the run has no such feature.
        """
        rows = self._rows("SELECT * FROM store.features WHERE feature_id = ?", [feature_id])
        if not rows:
            last = self.count(FeatureQuery(alive_only=False)) - 1
            raise UserError(f"feature {feature_id} does not exist in this run; its features are 0 to {last}.")
        return FeatureRow(**rows[0])

    def fingerprints(self, feature_ids: Sequence[int]) -> dict[int, str]:
        """Fingerprint of each of these features that the run has."""
        rows = self._rows(
            "SELECT feature_id, fingerprint FROM store.features WHERE list_contains(?, feature_id) ORDER BY feature_id",
            [list(feature_ids)],
        )
        return {row["feature_id"]: row["fingerprint"] for row in rows}

    def contexts(self, feature_id: int) -> list[Context]:
        """Contexts of one feature, the strongest band first."""
        rows = self._rows("SELECT * FROM store.contexts WHERE feature_id = ? ORDER BY band, rank", [feature_id])
        return [Context(**row) for row in rows]

    def strongest_contexts(self, feature_ids: list[int]) -> dict[int, Context]:
        """The first context of each of several features."""
        rows = self._rows(
            "SELECT * FROM store.contexts WHERE band = 0 AND rank = 0 AND list_contains(?, feature_id)", [feature_ids]
        )
        return {row["feature_id"]: Context(**row) for row in rows}

    def logits(self, feature_id: int) -> pd.DataFrame:
        """Promoted and suppressed tokens: side, direction, rank, token, value."""
        return self._frame(
            "SELECT side, direction, rank, token, value FROM store.logits WHERE feature_id = ? ORDER BY ALL",
            [feature_id],
        )

    def sources(self, feature_id: int) -> pd.DataFrame:
        """Firing counts and rates over sources, the highest rate first."""
        return self._frame(
            "SELECT source, count, rate FROM store.sources WHERE feature_id = ? ORDER BY rate DESC, source",
            [feature_id],
        )

    def evidence(self, feature_id: int) -> EvidenceRow | None:
        """What is known about a feature's being exclusive; None before `verify`."""
        rows = self._rows("SELECT * FROM store.evidence WHERE feature_id = ?", [feature_id])
        return EvidenceRow(**rows[0]) if rows else None

    def verdicts(self) -> pd.DataFrame:
        """Number of features of each verdict (columns) in each partition (index); empty before `verify`."""
        counts = self._frame(
            """SELECT partition, verdict, count(*) AS features
               FROM store.evidence JOIN store.features USING (feature_id) GROUP BY ALL"""
        )
        return counts.pivot(index="partition", columns="verdict", values="features").fillna(0)

    def neighbours(self, feature_id: int) -> pd.DataFrame:
        """Features of like direction: kind, other_id, similarity, the most similar of each kind first."""
        return self._frame(
            """SELECT kind, other_id, similarity FROM store.neighbours WHERE feature_id = ?
               ORDER BY kind, similarity DESC, other_id""",
            [feature_id],
        )

    def norms(self) -> pd.DataFrame:
        """What the norm charts draw: one row per feature."""
        return self._frame(
            """SELECT feature_id, partition, alive, density, norm_a, norm_b, relative_norm, peak_tokens
               FROM store.features ORDER BY feature_id"""
        )

    def partitions(self) -> pd.DataFrame:
        """Features and alive features in each partition, indexed by partition."""
        return self._frame(
            """SELECT partition, count(*) AS features, count(*) FILTER (alive) AS alive,
                      sum(density) AS l0, median(density) FILTER (alive) AS median_density
               FROM store.features GROUP BY partition ORDER BY partition"""
        ).set_index("partition")

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
            with _attached(self.path).cursor() as cursor:
                yield cursor
        except FileNotFoundError:
            raise UserError(
                f"{self.path}: this run has no feature store yet; make it with `python -m dfc index {run}`."
            ) from None
        except duckdb.Error as error:
            raise UserError(
                f"{self.path}: is not a readable feature store ({str(error).splitlines()[0]:.200}); "
                f"make it again with `python -m dfc index --again {run}`."
            ) from None


def _conditions(query: FeatureQuery) -> tuple[str, list[Any]]:
    terms, values = ["list_contains(?, partition)", "density BETWEEN ? AND ?"], [list(query.partitions), *query.density]
    if query.alive_only:
        terms.append("alive")
    if query.main_source is not None:
        terms.append("main_source = ?")
        values.append(query.main_source)
    for name in ("max", "probe_ratio", "mirror_correlation", "relative_norm", "confidence"):
        if (ends := getattr(query, name)) is not None:
            terms.append(f"{name} BETWEEN ? AND ?")
            values += list(ends)
    if query.own_r2 is not None:
        terms.append("CASE partition WHEN 'b' THEN probe_r2_b ELSE probe_r2_a END BETWEEN ? AND ?")
        values += list(query.own_r2)
    if query.ids is not None:
        terms.append("list_contains(?, feature_id)")
        values.append(list(query.ids))
    if query.verdicts:
        terms.append("list_contains(?, verdict)")
        values.append(list(query.verdicts))
    if query.search:
        # Token texts are joined first, since a word may be cut into several tokens.
        terms.append(
            """(contains(lower(array_to_string(peak_tokens, ' ')), lower(?)) OR feature_id IN (
                SELECT feature_id FROM store.contexts
                WHERE contains(lower(array_to_string(tokens_a, '')), lower(?))))"""
        )
        values += [query.search, query.search]
    return " AND ".join(terms), values


def _attached(path: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory connection with the file attached as `store`, shared while the file stays the same.

    That of a replaced file is not closed here, since others may read from it; it goes with the last of its cursors.

    Raises:
        FileNotFoundError: if there is no file.
    """
    path = path.resolve()
    state = path.stat()
    stamp = state.st_ino, state.st_mtime_ns, state.st_size
    with _connections_lock:
        known = _connections.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        connection = duckdb.connect()
        quoted = str(path).replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS store (READ_ONLY)")
        _connections[path] = stamp, connection
        return connection
