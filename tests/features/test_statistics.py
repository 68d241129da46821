"""Processes that share the shards come to the statistics of one, to the same contexts among them."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfc.activations.shards import ActivationStore
from dfc.features.statistics import LargestOfEach
from dfc.machine import disk
from dfc.runs import Run
from dfc.store import TABLES
from tests import processes

SUMMED = ("mean", "variance")
"""Columns of `features` that are made of sums in float64, in another order."""


def tables(run: Run) -> dict[str, list[dict[str, Any]]]:
    """All tables of a run's store, without the time when it was made."""
    with duckdb.connect(str(run.store), read_only=True) as connection:
        content = {name: connection.sql(f"SELECT * FROM {name}").to_arrow_table().to_pylist() for name in TABLES}
    content["run"] = [row for row in content["run"] if row["key"] != "created"]
    return content


@pytest.mark.slow
@pytest.mark.parametrize("more", [False, True], ids=["two", "more than shards"])
def test_several_processes_write_the_store_of_one(more: bool, tiny_copy: Run) -> None:
    """Also where a process has no shard."""
    number = len(ActivationStore(tiny_copy.activations)) + 1 if more else 2
    alone = tables(tiny_copy)
    for done in processes.together(number, "-m", "dfc", "index", "--again", str(tiny_copy.path)):
        assert done.returncode == 0, done.stderr
    assert disk.read_json(tiny_copy.provenance)["index"]["processes"] == number
    shared = tables(tiny_copy)
    for one, other in zip(alone["features"], shared["features"], strict=True):
        for name in SUMMED:
            assert other.pop(name) == pytest.approx(one.pop(name), rel=1e-6)
    for name, rows in alone.items():
        assert shared[name] == rows, name


candidates = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=30)


@given(st.lists(candidates, min_size=1, max_size=4), st.integers(1, 5))
def test_merged_they_are_the_largest_of_all(parts: list[list[tuple[int, int]]], size: int) -> None:
    """To the place of equals, which are many here."""
    whole, merged, row = LargestOfEach(3, size), LargestOfEach(3, size), 0
    for part in parts:
        features, keys = np.array(part, dtype=np.int64).reshape(-1, 2).T
        rows = np.arange(row, row + len(part))
        row += len(part)
        offered = features, keys.astype(np.float32), -keys.astype(np.float32), rows
        own = LargestOfEach(3, size)
        whole.offer(*offered)
        own.offer(*offered)
        merged.merge(own.keys, own.values, own.rows)
    for name, expected in vars(whole).items():
        assert (getattr(merged, name) == expected).all(), name
