"""The page that sets a run's evidence against its null run: what it says is what was measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc import pipeline
from dfc.config import UserError
from dfc.machine import disk
from dfc.runs import Run
from dfc.store.reader import Store
from dfc.worlds import calibration, stability_result
from dfc.worlds.null_result import NullResult
from dfc.worlds.stability_result import Counterpart, Match, Recurrence, StabilityResult


def test_the_page(tiny_copy: Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no evidence yet; collect it with `python -m dfc verify"):
        calibration.write(tiny_copy, tmp_path)
    pipeline.verify(tiny_copy)
    with pytest.raises(UserError, match="had no null run yet; make it with `python -m dfc null"):
        calibration.write(tiny_copy, tmp_path)

    ramp = [level / 100 for level in range(101)]
    null = NullResult(200, 3, {"a": {"exclusive": 3, "dead": 97}, "b": {"dead": 100}}, {"probe_ratio": {"a": ramp}})
    disk.write_json(tiny_copy.path / "null.json", null.__dict__)
    page = calibration.write(tiny_copy, tmp_path).read_text()
    assert "| null run | a | 3 | 0 | 0 | 0 | 97 |" in page
    assert "3 of its 200 dedicated\nfeatures (1.5%)" in page
    assert "**Missed**" in page
    [line] = [line for line in page.splitlines() if line.startswith("| probe_ratio |")]
    assert line.endswith("| 0.10 · 0.50 · 0.90 | – |")
    of_shared = Store(tiny_copy.store).reference()["probe_ratio"]["shared"]
    assert f"| {of_shared[10]:.2f} · {of_shared[50]:.2f} · {of_shared[90]:.2f} |" in line
    assert "Not measured yet: `python -m dfc stability" in page
    for name in ("matched_gap", "probe_ratio", "confidence"):
        assert f"images/calibration-{name}.svg" in page
        assert "polyline" in (tmp_path / "images" / f"calibration-{name}.svg").read_text()

    findings = {1: [Match("x", 5, 0.9, "a", "exclusive"), Match("y", 6, 0.8, "shared", "unclear")], 2: []}
    others = [Counterpart(name, 0, 5, 0.8, 0.6, 0.7, 0.1) for name in ("x", "y")]
    groups = [Recurrence(0, "a", 1, 3, others), Recurrence(1, "b", 2, 1, others[:1])]
    result = StabilityResult(["x", "y"], 100, 0.5, findings, {"a": 0.25}, groups=groups)
    stability_result.write(tiny_copy, result)
    page = calibration.write(tiny_copy, tmp_path).read_text()
    for row in (
        "| 0 of 2 | 1 |",
        "| 1 of 2 | 0 |",
        "| 2 of 2 | 1 |",
        "Of the 2 matches 1 are",
        "a 25%",
        "of the first 2 findings 1",
    ):
        assert row in page
