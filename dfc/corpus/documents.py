"""Documents: plain texts and chats, and the messages that a chat's template is given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from dfc.requests import Turn

PLAIN = "text"  # the role of a plain text's only turn
THOUGHT = "reasoning"  # the role of what an assistant thinks before it answers
THOUGHTS = ("reasoning_content", "thinking", "reasoning")
"""Under which of these a message holds it is the template's choice."""
_HALF = re.compile("[\ud800-\udfff]")
_SPEAKERS = {"developer": "system"}  # of a turn, where it is not the message's role


class Place(NamedTuple):
    """A turn and where it comes from: the number of its message, and the message's field."""

    role: str
    text: str
    message: int
    field: str


@dataclass(frozen=True)
class Document:
    """A plain text or a chat. Its content is what its turns say, one after another, without any template.

    `given` is what a template is given of a chat, as JSON: `messages` and `tools`. It is empty where that is the turns
    themselves, each a message.
    """

    source: str
    turns: tuple[Turn, ...]
    given: str = ""

    @property
    def is_chat(self) -> bool:
        return self.turns[0].role != PLAIN

    @cached_property
    def _given(self) -> dict[str, Any]:
        return dict(json.loads(self.given)) if self.given else {}

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What a template is given, a message for each entry."""
        said = [{"role": turn.role, "content": turn.content} for turn in self.turns]
        return self._given.get("messages") or said

    @property
    def tools(self) -> list[Any] | None:
        """Descriptions of the tools that are offered, if any are."""
        return self._given.get("tools")

    def up_to_the_last(self, roles: Sequence[str]) -> Document | None:
        """The document without what comes after the last turn of some roles; None if there is no such turn."""
        if not self.is_chat:
            return self if PLAIN in roles else None
        messages = self.messages
        last = max((turn.message for turn in said_in(messages) if turn.role in roles), default=-1)
        return of_messages(self.source, messages[: last + 1], self.tools) if last >= 0 else None


def of_messages(
    source: str, messages: Sequence[Mapping[str, Any]], tools: list[Any] | None = None, room: int | None = None
) -> Document | None:
    """Messages as a document, cut after so many characters of what is said; None if nothing is said.

    White space around what is said is no part of a turn; a template gets it all the same.
    """
    if len(messages) == 1 and messages[0]["role"] == PLAIN:
        text = messages[0]["content"].strip()[:room]
        return Document(source, (Turn(PLAIN, text),)) if text else None
    turns, kept = [], [dict(message) for message in messages]
    left = room
    for turn in said_in(messages):
        text = turn.text[:left]
        turns.append(Turn(turn.role, text))
        if left is None:
            continue
        left -= len(text)
        if text != turn.text:
            whole = kept[turn.message][turn.field]
            kept[turn.message][turn.field] = whole[: whole.index(turn.text) + len(text)]
        if not left:
            kept = kept[: turn.message + 1]
            if turn.field != "content":  # it ends with a thought
                kept[-1]["content"] = ""
            break
    if not turns:
        return None
    said = [{"role": turn.role, "content": turn.content} for turn in turns]
    given = {"messages": kept, **({"tools": tools} if tools else {})}
    same = kept == said and not tools
    return Document(source, tuple(turns), "" if same else json.dumps(given, ensure_ascii=False, default=str))


def said_in(messages: Sequence[Mapping[str, Any]]) -> list[Place]:
    """What is said in messages, in order: what an assistant thinks before what it answers; tools say nothing."""
    said = []
    for number, message in enumerate(messages):
        if message["role"] == "tool":
            continue
        thought = next((name for name in THOUGHTS if isinstance(message.get(name), str)), "")
        for role, name in ((THOUGHT, thought), (_SPEAKERS.get(message["role"], message["role"]), "content")):
            content = message.get(name)
            if isinstance(content, str) and (text := content.strip()):
                said.append(Place(role, text, number, name))
    return said


def plain(text: str, source: str = "") -> Document:
    """A plain text as a document."""
    return Document(source, (Turn(PLAIN, text),))


def encodable(text: str) -> str:
    """A string that every tokenizer accepts: no lone surrogates."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def texts_in(value: Any) -> Iterator[str]:
    """A text, or the texts anywhere in lists and objects; not the names of fields."""
    if isinstance(value, str):
        yield value
    else:
        inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        for item in inner:
            yield from texts_in(item)


def holds_halves(value: Any) -> bool:
    """Whether a text, or a text anywhere in lists and objects, holds lone surrogates."""
    return any(not text.isascii() and _HALF.search(text) is not None for text in texts_in(value))


def clean(text: str) -> str:
    """The same without white space around it."""
    return encodable(text).strip()
