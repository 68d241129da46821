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
    """Where what tools say stands in a rendered chat, as far as it stands there once.

    What stands there more often may be the template's own marks.
    """
    words = [str(message["content"]).strip() for message in messages if message["role"] == "tool"]
    return tuple((text.index(said), len(said)) for said in words if said and text.count(said) == 1)


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
