"""What a chat holds beside its turns: what tools are, are asked and say; and all its words, to be changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from dfc.corpus.documents import THOUGHTS


def of_tools(messages: Sequence[Mapping[str, Any]], tools: list[Any] | None) -> list[str]:
    """All that a chat holds beside what is said in it, thought, and who says it."""
    said = {"role", "content", *THOUGHTS}
    beside = [
        [value for name, value in message.items() if name not in said or message["role"] == "tool"]
        for message in messages
    ]
    return list(strings_in([beside, tools]))


def unsaid_in(text: str, messages: Sequence[Mapping[str, Any]]) -> tuple[tuple[int, int], ...]:
    """Where what tools say stands in a rendered chat, as far as it is found."""
    words = [str(message["content"]).strip() for message in messages if message["role"] == "tool"]
    return tuple((start, len(said)) for said in words if said and (start := text.find(said)) >= 0)


def untold_in(text: str, messages: Sequence[Mapping[str, Any]], tools: list[Any] | None) -> tuple[str, ...]:
    """What of tools a rendered chat does not have: an answer, or a name of what is called or offered."""
    lost = []
    for message in messages:
        if message["role"] == "tool" and not _has(text, str(message["content"] or "").strip()):
            lost.append("role `tool`")
        if not all(_has(text, name) for name in _names(message.get("tool_calls"))):
            lost.append("`tool_calls`")
    if not all(_has(text, name) for name in _names(tools)):
        lost.append("`tools`")
    return tuple(lost)


def _has(text: str, words: str) -> bool:
    return words in text or as_json(words)[1:-1] in text


def _names(functions: Any) -> list[str]:
    """The names of functions that are called, or described."""
    entries = [entry for entry in functions or [] if isinstance(entry, Mapping)]
    inner = [entry["function"] if isinstance(entry.get("function"), Mapping) else entry for entry in entries]
    return [name for entry in inner if isinstance(name := entry.get("name"), str)]


def strings_in(value: Any) -> Iterator[str]:
    """All strings in a value, the keys of its objects among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from strings_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from strings_in(item)


def changed(value: Any, change: Callable[[str], str]) -> Any:
    """A value with other strings in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): changed(item, change) for key, item in value.items()}
    return [changed(item, change) for item in value] if isinstance(value, list | tuple) else value


def as_json(value: Any) -> str:
    """A value as JSON, whatever it holds."""
    return json.dumps(value, ensure_ascii=False, default=str)
