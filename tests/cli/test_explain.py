"""`dfc explain` from end to end on a tiny run, and whom it asks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dfc.cli.explain import chosen_judge
from dfc.config import JudgeConfig, UserError
from dfc.runs import Run
from dfc.store.reader import Store
from tests.asking.served import Answer, Endpoint, configure, says, serving
from tests.processes import dfc

KEY = "sk-secret-1234567890"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as found:
        yield found


def answer(body: Any) -> Answer:
    told = json.loads(body["messages"][1]["content"])
    if "next_tokens" in told:
        return says('{"explanation": "words of <b>news</b>"}')
    if "flags" in told:
        return says('{"flags": [{"flag": "code", "reason": "so it is"}]}')
    return says(json.dumps({"marks": [5] * len(told["texts"])}))


def test_findings_are_explained_within_a_budget_and_the_key_stays_nowhere(
    tiny_copy: Run, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFC_JUDGE_KEY", KEY)
    configure(tiny_copy, JudgeConfig(model="m", url=endpoint.url, key_variable="DFC_JUDGE_KEY"))
    endpoint.answer = answer
    of = ("explain", str(tiny_copy.path), "--feature", "1", "--feature", "2", "--feature", "1")
    foreseen = dfc(*of, "--estimate")
    assert foreseen.returncode == 0, foreseen.stderr
    assert "requests about 2 features, about" in foreseen.stderr
    assert endpoint.asked == []

    first = dfc(*of, "--max-requests", "1", "--json")
    assert first.returncode == 0, first.stderr
    assert len(endpoint.asked) == 1
    assert endpoint.fields["authorization"] == f"Bearer {KEY}"
    assert "stopped: the budget of 1 requests is spent; the same command goes on" in first.stderr

    second = dfc(*of, "--json")
    assert "2 of 2 features are explained" in second.stderr
    told = json.loads(second.stdout)
    assert [one["feature_id"] for one in told] == [1, 2]
    assert all(one["explanations"][0]["text"] == "words of <b>news</b>" for one in told)
    assert all(mark["flag"] == "code" for one in told for mark in one["flags_named"])
    asked = len(endpoint.asked)
    assert "everything was answered already" in dfc(*of).stderr
    assert len(endpoint.asked) == asked

    shown = json.loads(dfc("feature", str(tiny_copy.path), "1", "--json").stdout)
    assert shown["explanations"][0]["who"] == "m"
    for path in tiny_copy.path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()
    assert KEY not in foreseen.stderr + first.stderr + second.stderr


def test_who_is_asked(tiny_copy: Run) -> None:
    with pytest.raises(UserError, match="names no judge; add a section `judge`"):
        chosen_judge(tiny_copy, {}, False)
    given = chosen_judge(tiny_copy, {"model": "m", "url": "https://judge.invalid/v1"}, False)
    assert (given.model, given.url, given.protocol) == ("m", "https://judge.invalid/v1", "openai")
    anthropic = {"model": "m", "protocol": "anthropic", "key_variable": "DFC_JUDGE_KEY"}
    assert chosen_judge(tiny_copy, anthropic, False).url == "https://api.anthropic.com/v1"
    with pytest.raises(UserError, match=r"`judge.key_variable`: give the name of an environment variable"):
        chosen_judge(tiny_copy, {"model": "m", "key_variable": "SECRET"}, False)

    there = JudgeConfig(model="n", url="https://other.invalid/v1", key_variable="DFC_JUDGE_KEY", answer_tokens=99)
    configure(tiny_copy, there)
    with pytest.raises(UserError, match=r"is at https://other.invalid/v1, not on this machine.*--judge lets it"):
        chosen_judge(tiny_copy, {}, False)
    assert chosen_judge(tiny_copy, {}, True) == there
    moved = chosen_judge(tiny_copy, {"url": "https://judge.invalid/v1"}, False)
    assert (moved.model, moved.key_variable, moved.answer_tokens) == ("n", None, 99)  # its key is for its own address
    local = chosen_judge(tiny_copy, {"protocol": "local", "model": "folder"}, False)
    assert local.local
    assert local.key_variable is None


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--feature", "one"], "Invalid value for '--feature'"),
        (["--feature", "999999"], "feature 999999 does not exist"),
        ([], "To explain features all the same, name them with --feature."),
    ],
)
def test_what_cannot_be_explained_is_said(tiny_copy: Run, arguments: list[str], sentence: str) -> None:
    assert not Store(tiny_copy.store).tested() or arguments
    configure(tiny_copy, JudgeConfig(model="m"))
    shown = dfc("explain", str(tiny_copy.path), *arguments)
    assert shown.returncode == 2
    assert sentence in shown.stderr
