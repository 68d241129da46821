"""Messages of a chat, as templates take them: roles, parts, thoughts, calls of tools."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from dfc.corpus.documents import THOUGHTS, encodable, texts_in
from dfc.corpus.tally import Unusable

ROLES = {
    **dict.fromkeys(("system",), "system"),
    **dict.fromkeys(("developer",), "developer"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
"""What the usual names of speakers mean, in small letters; a `call` is an assistant's, to a tool."""
_EXTRAS = (*THOUGHTS, "name", "tool_call_id")  # templates take these
_REFUSAL = "refusal"  # what an assistant of OpenAI says in place of a content
_ABOUT = {"id", "message_id", "parent_id", "type", "lang", "model", "timestamp", "created_date", "replies", "user_id"}
_ABOUT |= {"uuid", "created_at", "updated_at"}
ROLE, _SAID = ("role", "from"), ("content", "value", "text", "parts")
_SENDER = "sender"  # of Claude's exports
_TOOL_USE, _TOOL_RESULT = "tool_use", "tool_result"  # Anthropic's parts
_NAMED = 4  # fields of a message that has no role


def as_message(message: Any) -> dict[str, Any] | Unusable:
    """One message as templates take it, and what else of it they may take."""
    if not isinstance(message, Mapping):
        return Unusable("bad row", f"a message is {kind(message)}")
    role = _first(message, (*ROLE, _SENDER))
    known = ROLES.get(role.strip().casefold()) if isinstance(role, str) else None
    if known is None:
        return Unusable("unknown role", f"role `{role:.40}`" if isinstance(role, str) else _without_role(message, role))
    said = _said_in(message)
    if isinstance(said, Unusable):
        return said
    content, extras, calls = said.content, _extras(message, said.thought), _calls(message) or said.asked
    if isinstance(extras, Unusable):
        return extras
    if isinstance(calls, Unusable):
        return calls
    if known == "call" and not calls:
        calls = _asked_for(content or "")
        content = "" if calls else content
    if calls:
        extras["tool_calls"] = calls
    silent = content is None and calls  # some templates tell nothing from an empty text
    role = "assistant" if known == "call" else known
    return {"role": role, "content": None if silent else encodable(content or ""), **extras}


class _Said(NamedTuple):
    """What a message says and thinks, and what it asks of tools, where that stands among its parts."""

    content: str | None
    thought: str
    asked: list[Any]


def _said_in(message: Mapping[Any, Any]) -> _Said | Unusable:
    content, thought, asked = _first(message, _SAID), "", list[Any]()
    if isinstance(content, list):
        asked = [_call_of(part) for part in content if _is_part(part, _TOOL_USE)]
        parts = [_part(part) for part in content if not _is_part(part, _TOOL_USE)]
        flaw = next((part for part in parts if isinstance(part, Unusable)), None)
        if flaw is not None:
            return flaw
        texts = [part for part in parts if not isinstance(part, Unusable)]
        content = "\n".join(text for spoken, text in texts if spoken) if texts or not asked else None
        thought = "\n".join(text for spoken, text in texts if not spoken)
    if not isinstance(content, str | None):
        return Unusable("bad row", f"a message's content is {kind(content)}")
    if content in (None, "") and isinstance(refusal := message.get(_REFUSAL), str):
        content = refusal
    return _Said(content, thought, asked)


def _extras(message: Mapping[Any, Any], thought: str) -> dict[str, Any] | Unusable:
    """What else of a message templates may take; `thought` is what it thinks among its parts."""
    extras = {name: sound(message[name]) for name in _EXTRAS if message.get(name) not in (None, "", [])}
    for name in THOUGHTS:
        if not isinstance(extras.get(name, ""), str):
            return Unusable("bad row", f"`{name}` is {kind(extras[name])}")
    if thought:
        extras.setdefault("reasoning_content", encodable(thought))
    elif not any(name in extras for name in THOUGHTS):  # some templates look whether there is one, though it is empty
        extras |= {name: "" for name in THOUGHTS if message.get(name) == ""}
    return extras


def spread(message: Any) -> list[Any]:
    """A message, or several, where what tools answered is among its parts, as Anthropic has it."""
    name = next((name for name in _SAID if message.get(name) is not None), "") if isinstance(message, Mapping) else ""
    parts = message[name] if name else None
    if not isinstance(parts, list) or not any(_is_part(part, _TOOL_RESULT) for part in parts):
        return [message]
    found, beside = list[dict[str, Any]](), dict(message)
    for is_result, several in groupby(parts, lambda part: _is_part(part, _TOOL_RESULT)):
        if is_result:
            found += [
                {"role": "tool", "content": part.get("content"), "tool_call_id": part.get("tool_use_id")}
                for part in several
            ]
        else:
            found.append({**beside, name: list(several)})
            beside = {key: message[key] for key in (*ROLE, _SENDER) if key in message}
    return found


def _without_role(message: Mapping[Any, Any], role: Any) -> str:
    if role is not None or not message:
        return f"a role is {kind(role)}"
    names = ", ".join(f"`{name!s:.40}`" for name in list(message)[:_NAMED])
    return f"a message without a role, of {names}"


def unread(message: Mapping[Any, Any]) -> list[str]:
    """Names of fields of a message that hold words and are not used."""
    used = {*_EXTRAS, "tool_calls", "function_call", _REFUSAL, *_ABOUT, *ROLE, _SENDER}
    said = _first(message, _SAID)
    used |= {name for name in _SAID if message.get(name) == said or text_of(message.get(name)) == text_of(said)}
    thoughts = {name: text for name in THOUGHTS if isinstance(text := message.get(name), str) and text.strip()}
    thought = next(iter(thoughts.values()), "")
    used -= {name for name, text in thoughts.items() if text.strip() != thought.strip()}
    return [str(name) for name, value in message.items() if name not in used and holds_words(value)]


def holds_words(value: Any) -> bool:
    """Whether there is text in a value."""
    return any(any(map(str.isalpha, text)) for text in texts_in(value))


def text_of(value: Any) -> str:
    """What a text, a list of parts, or an object with `parts`, says; empty if it is none of these."""
    if isinstance(value, Mapping):
        value = value.get("parts")
    parts = [_part(part) for part in (value if isinstance(value, list) else [value])]
    return "\n".join(part[1] for part in parts if not isinstance(part, Unusable) and part[0])


def is_chat(value: Any) -> bool:
    """Whether this is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(message, Mapping) and _has_speaker(message) for message in value)
    )


def _has_speaker(message: Mapping[Any, Any]) -> bool:
    """Whether somebody says this; a `sender`, which letters have, too, must be one of a chat."""
    return any(name in message for name in ROLE) or str(message.get(_SENDER)).strip().casefold() in ROLES


def kind(value: Any) -> str:
    """What a value is, for people."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool | int | float):
        return "a number"
    if isinstance(value, bytes):
        return "bytes"
    return "a text" if isinstance(value, str) else "an object" if isinstance(value, Mapping) else "a list"


def unsaid(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tools say and are asked, which is given to the models and not paired: one entry for each, what it is."""
    return [
        "role `tool`" if message["role"] == "tool" else "`tool_calls`"
        for message in messages
        if message["role"] == "tool" or message.get("tool_calls")
    ]


def _calls(message: Mapping[Any, Any]) -> list[Any] | Unusable:
    """What a message asks of tools: its `tool_calls`, or OpenAI's older `function_call`."""
    calls = parsed(message.get("tool_calls"))
    if calls not in (None, "", []):
        if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
            return Unusable("bad row", f"`tool_calls` is {kind(calls)}" + " without objects" * isinstance(calls, list))
        return list(sound(calls))
    asked = parsed(message.get("function_call"))
    if asked in (None, "", {}):
        return []
    if not isinstance(asked, Mapping) or not isinstance(asked.get("name"), str):
        return Unusable("bad row", f"`function_call` is {kind(asked)}" + " without a name" * isinstance(asked, Mapping))
    return [_call(asked)]


def _asked_for(content: str) -> list[Any]:
    """ShareGPT's turn of a call: what it asks of tools, as JSON; nothing, if it only says something."""
    asked = parsed(content)
    asked = asked if isinstance(asked, list) else [asked]
    if not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in asked):
        return []
    return [_call(call) for call in asked]


def _call(asked: Mapping[Any, Any]) -> dict[str, Any]:
    """A call as templates take it: arguments are an object, which OpenAI writes as JSON in a text."""
    arguments = parsed(asked.get("arguments", asked.get("parameters", {})))
    return {"type": "function", "function": sound({"name": asked["name"], "arguments": arguments})}


def _call_of(part: Mapping[Any, Any]) -> dict[str, Any]:
    """A part that asks something of a tool, as a call."""
    call = _call({"name": part.get("name"), "arguments": part.get("input", {})})
    return {"id": part["id"], **call} if isinstance(part.get("id"), str) else call


def _is_part(part: Any, of_type: str) -> bool:
    return isinstance(part, Mapping) and part.get("type") == of_type


def _part(part: Any) -> tuple[bool, str] | Unusable:
    """Whether a part of a message is said or thought, and its text."""
    if isinstance(part, str):
        return True, part
    if isinstance(part, Mapping):
        for name in ("thinking", "reasoning"):
            if part.get("type") == name and isinstance(thought := part.get(name, part.get("text")), str):
                return False, thought
        if part.get("type", "text") in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            return part.get("thought") is not True, part["text"]  # Gemini's
        return Unusable("bad row", f"a message has a part `{str(part.get('type') or next(iter(part), ''))[:40]}`")
    return Unusable("bad row", f"a message has a part that is {kind(part)}")


def _first(message: Mapping[Any, Any], names: Sequence[str]) -> Any:
    return next((message[name] for name in names if message.get(name) is not None), None)


def parsed(value: Any) -> Any:
    """A value, or what it holds as JSON in a text, or as Python writes it, which is what pandas puts into CSV."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that mean nothing
            found = ast.literal_eval(value.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return value
    return found if isinstance(found, list | dict) else value


def sound(value: Any) -> Any:
    """A value whose texts every tokenizer accepts."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, Mapping):
        return {encodable(str(key)): sound(item) for key, item in value.items()}
    return [sound(item) for item in value] if isinstance(value, list | tuple) else value
