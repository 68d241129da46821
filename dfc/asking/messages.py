"""What a judge is asked and what it says, and by what an answer is known again."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal, Protocol

from dfc.config import JudgeConfig, UserError

_FRAME = 256
"""Tokens that a template may add: names of roles, today's date, a system message of its own."""


class UnansweredError(UserError):
    """There is no usable answer to this request; there may be to others."""


class StoppedError(UserError):
    """Nothing more is asked, since somebody ended it."""


@dataclass(frozen=True)
class Message:
    """What one speaker says."""

    role: Literal["system", "user"]
    content: str


@dataclass(frozen=True)
class Reply:
    """What a judge says.

    Attributes:
        text: without what it thought, where that stands apart.
        cut: whether it was ended by the limit of tokens.
    """

    text: str
    cut: bool = False


class Asker(Protocol):
    """A judge that can be asked, by several threads at once."""

    def ask(self, messages: Sequence[Message], most: int | None = None) -> Reply:
        """What it says to some messages, the last of them a user's.

        Args:
            messages: in their order.
            most: tokens of the answer; None: as many as it wants.

        Raises:
            SpentError: if that might take more than the budget has left; nothing was sent.
            StoppedError: if it is not to be asked any more; nothing was sent.
            UnansweredError: if it does not answer this in time.
            UserError: if it cannot be used.
        """
        ...


def who(judge: JudgeConfig) -> str:
    """How a judge is called in a sentence."""
    where = "on this machine" if judge.protocol == "local" else f"at {judge.url}"
    return f"the judge {judge.title} {where}"


def key(judge: JudgeConfig, messages: Sequence[Message], most: int | None) -> str:
    """By what an answer is known again: the model, where it is, and all that it is asked."""
    asked = [judge.protocol, judge.model, "" if judge.protocol == "local" else judge.url, judge.temperature, most]
    text = json.dumps([*asked, [asdict(one) for one in messages]], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def bound(messages: Sequence[Message]) -> int:
    """Tokens that these are at most: a token holds a byte at least, of the text or of what a tokenizer makes of it."""
    texts = [one.content for one in messages]
    return _FRAME + sum(max(_bytes(text), _bytes(unicodedata.normalize("NFKC", text))) for text in texts)


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
