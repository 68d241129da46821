"""How messages are given to a template that may refuse them as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dfc.corpus import beside
from dfc.corpus.documents import THOUGHTS

Shape = Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]


def as_they_are(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same."""
    return [dict(message) for message in messages]


def as_texts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same with an empty content where there is none, and arguments of calls as JSON."""
    texts = []
    for message in messages:
        text = {**message, "content": message["content"] or ""}
        if message.get("tool_calls"):
            text["tool_calls"] = [_with_arguments(call) for call in message["tool_calls"]]
        texts.append(text)
    return texts


def as_parts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same with each content as a list of one part, as templates of models that see pictures may want it."""
    return [{**text, "content": [{"type": "text", "text": text["content"]}]} for text in as_texts(messages)]


def _with_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping) or isinstance(function.get("arguments", ""), str):
        return dict(call)
    return {**call, "function": {**function, "arguments": beside.as_json(function["arguments"])}}


def alternating(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same said by a user and an assistant in turn, the user first; calls of tools are part of what is said."""
    turns: list[dict[str, Any]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        calls = [beside.as_json(message["tool_calls"])] if message.get("tool_calls") else []
        said = "\n\n".join([*([str(message["content"])] if message["content"] else []), *calls])
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": ""})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n\n{said}"
        else:
            thoughts = {name: message[name] for name in THOUGHTS if name in message}
            turns.append({"role": role, "content": said, **thoughts})
    return turns
