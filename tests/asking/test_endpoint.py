"""Endpoints as a real server on this machine: what they are sent, and all that may come back in place of an answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dfc.asking import endpoint as http
from dfc.asking.budget import Budget, SpentError
from dfc.asking.endpoint import Endpoint as Asked
from dfc.asking.messages import Message, UnansweredError, bound, key
from dfc.config import JudgeConfig, UserError
from tests.asking.served import Endpoint, in_turn, says, serving

KEY = "sk-secret-1234567890"
MESSAGES = (Message("system", "Be brief."), Message("user", "How much?"))


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(http, "_PAUSES", (0.0, 0.0, 0.0))
    with serving() as found:
        yield found


def asked(judge: JudgeConfig, stop: threading.Event | None = None) -> str:
    return Asked(judge, stop=stop or threading.Event()).ask(MESSAGES).text


def test_without_a_key_none_is_sent(endpoint: Endpoint) -> None:
    assert asked(endpoint.judge(temperature=None)) == "5"
    [(_, authorization, body)] = endpoint.asked
    assert authorization is None
    assert "temperature" not in body


def test_the_environments_proxy_is_not_asked_for_this_machine(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://localhost:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert asked(endpoint.judge()) == "5"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": null}',
        b"\xff",
        pytest.param(b"[" * 200_000, id="deep"),
    ],
)
def test_no_chat_completion(content: bytes, endpoint: Endpoint) -> None:
    endpoint.answer = in_turn((200, {}, content))
    with pytest.raises(UserError, match=r"which is no chat completion; correct `judge.url`"):
        asked(endpoint.judge())


def test_a_busy_or_failing_endpoint_is_asked_again(endpoint: Endpoint) -> None:
    endpoint.answer = in_turn((429, {"Retry-After": "0"}, b""), (503, {"Retry-After": "soon"}, b""), says("4"))
    assert asked(endpoint.judge()) == "4"
    assert len(endpoint.asked) == 3


def test_but_not_for_ever(endpoint: Endpoint) -> None:
    endpoint.answer = lambda body: (500, {}, b"out of\norder")
    with pytest.raises(UserError, match=r"answered 500 \(out of order\); correct .*, or judge again later"):
        asked(endpoint.judge())
    assert len(endpoint.asked) == 4


def test_a_refusal_is_final_and_does_not_show_the_key(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_JUDGE_KEY", KEY)
    endpoint.answer = lambda body: (401, {}, f"wrong key {KEY}".encode())
    with pytest.raises(UserError, match=r"answered 401 \(wrong key …\)") as error:
        asked(endpoint.judge(key_variable="DFC_JUDGE_KEY"))
    assert len(endpoint.asked) == 1
    assert error.value.__cause__ is None
    assert KEY not in str(error.value)


@pytest.mark.parametrize("key", [KEY, 'sk/a+b"c\\d$e', "a" * 300])
def test_an_echo_of_the_key_is_not_shown(key: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_JUDGE_KEY", key)
    spelled = json.dumps(key).replace("/", r"\/").replace("s", r"\u0073")[1:-1]
    for content in (key, spelled, says(key)[2].decode(), says("x")[2].decode().replace("x", spelled)):
        for status in (200, 403):
            endpoint.answer = in_turn((status, {}, content.encode()))
            try:
                told = asked(endpoint.judge(key_variable="DFC_JUDGE_KEY"))
            except UserError as error:
                told = str(error)
            assert "…" in told
            assert key[:5] not in told


def test_what_a_terminal_would_obey_is_not_shown(endpoint: Endpoint) -> None:
    endpoint.answer = in_turn((403, {}, b"\x1b[2Jno"))
    with pytest.raises(UserError, match=r"answered 403 \(�\[2Jno\)"):
        asked(endpoint.judge())


def test_no_redirect_is_followed(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_JUDGE_KEY", KEY)
    endpoint.answer = lambda body: (302, {"Location": endpoint.url}, b"")
    with pytest.raises(UserError, match="answered 302"):
        asked(endpoint.judge(key_variable="DFC_JUDGE_KEY"))
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("key", [None, "  ", "ключ"])
def test_no_key_where_one_is_named(key: str | None, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    if key is not None:
        monkeypatch.setenv("DFC_JUDGE_KEY", key)
    with pytest.raises(UserError, match="the environment variable DFC_JUDGE_KEY holds no key"):
        asked(endpoint.judge(key_variable="DFC_JUDGE_KEY"))
    assert endpoint.asked == []


def test_nobody_there() -> None:
    with pytest.raises(UserError, match=r"cannot be reached \(.*refused\); start it, or correct `judge.url`"):
        asked(JudgeConfig(model="m", criterion="c", url="http://localhost:1"))


def test_a_name_that_cannot_be_looked_up() -> None:
    with pytest.raises(UserError, match=r"cannot be reached \(.+\); start it, or correct `judge.url`"):
        asked(JudgeConfig(model="m", criterion="c", url=f"http://{'a' * 64}.localhost/v1"))


@pytest.mark.parametrize("status", [200, 400, 503])
def test_an_answer_that_breaks_off(status: int, endpoint: Endpoint) -> None:
    endpoint.answer = in_turn((status, {"Transfer-Encoding": "chunked"}, b"no number"))
    with pytest.raises(UserError, match=r"cannot be reached \(IncompleteRead"):
        asked(endpoint.judge())


def test_once_stopped_nothing_is_sent(endpoint: Endpoint) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(UserError, match="is not asked any more"):
        asked(endpoint.judge(), stop)
    assert endpoint.asked == []


def test_no_answer_in_time(endpoint: Endpoint) -> None:
    late = threading.Event()
    endpoint.answer = lambda body: (late.wait(20), says("1"))[1]
    with pytest.raises(UserError, match=r"cannot be reached \(no answer within 0.2 s\)"):
        asked(endpoint.judge().model_copy(update={"timeout": 0.2}))
    late.set()


def anthropic(endpoint: Endpoint, **settings: Any) -> JudgeConfig:
    return JudgeConfig(model="claude", protocol="anthropic", url=endpoint.url, **settings)


def test_anthropics_messages(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_JUDGE_KEY", KEY)
    content = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Much"}, {"type": "text", "text": "."}]
    usage = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 3, "service_tier": "standard"}
    told = json.dumps({"content": content, "stop_reason": "end_turn", "usage": usage})
    endpoint.answer = in_turn((529, {}, b"overloaded"), (200, {}, told.encode()))
    budget = Budget()
    reply = Asked(anthropic(endpoint, key_variable="DFC_JUDGE_KEY"), budget).ask(MESSAGES, 40)
    assert (reply.text, reply.cut) == ("Much.", False)
    (_, first), (_, second) = ((path, body) for path, _, body in endpoint.asked)
    assert first == second
    assert second == {
        "model": "claude",
        "messages": [{"role": "user", "content": "How much?"}],
        "system": "Be brief.",
        "max_tokens": 40,
        "temperature": 0,
    }
    assert [path for path, *_ in endpoint.asked] == ["/v1/messages"] * 2
    assert endpoint.fields["x-api-key"] == KEY
    assert endpoint.fields["anthropic-version"] == "2023-06-01"
    assert "authorization" not in endpoint.fields
    assert (budget.requests, budget.tokens) == (2, bound(MESSAGES) + 40 + 10)  # of the failed one nothing is known


def test_one_that_has_answered_well_may_answer_oddly_once(endpoint: Endpoint) -> None:
    """That is no wrong address: whoever asks about many things goes on with the next."""
    endpoint.answer = in_turn(says("5"), (200, {}, b'{"choices": []}'), says("6"))
    asker, messages = Asked(endpoint.judge()), [Message("user", "How?")]
    assert asker.ask(messages).text == "5"
    with pytest.raises(UnansweredError, match="which is no chat completion"):
        asker.ask(messages)
    assert asker.ask(messages).text == "6"


def test_anthropic_is_at_anthropics_unless_it_is_said() -> None:
    assert JudgeConfig(model="claude", protocol="anthropic").url == "https://api.anthropic.com/v1"


@pytest.mark.parametrize("told", [b"{}", b'{"content": null}', b'{"content": [{"type": "text"}]}', b'{"content": [7]}'])
def test_no_message(told: bytes, endpoint: Endpoint) -> None:
    endpoint.answer = in_turn((200, {}, told))
    with pytest.raises(UserError, match="which is no chat completion"):
        asked(anthropic(endpoint))


def test_thoughts_are_no_part_of_an_answer(endpoint: Endpoint) -> None:
    endpoint.answer = in_turn(says("<think>7 or 8?</think>\n8"))
    assert asked(endpoint.judge()) == "8"


def test_an_answer_that_was_cut_says_so(endpoint: Endpoint) -> None:
    endpoint.answer = in_turn(says("8", finish_reason="length"))
    assert Asked(endpoint.judge()).ask(MESSAGES, 5).cut
    assert endpoint.asked[0][2]["max_tokens"] == 5


def test_the_newer_name_of_the_limit_is_taken_up_where_the_older_is_refused(endpoint: Endpoint) -> None:
    refusal = b"Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    endpoint.answer = lambda body: (400, {}, refusal) if "max_tokens" in body else says("8")
    asker = Asked(endpoint.judge())
    assert [asker.ask(MESSAGES, 5).text for _ in range(2)] == ["8", "8"]
    assert ["max_tokens" in body for *_, body in endpoint.asked] == [True, False, False]
    assert endpoint.asked[2][2]["max_completion_tokens"] == 5


class TestBudget:
    def test_no_more_requests_than_it_has_though_they_fail(self, endpoint: Endpoint) -> None:
        endpoint.answer = lambda body: (503, {}, b"")
        budget = Budget(most_requests=2)
        with pytest.raises(SpentError, match="the budget of 2 requests is spent"):
            Asked(endpoint.judge(), budget).ask(MESSAGES, 5)
        assert len(endpoint.asked) == budget.requests == 2

    def test_nothing_is_sent_that_might_take_more_tokens_than_are_left(self, endpoint: Endpoint) -> None:
        used = {"prompt_tokens": 20, "completion_tokens": 4}
        endpoint.answer = lambda body: says("8", usage=used)
        most = bound(MESSAGES) + 5
        budget = Budget(most_tokens=most + 24)
        asker = Asked(endpoint.judge(), budget)
        assert [asker.ask(MESSAGES, 5).text for _ in range(2)] == ["8", "8"]
        with pytest.raises(SpentError, match=rf"may take {most} tokens, .* {most + 24} {most - 24} are"):
            asker.ask(MESSAGES, 5)
        assert (len(endpoint.asked), budget.tokens) == (2, 48)

    @pytest.mark.parametrize("usage", [None, 7, {"prompt_tokens": "many"}, {"prompt_tokens": -1}, {"total": 3}])
    def test_an_answer_without_an_account_counts_as_the_most_it_may_have_taken(
        self, usage: Any, endpoint: Endpoint
    ) -> None:
        endpoint.answer = in_turn(says("8", usage=usage))
        budget = Budget()
        Asked(endpoint.judge(), budget).ask(MESSAGES, 5)
        assert budget.tokens == bound(MESSAGES) + 5

    def test_a_refusal_takes_no_tokens_and_an_answer_that_never_comes_all(self, endpoint: Endpoint) -> None:
        budget = Budget()
        endpoint.answer = in_turn((401, {}, b"no"))
        with pytest.raises(UserError, match="answered 401"):
            Asked(endpoint.judge(), budget).ask(MESSAGES, 5)
        assert budget.tokens == 0
        late = threading.Event()
        endpoint.answer = lambda body: (late.wait(20), says("1"))[1]
        with pytest.raises(UnansweredError):
            Asked(endpoint.judge().model_copy(update={"timeout": 0.2}), budget).ask(MESSAGES, 5)
        late.set()
        assert budget.tokens == bound(MESSAGES) + 5

    def test_many_at_once_never_take_more(self, endpoint: Endpoint) -> None:
        endpoint.answer = lambda body: says("8")
        most = bound(MESSAGES) + 5
        budget = Budget(most_requests=20, most_tokens=7 * most + 3)
        asker = Asked(endpoint.judge(), budget)

        def work() -> None:
            for _ in range(4):
                try:
                    asker.ask(MESSAGES, 5)
                except SpentError:
                    return

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(endpoint.asked) == budget.requests == 7
        assert budget.tokens == 7 * most


def test_a_bound_counts_what_a_tokenizer_may_make_of_a_text() -> None:
    assert bound([Message("user", "北京")]) - bound([]) == 6
    assert bound([Message("user", "\ufdfa")]) - bound([]) == 33  # 3 bytes, spelled out by NFKC


def test_a_key_changes_with_whatever_is_asked_of_whom() -> None:
    judge = JudgeConfig(model="m")
    others = [{"model": "n"}, {"url": "http://localhost:1/v1"}, {"temperature": None}, {"protocol": "local"}]
    keys = {key(judge, MESSAGES, 5), key(judge, MESSAGES, 6), key(judge, MESSAGES[1:], 5)}
    keys |= {key(judge.model_copy(update=other), MESSAGES, 5) for other in others}
    assert len(keys) == 7
    assert key(judge.model_copy(update={"timeout": 9.0, "parallel": 2}), MESSAGES, 5) == key(judge, MESSAGES, 5)
