"""Read what `verify` found of a run's features: the part of a store that stands in its evidence."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from dfc.config import SIDES, DamagedError, Side
from dfc.store import attached, columns
from dfc.store.rows import EvidenceRow
from dfc.store.statements import Attached


class Judged(Attached):
    """The evidence beside a features.duckdb, read-only; without it every method gives what is empty."""

    def evidence(self, feature_id: int) -> EvidenceRow | None:
        """What is known about a feature's being exclusive; None before `verify`."""
        names = ", ".join(one.name for one in columns.EVIDENCE)
        rows = self._rows(
            f"SELECT feature_id, {names} FROM judged WHERE feature_id = ? AND verdict IS NOT NULL", [feature_id]
        )
        return EvidenceRow(rows[0]) if rows else None

    def findings(self, side: Side | None = None) -> pd.DataFrame:
        """The findings, of one model or both, in the order of their rank; empty before `verify`, or without surprise.

        Of each what the table `findings` holds, and partition, label, main_source, peak_tokens and verdict of its best
        feature.
        """
        found = self._frame(
            """SELECT findings.*, partition, label, main_source, peak_tokens, verdict
               FROM findings JOIN judged USING (feature_id) WHERE $1 IS NULL OR side = $1 ORDER BY findings.finding""",
            [side],
        )
        if not found["side"].isin(SIDES).all():
            path = attached.evidence_path(self.path)
            problem = f"{path}: is damaged (a finding of neither model)"
            raise DamagedError(f"{problem}; delete it and run `python -m dfc verify {path.parent}`.", problem)
        return found

    def tested(self) -> int:
        """Features of which it was asked whether one model does better where they fire; 0 without surprise."""
        return int(self._rows("SELECT count(false_discovery) AS number FROM judged")[0]["number"])

    def members(self, findings: Sequence[int]) -> pd.DataFrame:
        """The features of each, the best first: finding, feature_id, partition, label, matched_gap, matched_error."""
        return self._frame(
            """SELECT finding, feature_id, partition, label, matched_gap, matched_error FROM judged
               WHERE finding IN (SELECT unnest(?::INTEGER[])) ORDER BY finding, place""",
            [list(findings)],
        )

    def texts(self) -> pd.DataFrame:
        """How much better one model knows each kind of text as a whole: the table `texts`, the largest gaps first."""
        return self._frame("SELECT * FROM texts ORDER BY trait, abs(gap) DESC, name")

    def pair_gaps(self, documents: Sequence[int]) -> dict[int, tuple[list[int], list[float | None]]]:
        """Of each of these documents that was measured, where its kept pairs end and how much better A expects each.

        In nats from the kept pair before, below 0 where B does; None at a turn's first. Empty before `verify`, without
        surprise, and in evidence of before this was kept.
        """
        rows = self._rows("SELECT * FROM pair_gaps WHERE document IN (SELECT unnest(?::INTEGER[]))", [list(documents)])
        return {row["document"]: (row["ends"], row["gaps"]) for row in rows}

    def verdicts(self) -> pd.DataFrame:
        """Number of features of each verdict (columns) in each partition (index); empty before `verify`."""
        counts = self._frame(
            "SELECT partition, verdict, count(*) AS features FROM judged WHERE verdict IS NOT NULL GROUP BY ALL"
        )
        return counts.pivot(index="partition", columns="verdict", values="features").fillna(0)

    def reference(self) -> dict[str, dict[str, list[float]]]:
        """Distribution of each measure of `evidence`: measure → partition → quantiles at 0, 0.01, …, 1.

        Empty before `verify`; a measure that does not apply to a partition has no quantiles for it.
        """
        distributions: dict[str, dict[str, list[float]]] = {}
        for row in self._rows("SELECT measure, population, quantiles FROM reference"):
            distributions.setdefault(row["measure"], {})[row["population"]] = row["quantiles"]
        return distributions

    def neighbours(self, feature_id: int) -> pd.DataFrame:
        """Features of like direction: kind, other_id, similarity, the most similar of each kind first."""
        return self._frame(
            """SELECT kind, other_id, similarity FROM neighbours WHERE feature_id = ?
               ORDER BY kind, similarity DESC, other_id""",
            [feature_id],
        )
