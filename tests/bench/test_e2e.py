"""The benchmark of the whole: that every stage of a run is done and counted."""

from __future__ import annotations

import pytest

from dfc.bench import e2e
from dfc.runs import STAGES, Run


def test_every_stage_of_a_run_is_counted(tiny_run: Run) -> None:
    found = {figure.name: figure.value for figure in e2e.measure(tiny_run.config())}
    stages = [found.pop(f"{stage}, processor time") for stage in (*STAGES, "verify")]
    assert all(seconds > 0 for seconds in stages)
    assert found.pop("everything, processor time") == pytest.approx(sum(stages))
    assert set(found) == {"everything, by the clock", "memory at its peak"}
    assert all(value > 0 for value in found.values())
