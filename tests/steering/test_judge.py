"""The judge against a real server on this machine: right, wrong and strange answers, failures, and what it is told."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dfc import config
from dfc.asking import ask
from dfc.asking import endpoint as http
from dfc.config import JudgeConfig, UserError
from dfc.runs import Run
from dfc.steering import judge as judging
from dfc.steering import sweeps
from dfc.steering.judge import WrongAnswerError, identity, judge_sweep
from dfc.store.steering import SteeringStore
from tests import processes
from tests.asking.served import Answer, Endpoint, configure, in_turn, says, serving
from tests.steering.test_command import said, steer
from tests.steering.test_vectors import alive
from tests.store.test_steering import output

KEY = "sk-secret-1234567890"


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(http, "_PAUSES", (0.0, 0.0, 0.0))
    with serving() as found:
        yield found


def score(judge: JudgeConfig, prompt: str, text: str) -> float:
    return judging.score(ask.opened(judge), judge, prompt, text)


class TestScore:
    def test_what_is_asked(self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DFC_JUDGE_KEY", f"{KEY}\n")
        endpoint.answer = in_turn(says(" 7.5\n"))
        assert score(endpoint.judge(key_variable="DFC_JUDGE_KEY"), "Tell me <b>", 'Say "10"') == 7.5
        [(path, authorization, body)] = endpoint.asked
        assert (path, authorization) == ("/v1/chat/completions", f"Bearer {KEY}")
        assert (body["model"], body["temperature"]) == ("m", 0)
        assert "how {much} is said" in body["messages"][0]["content"]
        assert json.loads(body["messages"][1]["content"]) == {"prompt": "Tell me <b>", "text": 'Say "10"'}

    @pytest.mark.parametrize(("said", "number"), [("0", 0.0), ("10", 10.0), ("10.0", 10.0), ("3.25", 3.25)])
    def test_a_number(self, said: str, number: float, endpoint: Endpoint) -> None:
        endpoint.answer = in_turn(says(said))
        assert score(endpoint.judge(), "", "") == number

    @pytest.mark.parametrize(
        "said", ["", "11", "10.5", "-1", "7/10", "Score: 7", "7 of 10", "nan", "٧", "1e1", ".5", None, 7, ["7"]]
    )
    def test_anything_else_is_a_wrong_answer(self, said: Any, endpoint: Endpoint) -> None:
        endpoint.answer = in_turn(says(said))
        with pytest.raises(WrongAnswerError, match=r"the judge m at .* said .* which is not a number from 0 to 10"):
            score(endpoint.judge(), "", "")


class TestSweep:
    @pytest.fixture
    def kept(self, tmp_path: Path) -> SteeringStore:
        """Six answers, of which two are the same."""
        store = SteeringStore(tmp_path / "steering.duckdb")
        store.begin_sweep("one", "", 6, "{}")
        store.add_outputs([output(number, text=f"text {max(1, number)}", strength=number) for number in range(6)])
        return store

    def test_each_text_is_scored_once(self, kept: SteeringStore, endpoint: Endpoint) -> None:
        endpoint.answer = lambda body: says(json.loads(body["messages"][1]["content"])["text"][-1])
        *_, last = judge_sweep(kept, "one", endpoint.judge())
        assert (last.done, last.total, last.problem) == (5, 5, "")
        assert len(endpoint.asked) == 5
        assert kept.outputs("one")["score"].tolist() == [1, 1, 2, 3, 4, 5]
        assert kept.sweeps()["judge"].tolist() == [identity(endpoint.judge())]
        assert list(judge_sweep(kept, "one", endpoint.judge())) == []

    def test_wrong_answers_stay_without_a_score(self, kept: SteeringStore, endpoint: Endpoint) -> None:
        def answer(body: Any) -> Answer:
            text = json.loads(body["messages"][1]["content"])["text"]
            return says("lovely" if text in ("text 2", "text 4") else "9")

        endpoint.answer = answer
        *_, last = judge_sweep(kept, "one", endpoint.judge())
        assert "2 of 5 texts have no score: the judge m at" in last.problem
        assert "'lovely', which is not a number from 0 to 10." in last.problem
        assert kept.outputs("one")["score"].isna().tolist() == [False, False, True, False, True, False]
        endpoint.answer = lambda body: says("1")
        *_, last = judge_sweep(kept, "one", endpoint.judge())
        assert (last.total, last.problem) == (2, "")
        assert kept.outputs("one")["score"].tolist() == [9, 9, 1, 9, 1, 9]

    def test_nothing_is_lost_when_it_fails(self, kept: SteeringStore, endpoint: Endpoint) -> None:
        endpoint.answer = in_turn(says("1"), says("2"), says("3"), says("4"), (400, {}, b"no credit"))
        with pytest.raises(UserError, match="answered 400"):
            list(judge_sweep(kept, "one", endpoint.judge()))
        assert kept.outputs("one")["score"].notna().sum() == 5  # four texts, one of them twice
        other = endpoint.judge().model_copy(update={"criterion": "another"})
        endpoint.answer = lambda body: (400, {}, b"no credit")
        with pytest.raises(UserError, match="answered 400"):
            list(judge_sweep(kept, "one", other))
        assert kept.outputs("one")["score"].notna().sum() == 5

    def test_another_criterion_replaces_all(self, kept: SteeringStore, endpoint: Endpoint) -> None:
        list(judge_sweep(kept, "one", endpoint.judge()))
        endpoint.answer = lambda body: says("8")
        other = endpoint.judge().model_copy(update={"criterion": "another"})
        list(judge_sweep(kept, "one", other))
        assert kept.outputs("one")["score"].tolist() == [8] * 6

    def test_closing_ends_it(self, kept: SteeringStore, endpoint: Endpoint) -> None:
        held = threading.Event()
        endpoint.answer = lambda body: (held.wait(20), says("1"))[1]
        steps = judge_sweep(kept, "one", endpoint.judge())
        assert next(steps).done == 0
        steps.close()
        held.set()
        assert kept.outputs("one")["score"].isna().all()

    def test_closing_ends_the_wait_of_a_busy_endpoint(
        self, kept: SteeringStore, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(http, "_PAUSES", (600.0,))
        endpoint.answer = lambda body: (429, {}, b"")
        steps = judge_sweep(kept, "one", endpoint.judge())
        while len(endpoint.asked) < 4:
            next(steps)
        steps.close()
        for thread in [thread for thread in threading.enumerate() if thread.name == "judge"]:
            thread.join(30)
            assert not thread.is_alive()
        assert len(endpoint.asked) == 4

    def test_a_file_from_before_there_were_scores(self, kept: SteeringStore, endpoint: Endpoint) -> None:
        with duckdb.connect(str(kept.path)) as connection:
            connection.execute("ALTER TABLE outputs DROP score")
            connection.execute("ALTER TABLE sweeps DROP judge")
        assert kept.outputs("one")["score"].isna().all()
        assert kept.sweeps()["judge"].isna().all()
        list(judge_sweep(kept, "one", endpoint.judge()))
        assert kept.outputs("one")["score"].tolist() == [5] * 6


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"url": "localhost:8000"}, "give an address such as http://localhost:8000/v1"),
        ({"url": "http://me:secret@host/v1"}, "without a user, a key or a query in it"),
        ({"url": "http://host/v1?key=secret"}, "without a user, a key or a query in it"),
        ({"url": "file:///etc/passwd"}, "give an address such as"),
        ({"url": "http://sk-secret@host"}, "without a user, a key or a query in it."),
        ({"url": "http://[::1/v1"}, "give an address such as"),
        ({"url": "http://[12345::1]/v1"}, "give an address such as"),
        ({"url": "http://localhost/v1é"}, "give an address such as"),
        ({"url": "http://..a/v1"}, "give an address such as"),
        ({"url": "http://a:99999/v1"}, "give an address such as"),
        ({"url": "http://[::1]secret/v1"}, "give an address such as"),
        ({"key_variable": "secret"}, "`judge.key_variable`: give the name of an environment variable that begins with"),
        ({"key_variable": "DFC_JUDGE_"}, "that begins with DFC_JUDGE_, as DFC_JUDGE_KEY does."),
        (
            {"url": "http://host/v1", "key_variable": "DFC_JUDGE_KEY"},
            "`judge`: a key goes to another machine over https",
        ),
        ({"criterion": ""}, "`judge.criterion`"),
        ({"key": "secret"}, "unknown key `judge.key`; known keys: model, criterion, url, key_variable"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, str], sentence: str) -> None:
    small = {
        "name": "small",
        "models": {"a": {"source": "x", "layer": 1}, "b": {"source": "y", "layer": 2}},
        "corpus": {"sources": [{"name": "s", "path": "s.jsonl"}]},
        "judge": {"model": "m", "criterion": "c", **settings},
    }
    with pytest.raises(UserError) as error:
        config.parse(small, origin="run.yaml")
    assert sentence in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://[::1]:8000/v1", True),
        ("http://127.0.0.1/v1", True),
        ("https://localhost", True),
        ("https://api.example.org:443/v1/a-b", False),
        ("https://localhost.example.org/v1", False),
        ("https://my_host./v1", False),
    ],
)
def test_addresses(url: str, local: bool) -> None:
    assert JudgeConfig(model="m", criterion="c", url=url, key_variable="DFC_JUDGE_KEY").local == local


def test_from_the_command_line(tiny_copy: Run, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_JUDGE_KEY", KEY)
    configure(tiny_copy, endpoint.judge(key_variable="DFC_JUDGE_KEY"))
    arguments = ["--sweep", "--feature", str(alive(tiny_copy, "a")), "--strengths", "1,2", "--limit", "2"]
    shown = steer(tiny_copy, *arguments, "--tokens", "4", "--measure", "score", "--prompts", "beginnings")
    assert shown.exit_code == 0, shown.output
    assert "score against strength" in shown.output
    [kept] = sweeps.store(tiny_copy).sweeps().to_dict("records")
    assert sweeps.store(tiny_copy).outputs(kept["sweep_id"])["score"].tolist() == [5] * 6

    endpoint.answer = lambda body: says("2")
    again = steer(tiny_copy, "--score", kept["sweep_id"][:8], "--criterion", "another")
    assert again.exit_code == 0, again.output
    assert sweeps.store(tiny_copy).outputs(kept["sweep_id"])["score"].tolist() == [2] * 6

    endpoint.answer = lambda body: (403, {}, b"no")
    failed = steer(tiny_copy, "--repeat", kept["sweep_id"][:8], "--measure", "mean_kl")
    assert "answered 403 (no)" in said(failed)
    assert f"--score {sweeps.store(tiny_copy).sweeps()['sweep_id'][0][:12]}" in said(failed)
    assert "mean_kl against strength" in failed.output
    assert sweeps.store(tiny_copy).sweeps()["status"].tolist() == ["done", "done"]
    for path in tiny_copy.path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_one_on_another_machine_is_asked_only_if_it_is_wanted(tiny_copy: Run) -> None:
    configure(tiny_copy, JudgeConfig(model="m", criterion="c", url="https://judge.invalid/v1"))
    sweep = ["--sweep", "--feature", str(alive(tiny_copy, "a")), "--strengths", "1", "--limit", "1", "--tokens", "3"]
    shown = steer(tiny_copy, *sweep)
    assert shown.exit_code == 0, shown.output
    assert "the judge in run.yaml is at https://judge.invalid/v1, not on this machine" in shown.output
    assert "judge.invalid" in said(steer(tiny_copy, *sweep, "--judge"))
    assert "judge" not in steer(tiny_copy, *sweep, "--no-judge").output
    assert steer(tiny_copy, *sweep[1:3], "--tokens", "3").exit_code == 0
    identity = sweeps.store(tiny_copy).tried()["tried_id"].iloc[0]
    assert "judge" not in steer(tiny_copy, "--repeat", identity).output  # of one text there is nothing to score


def test_an_interrupt_while_judging_ends_the_process(tiny_copy: Run, endpoint: Endpoint) -> None:
    kept, late = sweeps.store(tiny_copy), threading.Event()
    kept.begin_sweep("abcdef", "", 1, "{}")
    kept.add_outputs([output(sweep_id="abcdef")])
    configure(tiny_copy, endpoint.judge().model_copy(update={"timeout": 600.0}))
    endpoint.answer = lambda body: (late.wait(120), says("1"))[1]
    process = processes.start("-m", "dfc", "steer", str(tiny_copy.path), "--score", "abc")
    end = time.monotonic() + 60
    while not endpoint.asked and process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        _, said_to = process.communicate(timeout=60)
    finally:
        late.set()
        process.kill()
    assert endpoint.asked
    assert process.returncode != 0
    assert "Traceback" not in said_to


def test_where_no_judge_is_named(tiny_copy: Run) -> None:
    assert "no sweep of tiny is meant" in said(steer(tiny_copy, "--score", "abc"))
    sweeps.store(tiny_copy).begin_sweep("abcdef", "", 1, "{}")
    assert "names no judge; add a section `judge`" in said(steer(tiny_copy, "--score", "abc"))
