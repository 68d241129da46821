"""A run's folder: atomic files, one writer, and settings that fit what was made."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dfc import config, pipeline, runs
from dfc.config import RunConfig, UserError
from tests.test_config import SMALL


def settings(**sections: Any) -> RunConfig:
    return config.parse({**SMALL, **sections}, origin="test")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    runs.write_text(path, "old")
    with pytest.raises(RuntimeError), runs.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), runs.replacing(tmp_path / "folder") as temporary:
        temporary.mkdir()
        (temporary / "part").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_second_process_is_kept_out() -> None:
    run = runs.create(settings())
    code = f"from dfc import runs\nwith runs.find({str(run.path)!r}).lock(): pass"
    with run.lock():
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert second.returncode
    assert "another process is working on this run" in second.stderr
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_may_change_until_something_was_made_with_them() -> None:
    run = runs.create(settings())
    runs.create(settings(training={"steps": 7}))
    assert run.config().training.steps == 7
    run.crosscoder.mkdir()
    with pytest.raises(UserError, match=r"made with other settings \(training\.steps: 7 there, 8 now\)"):
        runs.create(settings(training={"steps": 8}))
    runs.create(settings(training={"steps": 7}, index={"top_contexts": 3}))
    assert run.config().index.top_contexts == 3


def test_metric_lines_stop_at_a_line_cut_short() -> None:
    run = runs.create(settings())
    assert run.metric_lines() == []
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert run.metric_lines() == [{"step": 1}, {"step": 2}]


def test_finding_runs(data: Path) -> None:
    assert runs.all_runs() == []
    with pytest.raises(UserError, match="none yet; `make demo` makes one"):
        runs.find("demo")
    run = runs.create(settings())
    assert runs.find("small") == runs.find(str(run.path)) == run
    assert [found.name for found in runs.all_runs()] == ["small"]
    with pytest.raises(UserError, match="the runs are: small"):
        runs.find("demo")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run \(it has no run\.yaml\)"):
        runs.Run(tmp_path).config()


def test_stages_are_done_once_and_recorded(tiny_run: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.path.rglob("*") if path.is_file()}
    pipeline.run_stages(tiny_run)
    assert capsys.readouterr().err.splitlines() == [f"{stage}: done already" for stage in runs.STAGES]
    after = {path: path.stat().st_mtime_ns for path in tiny_run.path.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= {tiny_run.path / ".lock"}
    for facts in json.loads(tiny_run.provenance.read_text()).values():
        assert facts["versions"] == runs.versions()
