"""What was steered with a run's features: sweeps, their outputs, and a history, in a DuckDB file beside the store.

The file is opened for each call alone and closed at once, so that neither the app's readers nor a sweep that writes
in the background keeps the other waiting; each call is one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import duckdb
import pandas as pd
import pyarrow as pa

from dfc.store import beside

Status = Literal["running", "done", "cancelled", "failed"]

_SCHEMA = (Path(__file__).parent / "steering.sql").read_text(encoding="utf-8")

OUTPUTS = pa.schema(
    {
        "sweep_id": pa.string(),
        "side": pa.string(),
        "feature_id": pa.int32(),
        "direction": pa.string(),
        "mode": pa.string(),
        "strength": pa.float64(),
        "prompt_id": pa.int32(),
        "prompt": pa.string(),
        "text": pa.string(),
        "answer": pa.string(),
        "reasoning": pa.string(),
        "tokens": pa.list_(pa.string()),
        "kl": pa.list_(pa.float32()),
        "activation": pa.list_(pa.float32()),
        "promoted": pa.list_(pa.float32()),
        "perplexity": pa.float64(),
        "distinct_tokens": pa.float64(),
        "coverage": pa.float64(),
        "refusal": pa.bool_(),
    }
)


@dataclass(frozen=True)
class SteeringStore:
    """A run's steering.duckdb; it is made by the first thing that is written.

    Every method raises UserError if the file is damaged (DamagedError), or another process does not let go of it.
    """

    path: Path

    def begin_sweep(self, sweep_id: str, title: str, outputs: int, settings: str) -> None:
        """Note a sweep that is running; settings are JSON."""
        self._write(
            """INSERT INTO sweeps (sweep_id, started, status, title, outputs, settings)
               VALUES (?, now() AT TIME ZONE 'UTC', 'running', ?, ?, ?)""",
            [sweep_id, title, outputs, settings],
        )

    def end_sweep(self, sweep_id: str, status: Status) -> None:
        """Note how a sweep ended."""
        self._write("UPDATE sweeps SET status = ? WHERE sweep_id = ?", [status, sweep_id])

    def add_outputs(self, rows: list[dict[str, Any]]) -> None:
        """Add outputs, each with the columns of OUTPUTS, all or none of them."""
        with self._open(write=True) as connection:
            connection.register("incoming", pa.Table.from_pylist(rows, OUTPUTS))
            connection.execute("INSERT INTO outputs BY NAME SELECT * FROM incoming")
            connection.unregister("incoming")

    def unscored(self, sweep_id: str, judge: str) -> list[tuple[str, str]]:
        """Prompts and answers of a sweep that this judge has not scored, each pair once; judge is JSON."""
        sweeps = self.sweeps()
        scored = judge in sweeps.loc[sweeps["sweep_id"] == sweep_id, "judge"].tolist()
        outputs = _with_score(
            self._read(
                "SELECT DISTINCT COLUMNS('^(prompt|text|score)$') FROM outputs WHERE sweep_id = ?",
                [sweep_id],
            )
        )
        left = outputs[outputs["score"].isna()] if scored else outputs
        return sorted(set(zip(left["prompt"], left["text"], strict=True)))

    def add_scores(self, sweep_id: str, judge: str, scores: list[tuple[str, str, float]]) -> None:
        """Add scores of (prompt, answer); those of another judge are taken away, so that one sweep has one judge's."""
        with self._open(write=True) as connection:
            connection.execute(
                """UPDATE outputs SET score = NULL WHERE sweep_id = ? AND score IS NOT NULL
                   AND (SELECT judge FROM sweeps WHERE sweep_id = ?) IS DISTINCT FROM ?""",
                [sweep_id, sweep_id, judge],
            )
            connection.execute("UPDATE sweeps SET judge = ? WHERE sweep_id = ?", [judge, sweep_id])
            for prompt, text, score in scores:
                connection.execute(
                    "UPDATE outputs SET score = ? WHERE sweep_id = ? AND prompt = ? AND text = ?",
                    [score, sweep_id, prompt, text],
                )

    def add_tried(self, tried_id: str, prompt: str, request: str, answers: str) -> None:
        """Add to the history; request and answers are JSON."""
        self._write(
            "INSERT INTO tried VALUES (?, now() AT TIME ZONE 'UTC', ?, ?, ?)", [tried_id, prompt, request, answers]
        )

    def sweeps(self) -> pd.DataFrame:
        """All sweeps, the latest first, with the number of outputs that are there as `made`."""
        sweeps = self._read(
            """SELECT sweeps.*, (SELECT count(*) FROM outputs WHERE outputs.sweep_id = sweeps.sweep_id) AS made
               FROM sweeps ORDER BY started DESC, sweep_id"""
        )
        return sweeps if "judge" in sweeps else sweeps.assign(judge=None)

    def outputs(self, sweep_id: str) -> pd.DataFrame:
        """Outputs of one sweep, with the means of their lists as `mean_kl`, `mean_activation` and `mean_promoted`."""
        outputs = self._read(
            """SELECT *, list_avg(kl) AS mean_kl, list_avg(activation) AS mean_activation,
                      list_avg(promoted) AS mean_promoted
               FROM outputs WHERE sweep_id = ?
               ORDER BY side, feature_id, mode, direction, strength, prompt_id""",
            [sweep_id],
        )
        return _with_parts(_with_score(outputs))

    def latest_steps(self, features: Collection[int]) -> pd.DataFrame:
        """What the latest sweep with each of these features showed, as means over its prompts.

        Returns:
            A row for each feature_id, side, mode, direction and strength, with the sweep's `started`, the number of
            `prompts`, and `promoted`, `kl` and `perplexity`; NaN where they were not measured.
        """
        return self._read(
            """SELECT feature_id, started, side, mode, direction, strength, count(DISTINCT prompt_id) AS prompts,
                      avg(list_avg(promoted)) AS promoted, avg(list_avg(kl)) AS kl, avg(perplexity) AS perplexity
               FROM outputs JOIN sweeps USING (sweep_id) WHERE feature_id IN (SELECT unnest(?::INTEGER[]))
               GROUP BY sweep_id, feature_id, started, side, mode, direction, strength
               QUALIFY rank() OVER (PARTITION BY feature_id ORDER BY started DESC, sweep_id) = 1
               ORDER BY feature_id, side, mode, direction, strength""",
            [sorted(features)],
        )

    def tried(self, limit: int = 100) -> pd.DataFrame:
        """The history, the latest first."""
        return self._read("SELECT * FROM tried ORDER BY tried_at DESC, tried_id LIMIT ?", [limit])

    def delete_sweep(self, sweep_id: str) -> None:
        """Take a sweep and its outputs away."""
        with self._open(write=True) as connection:
            connection.execute("DELETE FROM outputs WHERE sweep_id = ?", [sweep_id])
            connection.execute("DELETE FROM sweeps WHERE sweep_id = ?", [sweep_id])

    def _write(self, sql: str, values: list[Any]) -> None:
        with self._open(write=True) as connection:
            connection.execute(sql, values)

    def _read(self, sql: str, values: list[Any] | None = None) -> pd.DataFrame:
        with self._open(write=False) as connection:
            return connection.execute(sql, values or []).df()

    @contextmanager
    def _open(self, write: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """The file, for one transaction; a reader of a file that is not there is given empty tables in memory."""
        with beside.opened(self.path, _SCHEMA, write, "a readable file of what was steered") as connection:
            yield connection


def _with_score(outputs: pd.DataFrame) -> pd.DataFrame:
    """Outputs of a file from before there were scores, too."""
    return outputs if "score" in outputs else outputs.assign(score=float("nan"))


def _with_parts(outputs: pd.DataFrame) -> pd.DataFrame:
    """Outputs of a file from before thoughts were told from answers, too: then all of a text is its answer."""
    if "answer" not in outputs:
        return outputs.assign(answer=outputs["text"], reasoning="")
    return outputs.assign(answer=outputs["answer"].fillna(outputs["text"]), reasoning=outputs["reasoning"].fillna(""))
