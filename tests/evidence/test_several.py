"""Processes that share the shards come to the evidence of one."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
import torch

from dfc import pipeline
from dfc.activations.shards import ActivationStore
from dfc.crosscoder.model import Codes
from dfc.evidence.moments import Thinned
from dfc.machine import disk
from dfc.runs import Run
from dfc.store import attached
from tests import processes

ROUNDING = 5e-6
"""Σ z x is kept in float32 and added up in another order; of R² that is 1e-7, of ratios of small R² up to 1e-6."""


def evidence(run: Run) -> dict[str, list[tuple[Any, ...]]]:
    """All tables of evidence.duckdb."""
    with duckdb.connect(str(attached.evidence_path(run.store)), read_only=True) as connection:
        names = [name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


def flat(value: Any) -> list[Any]:
    """The numbers, words and nulls within rows and lists."""
    return [one for part in value for one in flat(part)] if isinstance(value, list | tuple) else [value]


@pytest.mark.slow
@pytest.mark.parametrize("more", [False, True], ids=["two", "more than shards"])
def test_they_judge_as_one(more: bool, tiny_copy: Run) -> None:
    """Counts, verdicts and findings are equal, and figures to rounding; also where a process has no shard."""
    number = len(ActivationStore(tiny_copy.activations)) + 1 if more else 2
    pipeline.verify(tiny_copy)
    alone = evidence(tiny_copy)
    for done in processes.together(number, "-m", "dfc", "verify", str(tiny_copy.path)):
        assert done.returncode == 0, done.stderr
    assert disk.read_json(tiny_copy.provenance)["verify"]["processes"] == number
    shared = evidence(tiny_copy)
    assert shared.keys() == alone.keys() >= {"evidence", "findings", "pair_gaps"}
    for name, rows in alone.items():
        for one, other in zip(flat(rows), flat(shared[name]), strict=True):
            assert other == (pytest.approx(one, rel=ROUNDING, abs=ROUNDING) if isinstance(one, float) else one), name


@pytest.mark.parametrize("most", [4, 7, 1_000])
def test_rows_are_drawn_as_by_one(most: int) -> None:
    """Whoever has which rows: each goes on counting where those before it end."""
    torch.manual_seed(0)
    pieces = [Codes((torch.rand(60) * rows).long(), torch.arange(60) % 9, torch.rand(60)) for rows in (11, 1, 20, 8)]
    counts = [11, 1, 20, 8]
    alone = Thinned(sum(counts), most)
    drawn = [alone.take(codes, rows).tolist() for codes, rows in zip(pieces, counts, strict=True)]
    parts = []
    for mine in (slice(0, 0), slice(0, 2), slice(2, 4)):
        shared = Thinned(sum(counts), most, sum(counts[: mine.start]))
        for codes, rows, expected in zip(pieces[mine], counts[mine], drawn[mine], strict=True):
            assert shared.take(codes, rows).tolist() == expected
        parts.append(shared)
    assert sum(part.count for part in parts) == alone.count
    entries = [sorted(zip(*(column.tolist() for column in vars(part.codes()).values()), strict=True)) for part in parts]
    whole = zip(*(column.tolist() for column in vars(alone.codes()).values()), strict=True)
    assert sorted(entry for part in entries for entry in part) == sorted(whole)
