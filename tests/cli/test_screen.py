"""`dfc screen`: flags for all findings, and the queue as a table or as JSON."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from dfc.cli import app
from dfc.machine import disk
from dfc.models import embedder
from dfc.models.embedder import unit
from dfc.runs import Run
from dfc.screen import words
from dfc.store import attached
from dfc.store.notes import Notebook
from dfc.store.writer import meaning_writer
from tests.processes import dfc
from tests.tiny import make_encoder
from tests.ui.folders import find, make_run
from tests.ui.own_words.test_page import speak


def test_the_queue_is_printed_with_flags_and_decisions(data: Path) -> None:
    run = make_run(data, features=200)
    find(run.store)
    Notebook(data / "notes.duckdb").decide("demo", 60, f"{60:016x}", "Ada", "finding", "clear")
    shown = dfc("screen", "demo", "--flag", "0")
    assert shown.returncode == 0, shown.stderr
    assert run.screening.exists()
    lines = shown.stdout.splitlines()
    assert lines[0] == "To decide on: 13 findings."
    assert lines[1].split() == ["score", "evidence", "readability", "flag", "effect", "feature", "model"]
    assert "contexts hold" in shown.stdout
    assert "a finding, says Ada" in shown.stdout
    assert lines[-2].startswith("1 of 13 decided by anybody; flags beside 3,920 contexts")
    assert lines[-1].startswith("Flags were not compared in meaning, for what features are about is not known: python")

    told = json.loads(dfc("screen", "demo", "--json").stdout)
    assert len(told) == 13
    assert [one["score"] for one in told] == sorted((one["score"] for one in told), reverse=True)
    [decided] = [one for one in told if one["decisions"]]
    assert (decided["feature_id"], decided["decisions"][0]["who"]) == (60, "Ada")
    assert all(set(one["factors"]) == {"evidence", "readability", "flag", "effect"} for one in told)
    assert any(mark["reason"] for one in told for mark in one["flags"])
    assert all(one["flags_near"] == [] for one in told)


def test_the_queue_is_printed_where_flags_cannot_be_kept_and_decisions_not_be_read(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    find(make_run(data, features=200).store)
    (data / "notes.duckdb").write_text("no notebook")
    monkeypatch.setattr(disk, "write_json", refuse)
    shown = CliRunner().invoke(app, ["screen", "demo"])
    assert shown.exit_code == 0, shown.stderr
    assert "flags were not looked for anew: " in shown.stderr
    assert "decisions are left out: " in shown.stderr
    assert "0 of 13 decided by anybody." in shown.stdout
    assert (data / "notes.duckdb").read_text() == "no notebook"


def test_a_run_that_is_not_judged_says_so(data: Path) -> None:
    make_run(data, features=60)
    shown = dfc("screen", "demo")
    assert shown.returncode == 0
    assert shown.stdout.startswith("Not judged yet: python -m dfc verify demo")


def test_what_models_say_themselves_is_written_ranked_and_printed(tiny_copy: Run) -> None:
    again = ("screen", "tiny", "--rollouts", "--beginnings", "4", "--tokens", "12")
    shown = dfc(*again, "--first", "1")
    assert shown.returncode == 0, shown.stderr
    assert "4 beginnings, drawn from the corpus; at most 12 tokens each, seed 0." in shown.stdout
    assert "most telling, by" in shown.stdout
    told = json.loads(dfc(*again, "--json").stdout)
    assert told["asked"] == {"beginnings": 4, "tokens": 12, "seed": 0, "prompts": ""}
    for side in "ab":
        listed = told["continuations"][side]
        assert len(listed) + sum(told["left_out"][side].values()) == 4
        assert [one["beyond"] for one in listed] == sorted((one["beyond"] for one in listed), reverse=True)
    assert told["findings"] == []  # the tiny run has none


def test_the_queue_says_which_findings_were_seen_in_own_words(data: Path) -> None:
    run = make_run(data)
    find(run.store)
    speak(run.store)
    assert "seen in its own words: 2 of 12 continuations that SmolLM2" in dfc("screen", "demo").stdout
    told = {one["feature_id"]: one["own_words"] for one in json.loads(dfc("screen", "demo", "--json").stdout)}
    assert told[150] == {"own": 2, "of_own": 12, "other": 0, "of_other": 1}
    assert told[60] == {"own": 0, "of_own": 1, "other": 0, "of_other": 12}


def test_options_that_would_do_nothing_are_refused(data: Path) -> None:
    make_run(data, features=60)
    for given, sentence in (
        (("--tokens", "9"), "--tokens goes with --rollouts"),
        (("--rollouts", "--flag", "2"), "--flag goes without --rollouts"),
    ):
        refused = dfc("screen", "demo", *given)
        assert refused.returncode == 2
        assert sentence in refused.stderr


def test_flags_by_meaning_are_printed_with_their_reason(data: Path) -> None:
    run = make_run(data, features=200)
    find(run.store)
    reader = embedder.load(make_encoder(data / "models" / "tiny"), "cpu")
    vectors = unit(np.random.default_rng(0).normal(size=(200, reader.width)).astype(np.float32))
    [vectors[150]] = reader.queries([words.load()["code"].query])
    with meaning_writer(attached.meaning_path(run.store)) as writer:
        writer.append("meanings", pa.table({"feature_id": range(200), "vector": pa.array(vectors.tolist())}))
        facts = {"identity": attached.identity(run.store), "model": "tiny", "digest": reader.digest}
        writer.facts({**facts, "query_centre": [0.0] * reader.width})
    shown = dfc("screen", "demo")
    assert shown.returncode == 0, shown.stderr
    assert "code, in meaning: likeness 1.00, nearer than 99.5 % of all 197 features" in shown.stdout
    assert "not compared in meaning" not in shown.stdout
    [first] = [one for one in json.loads(dfc("screen", "demo", "--json").stdout) if one["feature_id"] == 150]
    [code] = [mark for mark in first["flags_near"] if mark["flag"] == "code"]
    assert code["score"] >= 0.35
    assert code["reason"].startswith("likeness 1.00, nearer than")
    assert first["factors"]["flag"]["value"] >= 1.5
