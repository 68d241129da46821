"""`dfc screen`: flags for all findings, and the queue as a table or as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from dfc.store.notes import Notebook
from tests.processes import dfc
from tests.ui.folders import find, make_run


def test_the_queue_is_printed_with_flags_and_decisions(data: Path) -> None:
    run = make_run(data, features=200)
    find(run.store)
    Notebook(data / "notes.duckdb").decide("demo", 60, f"{60:016x}", "Ada", "finding", "clear")
    shown = dfc("screen", "demo", "--flag", "0")
    assert shown.returncode == 0, shown.stderr
    assert run.screening.exists()
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["score", "evidence", "readability", "flag", "effect", "feature", "model"]
    assert "contexts hold" in shown.stdout
    assert "a finding, says Ada" in shown.stdout
    assert lines[-1].startswith("1 of 13 decided by anybody; flags beside 3,920 contexts")

    told = json.loads(dfc("screen", "demo", "--json").stdout)
    assert len(told) == 13
    assert [one["score"] for one in told] == sorted((one["score"] for one in told), reverse=True)
    [decided] = [one for one in told if one["decisions"]]
    assert (decided["feature_id"], decided["decisions"][0]["who"]) == (60, "Ada")
    assert all(set(one["factors"]) == {"evidence", "readability", "flag", "effect"} for one in told)
    assert any(mark["reason"] for one in told for mark in one["flags"])


def test_a_run_that_is_not_judged_says_so(data: Path) -> None:
    make_run(data, features=60)
    shown = dfc("screen", "demo")
    assert shown.returncode == 0
    assert shown.stdout.startswith("Not judged yet: python -m dfc verify demo")
