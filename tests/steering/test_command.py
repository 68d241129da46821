"""`python -m dfc steer` as a user meets it."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

import dfc.cli
from dfc.config import UserError
from dfc.runs import Run
from dfc.steering import sweeps
from tests import processes
from tests.steering.test_vectors import alive

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--tokens", "5", "--plain", "--prompt", "The old bridge"]


def steer(run: Run, *arguments: str) -> Result:
    return CliRunner().invoke(dfc.cli.app, ["steer", str(run.path), *arguments])


def said(result: Result) -> str:
    """Its one sentence, where it cannot do what was asked."""
    assert isinstance(result.exception, UserError)
    return str(result.exception)


def test_one_text_and_again(tiny_copy: Run, tmp_path: Path) -> None:
    feature, table = str(alive(tiny_copy, "shared")), tmp_path / "edits.csv"
    assert steer(tiny_copy, "--history").stdout.startswith(f"Nothing was steered with {tiny_copy.name} yet")
    first = steer(tiny_copy, "--feature", feature, "--side", "both", "--export", str(table), "--json", *SHORT)
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    for side in ("a", "b"):
        assert len(found[side]["tokens"]) == len(found[side]["kl"]) == len(found[side]["activations"][feature]) == 5
        assert found[side]["mean_kl"] > 0

    for again in (["--edits", str(table), *SHORT], ["--repeat", found["id"]]):
        repeated = steer(tiny_copy, "--json", *again)
        assert repeated.exit_code == 0, repeated.output
        assert {**json.loads(repeated.stdout), "id": ""} == {**found, "id": ""}
    assert steer(tiny_copy, "--history").stdout.count("The old bridge") == 3


def test_words_for_people(tiny_copy: Run) -> None:
    shown = steer(tiny_copy, "--feature", str(alive(tiny_copy, "b")), "--side", "b", "--strength", "0", *SHORT)
    assert shown.exit_code == 0, shown.output
    assert "── tiny-gemma, left alone (perplexity" in shown.output
    assert "note: nothing is added: every strength is 0" in shown.output


def test_a_sweep_and_again(tiny_copy: Run) -> None:
    arguments = ["--sweep", "--top", "2", "--side", "both", "--strengths", "1,2", "--limit", "2", "--tokens", "4"]
    shown = steer(tiny_copy, *arguments, "--prompts", "beginnings", "--words", "rain", "--control")
    assert shown.exit_code == 0, shown.output
    assert "mean_promoted against strength" in shown.output
    [kept] = sweeps.store(tiny_copy).sweeps().to_dict("records")
    assert (kept["status"], kept["made"]) == ("done", 4 * 2 * 5)
    assert steer(tiny_copy, "--repeat", kept["sweep_id"][:12]).exit_code == 0
    both = sweeps.store(tiny_copy).sweeps()["sweep_id"]
    texts = [sorted(sweeps.store(tiny_copy).outputs(sweep)["text"]) for sweep in both]
    assert texts[0] == texts[1]


def test_everything_is_told_as_json(tiny_copy: Run) -> None:
    def told(*arguments: str) -> Any:
        result = steer(tiny_copy, *arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    assert told("--history") == {"trials": [], "sweeps": []}
    feature = str(alive(tiny_copy, "a"))
    swept = told("--sweep", "--feature", feature, "--strengths", "1,2", "--limit", "2", "--tokens", "4")
    assert swept["status"] == "done"
    assert swept["settings"]["strengths"] == [1, 2]
    assert len(swept["answers"]) == swept["outputs"] == swept["made"] == 2 * 3
    assert {row["strength"] for row in swept["curves"]} == {0, 1, 2}
    assert swept["largest"][0]["feature_id"] == int(feature)
    again = told("--repeat", swept["sweep_id"][:12])
    assert [one["text"] for one in again["answers"]] == [one["text"] for one in swept["answers"]]
    [proposal] = told("--propose", "--feature", feature, *SHORT)
    assert proposal["steps"][0]["perplexity"] > 0
    trial = told("--feature", feature, *SHORT)
    history = told("--history")
    assert [one["tried_id"] for one in history["trials"]] == [trial["id"]]
    assert {one["sweep_id"] for one in history["sweeps"]} == {swept["sweep_id"], again["sweep_id"]}


def test_an_interrupt_ends_a_sweep_and_keeps_what_was_written(tiny_copy: Run) -> None:
    arguments = ["--sweep", "--feature", str(alive(tiny_copy, "a")), "--tokens", "100", "--plain"]
    process = processes.start("-m", "dfc", "steer", str(tiny_copy.path), *arguments, "--prompts", "beginnings")
    made, end = 0, time.monotonic() + 120
    while not made and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
        made = int(sweeps.store(tiny_copy).sweeps()["made"].sum())
    process.send_signal(signal.SIGINT)
    shown, said_to = process.communicate(timeout=60)
    assert process.returncode == 130, said_to
    assert "stopped; what was written so far is kept" in said_to
    assert "Traceback" not in said_to
    assert "mean_promoted against strength" in shown
    [kept] = sweeps.store(tiny_copy).sweeps().to_dict("records")
    assert kept["status"] == "cancelled"
    assert 1 <= kept["made"] < kept["outputs"]


def test_a_proposal(tiny_copy: Run) -> None:
    shown = steer(tiny_copy, "--propose", "--feature", str(alive(tiny_copy, "a")), *SHORT)
    assert shown.exit_code == 0, shown.output
    assert "largest at which perplexity stays below" in shown.output


def test_a_chat_and_again(tiny_copy: Run, tmp_path: Path) -> None:
    said_before = tmp_path / "chat.json"
    turns = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    said_before.write_text(json.dumps(turns))
    feature, side = str(alive(tiny_copy, "a")), ["--tokens", "5", "--prompt", "The old bridge", "--json"]
    found = [
        json.loads(steer(tiny_copy, "--feature", feature, *side, *more).stdout)
        for more in (["--earlier", str(said_before)], [])
    ]
    assert found[0]["a"]["probability_baseline"] != found[1]["a"]["probability_baseline"]
    assert json.loads(steer(tiny_copy, "--repeat", found[0]["id"], "--json").stdout)["a"] == found[0]["a"]
    sweep = ["--sweep", "--feature", feature, "--strengths", "1", "--limit", "1", "--tokens", "3"]
    assert steer(tiny_copy, *sweep, "--earlier", str(said_before)).exit_code == 0
    [kept] = sweeps.store(tiny_copy).sweeps().to_dict("records")
    assert json.loads(kept["settings"])["earlier"] == turns
    assert steer(tiny_copy, "--repeat", kept["sweep_id"]).exit_code == 0
    first, second = (sweeps.store(tiny_copy).outputs(name) for name in sweeps.store(tiny_copy).sweeps()["sweep_id"])
    assert first["text"].tolist() == second["text"].tolist()

    assert "drop one" in said(steer(tiny_copy, "--feature", feature, "--plain", "--earlier", str(said_before)))
    said_before.write_text("[3]")
    assert f"{said_before}: These messages cannot be used" in said(
        steer(tiny_copy, "--feature", feature, "--earlier", str(said_before))
    )
    assert "is missing" in said(steer(tiny_copy, "--feature", feature, "--earlier", str(tmp_path / "none.json")))


def test_what_cannot_be_done(tiny_copy: Run, tmp_path: Path) -> None:
    feature = ["--feature", str(alive(tiny_copy, "a"))]
    assert "nothing is to be done" in said(steer(tiny_copy))
    assert "feature 99 does not exist" in said(steer(tiny_copy, "--feature", "99", *SHORT))
    assert "the prompt is empty" in said(steer(tiny_copy, *feature, "--prompt", " "))
    assert "shorten it" in said(steer(tiny_copy, *feature, "--prompt", "word " * 400))
    assert "finite" in said(steer(tiny_copy, *feature, "--strength", "nan"))
    assert "has no stitch yet" in said(steer(tiny_copy, *feature, "--side", "b", *SHORT))
    assert "cannot be drawn" in said(steer(tiny_copy, *feature, "--temperature", "-1"))
    assert "not numbers separated by commas" in said(steer(tiny_copy, *feature, "--sweep", "--strengths", "1;2"))
    assert "give a CSV table" in said(steer(tiny_copy, "--edits", str(tmp_path / "none.csv")))
