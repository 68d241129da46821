"""The page of what benchmarks measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dfc.bench import page
from dfc.bench.figures import Figure
from dfc.config import MissingError, UserError


def test_builds_stand_beside_each_other_the_latest_first(tmp_path: Path) -> None:
    before = [Figure("step", 1_500.0, "ms", "floor", 1.5, 1.2), Figure("gone", 2.0, "")]
    page.keep(tmp_path, "old", "train", before)
    path = tmp_path / "performance" / "old" / "train.json"
    content = json.loads(path.read_text()) | {"measured": "2026-01-02T03:04:05", "machine": "CPU"}
    path.write_text(json.dumps(content))
    page.keep(tmp_path, "new", "train", [Figure("step", 0.25, "ms", "floor", 1.125, 1.2), Figure("more", 7.0, "MB")])
    lines = page.write(tmp_path).read_text().splitlines()
    assert "- old: CPU, 2026-01-02" in lines
    assert lines[lines.index("- old: CPU, 2026-01-02") + 2 :] == [
        "| figure | new | ratio | to | target | old: value, ratio |",
        "|---|---|---|---|---|---|",
        "| step | 0.25 ms | 1.12 | floor | ≤ 1.2: met | 1,500 ms, 1.5 |",
        "| more | 7 MB |  |  |  | – |",
        "| gone | – |  |  |  | 2 |",
    ]


def test_nothing_kept_or_a_damaged_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no benchmark was kept there"):
        page.write(tmp_path)
    page.keep(tmp_path, "new", "train", [])
    (tmp_path / "performance" / "new" / "train.json").write_text("{}")
    with pytest.raises(UserError, match=r"train\.json"):
        page.write(tmp_path)
