"""What of tools a template leaves out of a chat, seen by what makes no difference to what it renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def untold_in(
    text: str,
    given: Sequence[Mapping[str, Any]],
    tools: list[Any] | None,
    fill: Callable[[list[Any], list[Any] | None], str],
) -> tuple[str, ...]:
    """What of tools a rendered chat does not have, a role or a field for each: what makes no difference to it.

    All of a kind is changed at once, each by a mark of its own; what shows none, again without the rest. If that still
    makes a difference, as a length does, or is minded, the template is taken to look at all of it.
    """
    sign = "zq"
    while sign in text:
        sign += "z"
    lost: list[tuple[int, str]] = []
    for name, what in (("content", "role `tool`"), ("tool_calls", "`tool_calls`"), ("tools", "`tools`")):
        if name == "tools":
            there = [len(given)] if tools else []  # they are told last
        else:
            there = [
                number
                for number, message in enumerate(given)
                if message.get(name) and (name != "content" or message["role"] == "tool")
            ]

        def other(numbers: list[int], name: str = name) -> str | None:
            messages = list(given)
            for number in numbers if name != "tools" else ():
                messages[number] = {**messages[number], name: _marked(messages[number][name], f"{sign}{number}{sign}")}
            try:
                return fill(messages, _marked(tools, f"{sign}{len(messages)}{sign}") if name == "tools" else tools)
            except Exception:  # it minds, so it looks there
                return None

        if there and (shown := other(there)) is not None:
            silent = [number for number in there if f"{sign}{number}{sign}" not in shown]
            if silent and other(silent) == text:
                lost += [(number, what) for number in silent]
    return tuple(what for _, what in sorted(lost, key=lambda one: one[0]))


def _marked(value: Any, mark: str) -> Any:
    """A value with a mark behind what its strings say; not behind names, by which templates find their way."""
    if isinstance(value, str):
        return f"{value}{mark}"
    if isinstance(value, Mapping):
        return {key: item if key in ("id", "type") else _marked(item, mark) for key, item in value.items()}
    return [_marked(item, mark) for item in value] if isinstance(value, list | tuple) else value
