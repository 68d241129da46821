"""Rows as people have them: a text, or a chat in any of the usual shapes; or what is wrong, and what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dfc.config import SourceConfig, UserError
from dfc.corpus.documents import PLAIN, THOUGHT, encodable, said_in
from dfc.corpus.tally import Unusable

CHATS = ("conversations", "conversation")  # usual fields of a chat, beside the one that is configured
COMPLETION = "completion"  # what TRL calls a response
TOOLS = "tools"
SYSTEM = ("system", "system_prompt")  # columns beside a chat that say what its system turn would
ROLES = {
    **dict.fromkeys(("system",), "system"),
    **dict.fromkeys(("developer",), "developer"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model", "ai"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response", "ipython"), "tool"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
}
"""What the usual names of speakers mean, in small letters; a `call` is an assistant's, to a tool."""
_EXTRAS = ("reasoning_content", "thinking", "reasoning", "tool_calls", "name", "tool_call_id")  # templates take these
_ROLE, _SAID = ("role", "from"), ("content", "value", "text")
_NAMED = 5  # columns, when there is none that can be used


@dataclass(frozen=True)
class Said:
    """What a row holds: messages with `role` and `content`, of which a plain text is one, and tools offered."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None = None


def fields(source: SourceConfig) -> set[str]:
    """The columns from which documents are made."""
    names = {source.text, source.messages, *CHATS, source.prompt, source.response, COMPLETION, TOOLS, *SYSTEM}
    return {*names, source.language_field}


def of_row(row: Any, source: SourceConfig) -> Said | Unusable:
    """What a row says, or why it is left out."""
    if isinstance(row, str):
        return Said([{"role": PLAIN, "content": encodable(row)}])
    if isinstance(row, list):
        return _chat(row, None)
    if not isinstance(row, Mapping):
        return Unusable("bad row", f"{kind(row)} in place of an object")
    if source.language is not None and field(row, source.language_field) != source.language:
        return Unusable("other language")
    flaw = None
    for name in (source.messages, *CHATS):
        value = field(row, name)
        if value is not None and value != []:
            found = _chat(value, field(row, TOOLS), name)
            if isinstance(found, Said):
                return _instructed(found, row)
            if isinstance(_parsed(value), list | Mapping):
                return found  # a chat, though a flawed one: a text beside it would be something else
            flaw = flaw or found
    text = field(row, source.text)
    if isinstance(text, str):
        return Said([{"role": PLAIN, "content": encodable(text)}])
    asked = flaw or _asked_and_answered(row, source) or Unusable("bad row", _described(row, source))
    return _instructed(asked, row) if isinstance(asked, Said) else asked


def _instructed(said: Said, row: Mapping[Any, Any]) -> Said:
    """The same chat, beginning with what its row says beside it to the model, unless it has such a turn itself."""
    given = next((value for name in SYSTEM if isinstance(value := field(row, name), str) and value.strip()), None)
    if given is None or said.messages[0]["role"] in ("system", "developer"):
        return said
    return Said([{"role": "system", "content": encodable(given)}, *said.messages], said.tools)


def plain_text(row: Any, source: SourceConfig) -> str | None:
    """The text of a row that is no more than a text, as most are; None of all others."""
    text = row.get(source.text) if type(row) is dict and source.language is None else None
    if type(text) is not str or source.messages in row or CHATS[0] in row or CHATS[1] in row:
        return None
    return text


def is_row(value: Mapping[Any, Any], source: SourceConfig) -> bool:
    """Whether an object is one row, rather than one that holds rows."""
    chats = (field(value, name) for name in (source.messages, *CHATS))
    return (
        isinstance(field(value, source.text), str)
        or any(isinstance(chat, str) or is_chat(chat) or _columns_of_a_chat(chat) for chat in chats)
        or isinstance(field(value, source.prompt), str)
        or is_chat(field(value, source.prompt))
    )


def is_chat(value: Any) -> bool:
    """Whether this is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(message, Mapping) and any(name in message for name in _ROLE) for message in value)
    )


def field(row: Mapping[Any, Any], name: str) -> Any:
    """A row's value under a name; where the name is not there, under one that differs in case or in space around it."""
    if name in row:
        return row[name]
    folded = name.strip().casefold()
    return next((row[key] for key in row if isinstance(key, str) and key.strip().casefold() == folded), None)


def kind(value: Any) -> str:
    """What a value is, for people."""
    if value is None or value == "":
        return "nothing"
    if isinstance(value, bool | int | float):
        return "a number"
    return "a text" if isinstance(value, str) else "an object" if isinstance(value, Mapping) else "a list"


def chat_from_json(text: str) -> tuple[list[tuple[str, str]], str]:
    """(role, text) of each turn of a chat in JSON, and what of it is left out, in words.

    A chat is a list of messages, or an object that holds one. Turns of tools are left out, and what an assistant
    thinks.

    Raises:
        UserError: if it is none.
    """
    try:
        content: Any = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"This is not JSON ({str(error).splitlines()[0]:.80}); give a list of messages.") from None
    if isinstance(content, Mapping) and not _columns_of_a_chat(content):
        content = next((value for name in ("messages", *CHATS) if (value := field(content, name)) is not None), 0)
    if not isinstance(content, list | Mapping | str) or not content:
        raise UserError('This holds no messages; give a list such as [{"role": "user", "content": "Hello"}].')
    return turns_of(_chat(content, None))


def turns_of(said: Said | Unusable) -> tuple[list[tuple[str, str]], str]:
    """The same of what a row holds.

    Raises:
        UserError: if it is no chat.
    """
    if isinstance(said, Said) and said.messages[0]["role"] == PLAIN:
        said = Unusable("bad row", "a text that is no chat")
    if isinstance(said, Unusable):
        raise UserError(
            f"These messages cannot be used ({said.found}); each wants a role, such as system, user or assistant, "
            f"and a content, which is a text."
        )
    turns = said_in(said.messages)
    left_out = [f"role `{turn.role}`" for turn in turns if turn.role == THOUGHT] + unsaid(said.messages)
    kept = [(turn.role, turn.text) for turn in turns if turn.role != THOUGHT]
    return kept, f"{len(left_out)} turns are left out, the first with {left_out[0]}" if left_out else ""


def unsaid(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tools say and are asked, which is given to the models and not paired: one entry for each, what it is."""
    return [
        "role `tool`" if message["role"] == "tool" else "`tool_calls`"
        for message in messages
        if message["role"] == "tool" or message.get("tool_calls")
    ]


def _asked_and_answered(row: Mapping[Any, Any], source: SourceConfig) -> Said | Unusable | None:
    """A prompt and its response, each a text or a list of messages; a source of prompts names no other response."""
    prompt = field(row, source.prompt)
    if prompt is None or prompt == "":
        return None
    names = [name for name in (source.response, COMPLETION) if name != source.prompt]
    answers = [(name, value) for name in names if (value := field(row, name)) is not None]
    only_asked = source.response == source.prompt
    if not answers and not only_asked and isinstance(prompt, str):
        return None
    parts = [
        (source.prompt, "user", prompt),
        *((name, "assistant", value) for name, value in answers[: not only_asked]),
    ]
    messages: list[Any] = []
    for name, role, value in parts:
        if isinstance(value, str) and not is_chat(_parsed(value)):
            messages.append({"role": role, "content": value})
        elif isinstance(_parsed(value), list):
            messages += _parsed(value)
        else:
            return Unusable("bad row", f"`{name}` is {kind(value)}")
    return _chat(messages, field(row, TOOLS), source.prompt)


def _chat(value: Any, tools: Any, name: str = "") -> Said | Unusable:
    """A chat of which the messages are a list, a list of each of their fields, or either as JSON in a text."""
    value = _parsed(value)
    if isinstance(value, Mapping):
        columns = _columns_of_a_chat(value)
        if not columns:
            return Unusable("bad row", f"`{name}` is {kind(value)}")
        value = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if not isinstance(value, list) or not value:
        return Unusable("bad row", f"`{name}` is {kind(value)}" if name else f"{kind(value)} in place of an object")
    messages = []
    for message in value:
        found = _message(message)
        if isinstance(found, Unusable):
            return found
        messages.append(found)
    tools = _parsed(tools)
    offered = [tool for tool in map(_parsed, tools) if isinstance(tool, dict)] if isinstance(tools, list) else []
    return Said(messages, _encodable(offered) or None)


def _message(message: Any) -> dict[str, Any] | Unusable:
    """One message as templates take it, and what else of it they may take."""
    if not isinstance(message, Mapping):
        return Unusable("bad row", f"a message is {kind(message)}")
    role = _first(message, _ROLE)
    known = ROLES.get(role.strip().casefold()) if isinstance(role, str) else None
    if known is None:
        return Unusable("unknown role", f"role `{role:.40}`" if isinstance(role, str) else f"a role is {kind(role)}")
    content, thought = _first(message, _SAID), ""
    if isinstance(content, list):
        parts = [_part(part) for part in content]
        flaw = next((part for part in parts if isinstance(part, Unusable)), None)
        if flaw is not None:
            return flaw
        texts = [part for part in parts if not isinstance(part, Unusable)]
        content = "\n".join(text for spoken, text in texts if spoken)
        thought = "\n".join(text for spoken, text in texts if not spoken)
    if not isinstance(content, str | None):
        return Unusable("bad row", f"a message's content is {kind(content)}")
    extras = {name: _encodable(message[name]) for name in _EXTRAS if message.get(name) not in (None, "", [])}
    if thought:
        extras.setdefault("reasoning_content", encodable(thought))
    if known == "call":
        return {"role": "assistant", **_call(content or ""), **extras}
    silent = content is None and "tool_calls" in extras  # some templates tell nothing from an empty text
    return {"role": known, "content": None if silent else encodable(content or ""), **extras}


def _call(content: str) -> dict[str, Any]:
    """ShareGPT's turn of a call: what it asks of a tool, as JSON; else what it says."""
    asked = _parsed(content)
    if isinstance(asked, Mapping) and isinstance(asked.get("name"), str):
        function = {"name": asked["name"], "arguments": asked.get("arguments", asked.get("parameters", {}))}
        return {"content": "", "tool_calls": [{"type": "function", "function": _encodable(function)}]}
    return {"content": encodable(content)}


def _part(part: Any) -> tuple[bool, str] | Unusable:
    """Whether a part of a message is said or thought, and its text."""
    if isinstance(part, str):
        return True, part
    if isinstance(part, Mapping):
        for name in ("thinking", "reasoning"):
            if part.get("type") == name and isinstance(part.get(name), str):
                return False, part[name]
        if part.get("type", "text") in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            return True, part["text"]
        return Unusable("bad row", f"a message has a part `{str(part.get('type'))[:40]}`")
    return Unusable("bad row", f"a message has a part that is {kind(part)}")


def _columns_of_a_chat(value: Any) -> dict[str, list[Any]]:
    """The lists of a chat of which each field is a list, as `Sequence` of an object gives it; else none."""
    if not isinstance(value, Mapping) or not any(isinstance(value.get(name), list) for name in _ROLE):
        return {}
    columns = {str(name): column for name, column in value.items() if isinstance(column, list) and column}
    return columns if len({len(column) for column in columns.values()}) == 1 else {}


def _first(message: Mapping[Any, Any], names: Sequence[str]) -> Any:
    return next((message[name] for name in names if message.get(name) is not None), None)


def _parsed(value: Any) -> Any:
    """A value, or what it holds as JSON in a text."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _encodable(value: Any) -> Any:
    """A value whose texts every tokenizer accepts."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, Mapping):
        return {encodable(str(key)): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


def _described(row: Mapping[Any, Any], source: SourceConfig) -> str:
    for name in (source.text, source.prompt):
        value = field(row, name)
        if value is not None and not isinstance(value, str):
            return f"`{name}` is {kind(value)}"
    if isinstance(field(row, source.prompt), str):
        return f"`{source.prompt}` without `{source.response}`"
    names = [f"`{str(name)[:40]}`" for name in row if name is not None]
    more = ", …" if len(names) > _NAMED else ""
    return f"columns {', '.join(names[:_NAMED])}{more}" if names else "no columns"
