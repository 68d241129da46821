"""The Runs page: several runs beside each other, whole, half and broken."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from dfc.runs import Run
from dfc.ui.runs.summaries import differences, help_of, other_differences, summarise
from dfc.ui.shell.text import plain
from dfc.worlds import stability_result
from dfc.worlds.stability_result import Counterpart, Match, Recurrence, StabilityResult
from tests.ui.folders import judge, make_broken_run, make_half_run, make_run
from tests.ui.pages import calm, parameter, text, visit

RUNS = "pages/7_Runs.py"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFC_DATA", str(tmp_path))
    return tmp_path


def change(run: Run, *pairs: tuple[str, str]) -> None:
    settings = (run.path / "run.yaml").read_text()
    for old, new in pairs:
        assert old in settings
        settings = settings.replace(old, new, 1)
    (run.path / "run.yaml").write_text(settings)


def test_one_run_alone(data: Path) -> None:
    make_run(data)
    test = calm(visit(RUNS, run="demo"))
    page = text(test)
    assert "69.5 %" in page
    assert "Choose a second run" in page
    assert [code.value for code in test.code] == ["python -m dfc stability demo --seeds 2"]
    assert len(test.get("plotly_chart")) == 2


def test_several_runs_whole_half_and_broken(data: Path) -> None:
    make_run(data)
    change(make_run(data, "other"), ("k: 32", "k: 48"), ("kind: dfc", "kind: standard"))
    make_half_run(data)
    broken = make_broken_run(data)
    test = visit(RUNS, run="demo")
    assert not test.exception
    assert test.multiselect[0].value == ["demo", "broken", "half", "other"]
    page = text(test)
    assert plain(str(broken.store)) in test.warning[0].value
    assert "not finished: train is missing" in page
    assert "cannot be read" in page
    assert "<code>crosscoder.k</code></td><td>32</td><td>32</td><td>32</td><td>48</td>" in page
    assert "crosscoder.features" not in page
    [code] = test.code
    assert code.value == "python -m dfc stability demo other"


def test_a_run_made_for_another_is_not_called_unfinished(data: Path) -> None:
    """A null run, and one of another seed, end after training."""
    make_run(data)
    for name in ("demo-null", "demo-seed1", "lost-null"):
        half = make_half_run(data, name)
        half.crosscoder.mkdir()
        (half.crosscoder / "model.safetensors").write_bytes(b"")
    page = text(visit(RUNS, run="demo"))
    assert page.count("made for demo: ends after training") == 2
    assert page.count("not finished: encode is missing") == 1
    shown = visit("app.py", run="demo-null")
    assert "Run demo-null, made for demo" in text(shown)
    assert "not finished" not in text(shown)
    assert "Run lost-null, not finished" in text(visit("app.py", run="lost-null"))


def test_runs_and_metric_in_the_address(data: Path) -> None:
    make_run(data)
    make_run(data, "other")
    test = calm(visit(RUNS, run="demo", runs="other", metric="loss"))
    assert test.multiselect[0].value == ["other"]
    assert len(test.get("plotly_chart")) == 1
    assert parameter(test, "metric") == "loss"
    test.multiselect[0].set_value([]).run()
    assert "Choose one run or more" in calm(test).info[0].value


def test_a_metric_that_nobody_noted(data: Path) -> None:
    make_run(data)
    test = calm(visit(RUNS, run="demo", metric="dead"))
    assert "None of these runs has noted “dead”" in text(test)


def test_verdicts_are_counted(data: Path) -> None:
    run = make_run(data)
    assert "not judged" in text(visit(RUNS, run="demo"))
    judge(run.store)
    words = text(calm(visit(RUNS, run="demo")))
    assert all(re.search(f">exclusive in {side}</td><td>1 of 60</td>", words) for side in "AB"), words


def make_stable(data: Path) -> None:
    """Two runs that were compared: feature 0 recurs, feature 2 does not."""
    run = make_run(data)
    make_run(data, "seed1")
    match = Match("seed1", 61, 0.83, "b", "exclusive")
    gone = Match("lost", 5, 0.71, "a", "unclear")
    result = StabilityResult(["seed1", "lost"], 90_000, 0.7, {0: [match, gone], 2: []}, {"a": 0.5, "shared": 0.25})
    other = Counterpart("seed1", 0, 61, 0.9, 0.4, 0.4, 0.1)
    result = replace(result, groups=[Recurrence(0, "a", 0, 3, [other, replace(other, run="lost")])])
    stability_result.write(run, result)


def test_findings_that_recur_are_listed_first(data: Path) -> None:
    make_stable(data)
    test = calm(visit(RUNS, run="demo"))
    [table] = [frame.value for frame in test.dataframe]
    assert table[["feature_id", "recurs", "again"]].to_numpy().tolist() == [[0, 2, 1], [2, 0, 0]]
    page = text(test)
    assert "in 2 of 2" in page
    assert "only A 50 %, shared 25 %" in page
    assert "Click a finding above" in page
    assert "of the first 1 findings 1 fire like one of every other run" in page
    assert "and 0 have its span (overlap 0.7 or more; with other findings there the overlap is 0.10)" in page


def test_counterparts_of_a_feature(data: Path) -> None:
    make_stable(data)
    test = calm(visit(RUNS, run="demo", feature="0"))
    labels = [link.proto.label for link in test.get("page_link")]
    assert "seed1: feature 61" in labels
    page = text(test)
    assert "correlation 0.83 · exclusive" in page
    assert "its store cannot be read" in page
    assert "has nothing that fires like it" in text(calm(visit(RUNS, run="demo", feature="2")))
    assert "It is no finding of this run" in text(calm(visit(RUNS, run="demo", feature="7")))


class TestDifferences:
    def test_only_what_differs(self, data: Path) -> None:
        one, other = make_run(data, "one", 20), make_run(data, "other", 20)
        change(other, ("steps: 100000", "steps: 7"), ("path: code.jsonl", "path: more.jsonl"))
        summaries = [summarise(run.path) for run in (one, other)]
        assert differences(summaries) == {
            "corpus.sources.code.path": ["code.jsonl", "more.jsonl"],
            "training.steps": ["100000", "7"],
        }

    def test_a_source_that_one_of_them_lacks(self, data: Path) -> None:
        one, other = make_run(data, "one", 20), make_run(data, "other", 20)
        change(other, ("name: code", "name: programs"))
        table = differences([summarise(run.path) for run in (one, other)])
        assert table["corpus.sources.code.path"] == ["code.jsonl", "–"]
        assert table["corpus.sources.programs.path"] == ["–", "code.jsonl"]

    def test_nothing_differs(self, data: Path) -> None:
        summaries = [summarise(make_run(data, name, 20).path) for name in ("one", "other")]
        assert differences(summaries) == {}

    def test_what_is_no_setting_is_compared_too(self, data: Path) -> None:
        one, other, same = (make_run(data, name, 20) for name in ("one", "other", "same"))
        assert other_differences([summarise(run.path) for run in (one, same)]) == {}
        for run, code in ((one, "aaa"), (other, "bbb")):
            made = {"finished": "2026-11-01T10:00:00Z", "versions": {"dfc": "0.1.0", "code": code}}
            run.provenance.write_text(json.dumps({"train": made}))
        with duckdb.connect(str(other.store)) as store:
            store.execute("UPDATE models SET scale = [0.5, 1.5] WHERE side = 'a'")
        table = other_differences([summarise(run.path) for run in (one, other)])
        assert table == {"scale of A": ["0.31", "1, 0.5 to 1.5"], "train: code": ["aaa", "bbb"]}
        shutil.rmtree(same.path)
        page = text(calm(visit(RUNS, run="one")))
        assert "These runs have the same settings." in page
        assert "What else is not the same" in page
        assert "<code>train: code</code></td><td>aaa</td><td>bbb</td>" in page

    def test_help(self) -> None:
        assert help_of("crosscoder.k") == "active features per pair"
        assert help_of("models.a.layer").startswith("block whose output is read")
        assert help_of("corpus.sources.code.path") == ""
        assert help_of("nothing.at.all") == ""


@pytest.mark.parametrize("damage", ["croscoder:", "[", "\x00"])
def test_settings_that_cannot_be_read_are_one_sentence(damage: str, data: Path) -> None:
    make_run(data)
    (make_half_run(data).path / "run.yaml").write_text(damage)
    test = visit(RUNS, run="demo")
    assert not test.exception
    assert not test.error
    assert len(test.warning) == 1


def test_a_name_is_no_markup(data: Path) -> None:
    run = make_run(data)
    run.path.rename(run.path.parent / "<b>demo")
    html = "\n".join(element.proto.body for element in calm(visit(RUNS)).get("html"))
    assert "<b>demo" not in html
    assert "&lt;b&gt;demo" in html


def test_metrics_cut_short_are_read_as_far_as_they_go(data: Path) -> None:
    run = make_run(data)
    run.metrics.write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')
    assert summarise(run.path).lines == [{"step": 1, "loss": 2.0}]
