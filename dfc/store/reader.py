"""Read a feature store and the evidence beside it: plain rows and tables for the app, the reports and scripts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dfc.config import PARTITIONS, VERDICTS, DamagedError, Partition, UserError, VersionError
from dfc.store import READABLE, columns, words
from dfc.store.contexts import Context, unpacked
from dfc.store.judged import Judged
from dfc.store.query import FeatureQuery, conditions, folded, likeness, matching, ordering, whole_words
from dfc.store.rows import DocumentRow, EvidenceRow, FeatureRow

__all__ = ["Context", "DocumentRow", "EvidenceRow", "FeatureQuery", "FeatureRow", "Store"]


class Store(Judged):
    """A run's features.duckdb with the evidence.duckdb beside it, read-only.

    Raises:
        UserError: here and from every method, if a file is missing, is no feature store or is damaged; here also if
            the features have a schema that this version does not read.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        version = self.facts().get("schema_version")
        if version not in READABLE:
            raise VersionError(
                f"{path}: was written with schema {version}, this version reads {READABLE[-1]}; "
                f"make it again with `python -m dfc index --again {path.parent}`."
            )

    def facts(self) -> dict[str, Any]:
        """What is known of the whole run, by name.

        Of the evidence: `verified`, where there is some; `rule`, by what it judges, `surprise` or `probes`; `stale`,
        where what lies beside the features is of others, and left out; `outdated`, where an earlier version made it.
        """
        rows = self._rows("SELECT key, value FROM facts")
        try:
            return {row["key"]: json.loads(row["value"]) for row in rows}
        except ValueError:
            problem = f"{self.path}: is damaged (a fact of the run is no JSON)"
            again = f"make it again with `python -m dfc index --again {self.path.parent}`"
            raise DamagedError(f"{problem}; {again}.", problem) from None

    def models(self) -> pd.DataFrame:
        """One row per side, indexed by 'a' and 'b'; `scale` is a list of the scales of all columns."""
        return self._frame("SELECT * FROM models ORDER BY side").set_index("side")

    def features(self, query: FeatureQuery) -> pd.DataFrame:
        """One page of features, a column for each of `columns`; those of the evidence are null before `verify`."""
        # First which features, then all about these: the wide columns of the others are not read.
        ids = self.page_ids(query)
        names = ", ".join(one.name for one in columns.columns())
        return self._frame(
            f"""SELECT {names} FROM judged WHERE feature_id IN (SELECT unnest(?::INTEGER[]))
                ORDER BY list_position(?::INTEGER[], feature_id)""",
            [ids, ids],
        )

    def page_ids(self, query: FeatureQuery) -> list[int]:
        """Ids of one page of features, in its order."""
        sql, values = self._of_matching("feature_id", query)
        rows = self._rows(f"{sql} {ordering(query)} LIMIT ? OFFSET ?", [*values, query.limit, query.offset])
        return [row["feature_id"] for row in rows]

    def count(self, query: FeatureQuery) -> int:
        """How many features match, all pages together."""
        [row] = self._rows(*self._of_matching("count(*) AS number", replace(query, order="feature_id")))
        return int(row["number"])

    def feature_ids(self, query: FeatureQuery) -> list[int]:
        """Ids of all features that match, all pages together, by number."""
        sql, values = self._of_matching("feature_id", replace(query, order="feature_id"))
        with self._cursor() as cursor:
            cursor.execute(f"{sql} ORDER BY feature_id", values)
            column: Any = cursor.fetchnumpy()["feature_id"]
        ids: list[int] = column.tolist()
        return ids

    def matches(self, query: FeatureQuery, feature_ids: Sequence[int]) -> pd.DataFrame:
        """Where the text that a query searches stands in the contexts of some features: feature_id, hits, text.

        `hits` is the number of contexts that hold it, `text` the strongest of these: as whole words, where any does so.
        Features whose label alone holds it have no row.
        """
        held = f"contains({folded('text')}, {folded('?')})"
        return self._frame(
            f"""WITH held AS (
                    SELECT *, regexp_matches(text, ?) AS whole FROM (
                        SELECT feature_id, band, rank, unnest([text_a, text_b]) AS text, unnest([0, 1]) AS side
                        FROM store.contexts
                        WHERE feature_id IN (SELECT unnest(?::INTEGER[])) {"AND band = 0" if query.strongest else ""})
                    WHERE {held})
                SELECT feature_id, count(DISTINCT (band, rank)) AS hits, arg_min(text, (band, rank, side)) AS text
                FROM (SELECT *, bool_or(whole) OVER (PARTITION BY feature_id) AS any_whole FROM held)
                WHERE whole OR NOT any_whole GROUP BY feature_id""",
            [whole_words(query.search), list(feature_ids), query.search],
        )

    def meaning(self) -> dict[str, Any]:
        """What is known of the features' vectors of what they mean: `model`, `digest`, `centre` and others; empty
        where `meaning` was not asked for, or of other features."""
        return {row["key"]: json.loads(row["value"]) for row in self._rows("SELECT key, value FROM meaning")}

    def meanings(self, feature_ids: Sequence[int]) -> tuple[list[int], npt.NDArray[np.float32]]:
        """The vectors of what these features mean, (features, width), and whose each is, by number; without those that
        have none."""
        rows = self._rows(
            """SELECT feature_id, vector FROM meanings WHERE feature_id IN (SELECT unnest(?::INTEGER[]))
               ORDER BY feature_id""",
            [list(feature_ids)],
        )
        vectors = np.array([row["vector"] for row in rows], np.float32)
        return [row["feature_id"] for row in rows], vectors.reshape(len(rows), -1 if rows else 0)

    def likeness(self, near: Sequence[float], feature_ids: Sequence[int]) -> dict[int, float]:
        """The cosine of these features' vectors with one of length 1; without those that have none."""
        rows = self._rows(
            f"""SELECT feature_id, {likeness()} AS likeness FROM meanings
                WHERE feature_id IN (SELECT unnest(?::INTEGER[]))""",
            [list(near), list(feature_ids)],
        )
        return {row["feature_id"]: row["likeness"] for row in rows}

    def alike(self, feature_id: int, first: int, findings: bool = False) -> pd.DataFrame:
        """The features that come nearest to one in meaning: other_id, likeness; none where what it means is not known.

        Args:
            feature_id: which.
            first: how many.
            findings: only the best features of findings, and not that of its own.
        """
        which = """AND place = 0 AND finding IS DISTINCT FROM (SELECT finding FROM judged WHERE feature_id = $1)"""
        return self._frame(
            f"""SELECT feature_id AS other_id, list_inner_product(vector, (
                    SELECT vector FROM meanings WHERE feature_id = $1)) AS likeness
                FROM meanings {"JOIN judged USING (feature_id)" if findings else ""}
                WHERE feature_id != $1 AND $1 IN (SELECT feature_id FROM meanings) {which if findings else ""}
                ORDER BY likeness DESC, other_id LIMIT $2""",
            [feature_id, first],
        )

    def labels(self) -> list[str]:
        """Labels of the features that have one, by number."""
        rows = self._rows("SELECT label FROM store.features WHERE label != '' ORDER BY feature_id")
        return [row["label"] for row in rows]

    def labels_of(self, feature_ids: Sequence[int]) -> dict[int, str]:
        """The label of each of these features that the run has; empty where there is none."""
        rows = self._rows(
            "SELECT feature_id, label FROM features WHERE feature_id IN (SELECT unnest(?::INTEGER[]))",
            [list(feature_ids)],
        )
        return {row["feature_id"]: row["label"] for row in rows}

    def stretches(self) -> pd.DataFrame:
        """Which characters of which documents the strongest contexts show: feature_id, document, start, stop, by
        document."""
        return self._frame(
            "SELECT feature_id, document, start, stop FROM store.contexts WHERE band = 0 ORDER BY document, feature_id"
        )

    def documents(self, numbers: Sequence[int]) -> dict[int, list[str]]:
        """The contents of these documents, a text a turn."""
        rows = self._rows(
            "SELECT document, contents FROM store.documents WHERE document IN (SELECT unnest(?::INTEGER[]))",
            [list(numbers)],
        )
        return {row["document"]: row["contents"] for row in rows}

    def feature(self, feature_id: int) -> FeatureRow:
        """Everything in one row of `features`.

        Raises:
            UserError: if the run has no such feature.
        """
        rows = self._rows("SELECT * FROM features WHERE feature_id = ?", [feature_id])
        if not rows:
            last = self.count(FeatureQuery(alive_only=False)) - 1
            raise UserError(f"feature {feature_id} does not exist in this run; its features are 0 to {last}.")
        return FeatureRow(**rows[0])

    def fingerprints(self, feature_ids: Sequence[int]) -> dict[int, str]:
        """Fingerprint of each of these features that the run has."""
        rows = self._rows(
            """SELECT feature_id, fingerprint FROM store.features
               WHERE feature_id IN (SELECT unnest(?::INTEGER[])) ORDER BY feature_id""",
            [list(feature_ids)],
        )
        return {row["feature_id"]: row["fingerprint"] for row in rows}

    def beside(self, feature_id: int, partition: Partition) -> tuple[int | None, int | None]:
        """The alive features of a partition whose numbers are the next lower and the next higher ones."""
        [row] = self._rows(
            """SELECT max(feature_id) FILTER (feature_id < ?) AS lower,
                      min(feature_id) FILTER (feature_id > ?) AS higher
               FROM store.features WHERE partition = ? AND alive""",
            [feature_id, feature_id, partition],
        )
        return row["lower"], row["higher"]

    def contexts(self, feature_id: int) -> list[Context]:
        """Contexts of one feature, the strongest band first."""
        rows = self._rows("SELECT * FROM store.contexts WHERE feature_id = ?", [feature_id])
        rows.sort(key=lambda row: (row["band"], row["rank"]))  # DuckDB would carry all columns through its sort
        return [unpacked(row) for row in rows]

    def strongest_contexts(self, feature_ids: list[int]) -> dict[int, Context]:
        """The first context of each of several features."""
        return {feature: first for feature, [first] in self.first_contexts(feature_ids, 1).items()}

    def strongest_ranks(self, feature_ids: Sequence[int]) -> pd.DataFrame:
        """Which of their strongest contexts these features have: feature_id, rank."""
        return self._frame(
            """SELECT feature_id, rank FROM store.contexts
               WHERE band = 0 AND feature_id IN (SELECT unnest(?::INTEGER[]))""",
            [list(feature_ids)],
        )

    def first_contexts(self, feature_ids: Sequence[int], number: int) -> dict[int, list[Context]]:
        """So many of the strongest contexts of each of these features, the strongest first."""
        rows = self._rows(
            """SELECT * FROM store.contexts
               WHERE band = 0 AND rank < ? AND feature_id IN (SELECT unnest(?::INTEGER[]))""",
            [number, list(feature_ids)],
        )
        rows.sort(key=lambda row: (row["feature_id"], row["rank"]))
        found: dict[int, list[Context]] = {}
        for row in rows:
            found.setdefault(row["feature_id"], []).append(unpacked(row))
        return found

    def some_contexts(self, number: int, seed: int) -> list[Context]:
        """So many of the strongest contexts of all features, or all, drawn evenly; the same seed draws the same."""
        rows = self._rows(
            """SELECT * FROM store.contexts SEMI JOIN (
                   SELECT feature_id, band, rank FROM store.contexts WHERE band = 0
                   ORDER BY hash(feature_id, band, rank, ?), feature_id, band, rank LIMIT ?)
               USING (feature_id, band, rank)""",
            [seed, number],
        )
        rows.sort(key=lambda row: (row["feature_id"], row["band"], row["rank"]))
        return [unpacked(row) for row in rows]

    def document(self, number: int) -> DocumentRow:
        """A whole document that contexts are cut from.

        Raises:
            UserError: if no context is cut from it.
        """
        rows = self._rows("SELECT * FROM store.documents WHERE document = ?", [number])
        if not rows:
            raise UserError(f"document {number} is not kept in this run's store; only those are that contexts show.")
        return DocumentRow(**rows[0])

    def logits(self, feature_id: int) -> pd.DataFrame:
        """Promoted and suppressed tokens: side, direction, rank, token, value."""
        return self._frame(
            """SELECT side, direction, rank, token, value FROM store.logits WHERE feature_id = ?
               ORDER BY side, direction, rank""",
            [feature_id],
        )

    def logit_counts(self, feature_id: int) -> pd.DataFrame:
        """How the logits of all tokens are spread: side, least, most, counts; empty in a store of before schema 8."""
        return self._frame(
            "SELECT side, least, most, counts FROM logit_counts WHERE feature_id = ? ORDER BY side", [feature_id]
        )

    def sources(self, feature_id: int) -> pd.DataFrame:
        """Firing counts and rates over sources, the highest rate first."""
        return self._frame(
            "SELECT source, count, rate FROM store.sources WHERE feature_id = ? ORDER BY rate DESC, source",
            [feature_id],
        )

    def roles(self, feature_id: int) -> pd.DataFrame:
        """Firing counts and rates over who speaks, the highest rate first."""
        return self._frame(
            "SELECT role, count, rate FROM store.roles WHERE feature_id = ? ORDER BY rate DESC, role", [feature_id]
        )

    def phrases(self, feature_ids: Sequence[int]) -> pd.DataFrame:
        """What the top contexts of each have in common: feature_id, kind, rank, text, count, lift, the most distinctive
        of each kind first."""
        return self._frame(
            """SELECT feature_id, kind, rank, text, count, lift FROM store.phrases
               WHERE feature_id IN (SELECT unnest(?::INTEGER[])) ORDER BY feature_id, kind DESC, rank""",
            [list(feature_ids)],
        )

    def coactivations(self, feature_id: int) -> pd.DataFrame:
        """Features that fire on the same pairs: other_id, together, jaccard, phi, the strongest first."""
        return self._frame(
            """SELECT other_id, together, jaccard, phi FROM store.coactivations WHERE feature_id = ?
               ORDER BY phi DESC, other_id""",
            [feature_id],
        )

    def norms(self) -> pd.DataFrame:
        """What the norm charts draw: one row per feature; `verdict` and `decoder_cosine` are null before `verify`.

        The raw norms are null in a store of before schema 7, whose norms are lengths in the scaled space.

        Partitions and verdicts are categories, and no text becomes a Python object: there may be 100,000 rows.
        """
        partition, verdict = (f"ENUM ({str(names)[1:-1]})" for names in (PARTITIONS, VERDICTS))
        sql = f"""SELECT feature_id, partition::{partition} AS partition, alive, density, norm_a, norm_b,
                         raw_norm_a, raw_norm_b, relative_norm, verdict::{verdict} AS verdict, decoder_cosine,
                         coalesce(peak_tokens[1], '') AS peak_token
                  FROM judged"""
        with self._cursor() as cursor:  # sorted here: DuckDB would carry the texts through its sort
            return cursor.sql(sql).to_arrow_table().to_pandas().sort_values("feature_id", ignore_index=True)

    def partitions(self) -> pd.DataFrame:
        """Features and alive features in each partition, indexed by partition."""
        return self._frame(
            """SELECT partition, count(*) AS features, count(*) FILTER (alive) AS alive,
                      sum(density) AS l0, median(density) FILTER (alive) AS median_density
               FROM store.features GROUP BY partition ORDER BY partition"""
        ).set_index("partition")

    def _of_matching(self, what: str, query: FeatureQuery) -> tuple[str, list[Any]]:
        """The statement that gives something of all features that match, in no order, and its values."""
        found, rows_of, searched = matching(query, words.narrowing(query, self._rows) if query.search else None)
        where, values = conditions(query)
        return f"{found} SELECT {what} FROM {rows_of} WHERE {where}", [*searched, *values]
