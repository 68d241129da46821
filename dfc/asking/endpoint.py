"""A judge behind an endpoint, which speaks as OpenAI's do or as Anthropic's.

The key is read from the environment for each request and goes nowhere else: not over a redirect, not into a
sentence about an error.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from email.message import Message as Fields
from typing import Any

from dfc import corpus
from dfc.asking.budget import Budget
from dfc.asking.messages import Message, Reply, StoppedError, UnansweredError, bound, who
from dfc.config import JudgeConfig, UserError

_PAUSES = (1.0, 4.0, 15.0)  # seconds before an endpoint that is busy or fails is asked again
_LONGEST_PAUSE = 60.0  # whatever it asks for
_LARGEST = 1 << 20  # bytes of an answer
_SHORTEST_SECRET = 8  # letters; a shorter key may be a word of an answer, and is known to many
_VERSION = "2023-06-01"  # of Anthropic's messages
_LIMIT, _NEWER_LIMIT = "max_tokens", "max_completion_tokens"
_CUT = ("length", "max_tokens")  # why an answer ended, if by its limit
_COUNTS = (
    "prompt_tokens",
    "completion_tokens",
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)
"""What an account of tokens adds up from: OpenAI's names, then Anthropic's."""


@dataclass
class Endpoint:
    """What `Asker` says; `stop` ends its waiting, and nothing more is sent.

    `_limit` is how the endpoint calls the limit of an answer; it changes once, where one refuses the older name.
    `_known` says whether it has given a chat completion: another answer after that is odd, and no wrong address.
    """

    judge: JudgeConfig
    budget: Budget = field(default_factory=Budget)
    stop: threading.Event = field(default_factory=threading.Event)
    _limit: str = _LIMIT
    _known: bool = False

    def ask(self, messages: Sequence[Message], most: int | None = None) -> Reply:
        """What it says, as `Asker.ask`."""
        answer = self._answered(messages, most)
        try:
            content = json.loads(answer)
            text, ended = _anthropic(content) if self.judge.protocol == "anthropic" else _openai(content)
        except (ValueError, LookupError, TypeError, RecursionError):
            said = f"{who(self.judge)} answered {_excerpt(answer)!r}, which is no chat completion"
            if self._known:
                raise UnansweredError(said) from None
            raise UserError(f"{said}; correct `judge.url`.") from None
        self._known = True
        return Reply(corpus.parts(text).answer if isinstance(text, str) else "", ended in _CUT)

    def _answered(self, messages: Sequence[Message], most: int | None) -> bytes:
        """What it answers, without the key; it is asked again while it is busy (429) or fails (5xx)."""
        judge = self.judge
        key = _key(judge)
        aside = bound(messages) + (most or judge.answer_tokens)
        pauses = iter((*_PAUSES, None))
        while True:
            if self.stop.is_set():
                raise StoppedError(f"{who(judge)} is not asked any more; judge again later.")
            status, fields, answer = self._sent(json.dumps(self._content(messages, most)).encode(), key, aside)
            if 200 <= status < 300:
                return answer
            if status == 400 and self._limit == _LIMIT and _NEWER_LIMIT.encode() in answer:
                self._limit = _NEWER_LIMIT
                continue
            busy, pause = status == 429 or status >= 500, next(pauses)
            if pause is None or not busy:
                said = _excerpt(answer) or http.client.responses.get(status, "nothing")
                raise (UnansweredError if busy else UserError)(
                    f"{who(judge)} answered {status} ({said}); correct `judge` in run.yaml"
                    f"{'' if pause is not None else ', or judge again later'}."
                )
            self.stop.wait(max(pause, _asked_pause(fields)))

    def _sent(self, body: bytes, key: str, aside: int) -> tuple[int, Fields, bytes]:
        """Status, header fields and body of one answer, which is paid for out of the budget."""
        self.budget.take(aside)
        used: int | None = None  # where nothing is known, all that was set aside
        try:
            status, fields, answer = _once(self.judge, body, _headers(self.judge, key))
            used = _used(answer) if 200 <= status < 300 else 0 if status < 500 else None
            return status, fields, _hidden(answer, key)
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ConnectionRefusedError):
                used = 0
            if isinstance(reason, TimeoutError):
                reason = f"no answer within {self.judge.timeout:g} s"
            said = _excerpt(_hidden(str(reason).encode(errors="replace"), key)) or type(reason).__name__
            raise UnansweredError(
                f"{who(self.judge)} cannot be reached ({said}); start it, or correct `judge.url` in run.yaml."
            ) from None
        finally:
            self.budget.give_back(aside, used)

    def _content(self, messages: Sequence[Message], most: int | None) -> dict[str, Any]:
        """What is sent."""
        judge = self.judge
        content: dict[str, Any] = {"model": judge.model}
        if judge.protocol == "anthropic":
            system = "\n\n".join(one.content for one in messages if one.role == "system")
            content["messages"] = [asdict(one) for one in messages if one.role != "system"]
            content |= {"max_tokens": most or judge.answer_tokens, **({"system": system} if system else {})}
        else:
            content["messages"] = [asdict(one) for one in messages]
            content |= {} if most is None else {self._limit: most}
        return content | ({} if judge.temperature is None else {"temperature": judge.temperature})


def _openai(content: Any) -> tuple[Any, Any]:
    """What an OpenAI-compatible endpoint said, and why it ended."""
    choice = content["choices"][0]
    return choice["message"]["content"], choice.get("finish_reason")


def _anthropic(content: Any) -> tuple[str, Any]:
    """The same of Anthropic's messages: what it thought stands in parts of another type."""
    return "".join(one["text"] for one in content["content"] if one["type"] == "text"), content.get("stop_reason")


def _used(answer: bytes) -> int | None:
    """Tokens that an answer took by its own account; None where it gives none."""
    try:
        usage = json.loads(answer)["usage"]
        counts = [usage[name] or 0 for name in _COUNTS if name in usage]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    sound = counts and all(type(count) is int and count >= 0 for count in counts)
    return sum(counts) if sound else None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:  # the key must not follow
        return None


def _headers(judge: JudgeConfig, key: str) -> dict[str, str]:
    kind = {"Content-Type": "application/json"}
    if judge.protocol == "anthropic":
        return kind | {"anthropic-version": _VERSION} | ({"x-api-key": key} if key else {})
    return kind | ({"Authorization": f"Bearer {key}"} if key else {})


def _once(judge: JudgeConfig, body: bytes, headers: dict[str, str]) -> tuple[int, Fields, bytes]:
    """Status, header fields and body of whatever the endpoint answers.

    Raises:
        OSError, ValueError, http.client.HTTPException: if there is no answer.
    """
    path = "messages" if judge.protocol == "anthropic" else "chat/completions"
    request = urllib.request.Request(f"{judge.url}/{path}", body, headers)
    opener = urllib.request.build_opener(_NoRedirect, *([urllib.request.ProxyHandler({})] if judge.local else []))
    try:
        answer = opener.open(request, timeout=judge.timeout)
    except urllib.error.HTTPError as error:  # an answer, too
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read(_LARGEST)


def _key(judge: JudgeConfig) -> str:
    """The key in the environment; empty where none is asked for."""
    if judge.key_variable is None:
        return ""
    key = os.environ.get(judge.key_variable, "").strip()
    if not key or not (key.isascii() and key.isprintable()):
        raise UserError(
            f"{who(judge)}: the environment variable {judge.key_variable} holds no key; set it before dfc is started, "
            f"or take `judge.key_variable` out of run.yaml."
        )
    return key


def _asked_pause(fields: Fields) -> float:
    """Seconds that an endpoint asks to be left alone."""
    asked = fields.get("Retry-After", "")
    return min(float(asked), _LONGEST_PAUSE) if asked.isascii() and asked.isdigit() else 0.0


def _hidden(said: bytes, key: str) -> bytes:
    """The same without the key, however JSON spells it: a proxy may say what it was sent."""
    if len(key) < _SHORTEST_SECRET:
        return said
    spelled = "".join(rf"(?:\\?{re.escape(mark)}|\\u00{ord(mark):02x})" for mark in key)
    return re.sub(spelled.encode(), "…".encode(), said, flags=re.IGNORECASE)


def _excerpt(body: bytes) -> str:
    """The beginning of what an endpoint says, on one line, without marks that a terminal would obey."""
    text = " ".join(body.decode("utf-8", errors="replace").split())
    return "".join(mark if mark.isprintable() else "�" for mark in text[:120])
