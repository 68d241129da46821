"""Rows as people have them: a text, or a chat in any of the usual shapes; or what is wrong, and what was found."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfc.config import SourceConfig, UserError
from dfc.corpus.documents import PLAIN, THOUGHT, THOUGHTS, encodable, said_in
from dfc.corpus.messages import (
    ROLE,
    as_message,
    holds_words,
    is_chat,
    kind,
    parsed,
    sound,
    spread,
    text_of,
    unread,
    unsaid,
)
from dfc.corpus.tally import Unusable

CHATS = (
    "conversations",
    "conversation",
    "chat_messages",
    "contents",
)  # usual fields of a chat, beside the one that is configured
COMPLETION = "completion"  # what TRL calls a response
INSTRUCTION, INPUT, OUTPUT, HISTORY = (
    "instruction",
    "input",
    "output",
    "history",
)  # Alpaca's columns, and what went before
TOOLS, FUNCTIONS = "tools", "functions"  # and what OpenAI called them at first
CONTEXT = "context"  # Dolly's input
PREFERRED = ("chosen", "rejected")  # answers to a prompt of which people prefer one
_PARENT, _REPLIES = "parent_id", "replies"  # of a message of a tree, as OpenAssistant has them
SYSTEM = (
    "system",
    "system_prompt",
    "systemInstruction",
    "system_instruction",
)  # columns beside a chat that say what its system turn would
_NAMED = 5  # columns, when there is none that can be used
_SWITCH = re.compile(r"\s*[a-z]*\s*", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Said:
    """What a row holds: messages with `role` and `content`, of which a plain text is one, and tools offered.

    `branches`: whether it holds others, too, in place of some of these. `unread`: its fields with words that are not
    used.
    """

    messages: list[dict[str, Any]]
    tools: list[Any] | None = None
    branches: bool = False
    unread: tuple[str, ...] = ()


def leading(source: SourceConfig) -> tuple[str, ...]:
    """The columns of which one makes a row."""
    return source.text, source.messages, *CHATS, source.prompt, INSTRUCTION


def fields(source: SourceConfig) -> set[str]:
    """The columns from which documents are made."""
    return {*leading(source), *_further(source), _PARENT, "role", source.language_field}


def _further(source: SourceConfig) -> tuple[str, ...]:
    """The columns that stand beside a leading one."""
    pairs = (source.response, COMPLETION, INPUT, OUTPUT, HISTORY, CONTEXT, *PREFERRED)
    return (*pairs, TOOLS, FUNCTIONS, *SYSTEM, *THOUGHTS)


def names_a_row(value: Mapping[Any, Any], source: SourceConfig) -> bool:
    """Whether an object has a field that makes a row, or two of those beside one, whatever stands there."""
    if source.text in value or source.messages in value:
        return True
    names = {name.strip().casefold() for name in value if isinstance(name, str)}
    return not names.isdisjoint(map(str.casefold, leading(source))) or (
        len(names.intersection(map(str.casefold, _further(source)))) > 1
    )


def of_row(row: Any, source: SourceConfig) -> Said | Unusable:
    """What a row says, or why it is left out."""
    if isinstance(row, str):
        return Said([{"role": PLAIN, "content": encodable(row)}])
    if isinstance(row, list):
        return _chat(row)
    if not isinstance(row, Mapping):
        return Unusable("bad row", f"{kind(row)} in place of an object")
    if source.language is not None and field(row, source.language_field) != source.language:
        return Unusable("other language")
    if _PARENT in row and isinstance(row.get("role"), str):
        return Unusable("bad row", "one message of a tree; give whole trees, or chats")
    flaw = None
    for name in (source.messages, *CHATS):
        value = field(row, name)
        if value is not None and value != []:
            found = _chat(value, row, name)
            if isinstance(found, Said):
                return _instructed(_answered(found, row, source, name), row)
            if isinstance(parsed(value), list | Mapping):
                return found  # a chat, though a flawed one: a text beside it would be something else
            flaw = flaw or found
    text = field(row, source.text)
    if isinstance(text, str):
        return Said([{"role": PLAIN, "content": encodable(text)}])
    asked = flaw or _asked_and_answered(row, source) or Unusable("bad row", _described(row, source))
    return _instructed(asked, row) if isinstance(asked, Said) else asked


def _instructed(said: Said, row: Mapping[Any, Any]) -> Said:
    """The same chat, beginning with what its row says beside it to the model, unless it has such a turn itself."""
    given = next((text for name in SYSTEM if (text := text_of(parsed(field(row, name)))).strip()), "")
    if not given or said.messages[0]["role"] in ("system", "developer"):
        return said
    return replace(said, messages=[{"role": "system", "content": encodable(given)}, *said.messages])


def plain_text(row: Any, source: SourceConfig) -> str | None:
    """The text of a row that is no more than a text, as most are; None of all others."""
    text = row.get(source.text) if type(row) is dict and source.language is None else None
    if type(text) is not str or source.messages in row or CHATS[0] in row or CHATS[1] in row or _PARENT in row:
        return None
    return text


def is_row(value: Mapping[Any, Any], source: SourceConfig) -> bool:
    """Whether an object is one row, rather than one that holds rows."""
    chats = (field(value, name) for name in (source.messages, *CHATS))
    return (
        isinstance(field(value, source.text), str)
        or any(isinstance(chat, str) or is_chat(chat) or _columns_of_a_chat(chat) for chat in chats)
        or any(isinstance(field(value, name), str) for name in (source.prompt, INSTRUCTION))
        or is_chat(field(value, source.prompt))
        or _is_tree(field(value, source.prompt))
    )


def field(row: Mapping[Any, Any], name: str) -> Any:
    """A row's value under a name; where the name is not there, under one that differs in case or in space around it."""
    if name in row:
        return row[name]
    folded = name.strip().casefold()
    return next((row[key] for key in row if isinstance(key, str) and key.strip().casefold() == folded), None)


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
    return turns_of(_chat(content))


def turns_of(said: Said | Unusable) -> tuple[list[tuple[str, str]], str]:
    """The same of what a row holds.

    Raises:
        UserError: if it is no chat.
    """
    if isinstance(said, Said) and said.messages[0]["role"] == PLAIN:
        said = Unusable("bad row", "a text that is no chat")
    if isinstance(said, Unusable):
        raise UserError(_no_chat(said))
    turns = said_in(said.messages)
    left_out = [f"role `{turn.role}`" for turn in turns if turn.role == THOUGHT] + unsaid(said.messages)
    kept = [(turn.role, turn.text) for turn in turns if turn.role != THOUGHT]
    return kept, f"{len(left_out)} turns are left out, the first with {left_out[0]}" if left_out else ""


def _no_chat(flaw: Unusable) -> str:
    """Why something gives no chat, and what to do."""
    match flaw.reason:
        case "encoding":
            return "This is in no encoding that can be told; save it as UTF-8."
        case "empty":
            return 'This holds no messages; give a list such as [{"role": "user", "content": "Hello"}].'
        case "not read":
            return f"This is no file with messages ({flaw.found}); give JSON, or a table."
    return (
        f"These messages cannot be used ({flaw.found}); each wants a role, such as system, user or assistant, "
        f"and a content, which is a text."
    )


def _asked_and_answered(row: Mapping[Any, Any], source: SourceConfig, chat: str = "") -> Said | Unusable | None:
    """A prompt and its response, each a text or a list of messages; a source of prompts names no other response.

    A prompt may be the `chat` of a row that ends with what is asked; then no response is needed.
    """
    leading = [chat] if chat else [source.prompt, INSTRUCTION]
    asking = next((name for name in leading if field(row, name) not in (None, "")), None)
    if asking is None:
        return None
    prompt, alpaca = field(row, asking), asking.casefold() == INSTRUCTION
    if _is_tree(prompt):
        return _branch(prompt)
    names = [name for name in (source.response, COMPLETION, *([OUTPUT] if alpaca else [])) if name != source.prompt]
    answers = [(name, value) for name in names if (value := field(row, name)) is not None]
    only_asked = source.response == source.prompt
    if not answers and not only_asked and not chat and isinstance(prompt, str):
        return None
    messages = _history(row)
    if isinstance(messages, Unusable):
        return messages
    inside = next((name for name in (INPUT, CONTEXT) if field(row, name) not in (None, "")), INPUT)
    given = field(row, inside) if alpaca and isinstance(prompt, str) else None
    if given is not None and not isinstance(given, str):
        return Unusable("bad row", f"`{inside}` is {kind(given)}")
    if given and given.strip():
        prompt = f"{prompt}\n{given}"
    parts = [(asking, "user", prompt), *((name, "assistant", value) for name, value in answers[: not only_asked])]
    for name, role, value in parts:
        longer = _spoken_on(messages, role, value, row)
        if longer is None:
            return Unusable("bad row", f"`{name}` is {kind(value)}")
        messages = longer
    found = _chat(messages, row, asking)
    if isinstance(found, Unusable):
        return found
    spare = [name for name, _ in answers[1:]]
    spare += [name for name in (CONTEXT, *PREFERRED) if not (given and name == inside) and name not in names[:1]]
    spare += [name for name in THOUGHTS if not any(name in message for message in messages)]
    more = _spare(row, [name for name in spare if name != source.prompt], prompt)
    return replace(found, unread=(*found.unread, *more))


def _answered(said: Said, row: Mapping[Any, Any], source: SourceConfig, name: str) -> Said:
    """The chat of a field, with the response beside it where it ends with what is asked, and what is not read."""
    if said.messages[-1]["role"] in ("user", "tool") and isinstance(parsed(field(row, name)), list):
        answered = _asked_and_answered(row, source, name)
        if isinstance(answered, Said):
            return answered
    beside = [other for other in (source.response, COMPLETION, *PREFERRED) if other not in (name, source.prompt)]
    return replace(said, unread=(*said.unread, *_spare(row, beside, field(row, name), said.messages[-1]["content"])))


def _spare(row: Mapping[Any, Any], names: Sequence[str], *read: Any) -> list[str]:
    """Which of these fields hold words other than those that are read."""
    return [name for name in names if (value := field(row, name)) not in read and holds_words(value)]


def _thoughts(row: Mapping[Any, Any]) -> dict[str, str]:
    """What an assistant thinks, beside its response; one word, such as `on` or `high`, is a switch and no thought."""
    found = {name: field(row, name) for name in THOUGHTS}
    return {name: text for name, text in found.items() if isinstance(text, str) and not _SWITCH.fullmatch(text)}


def _spoken_on(messages: list[Any], role: str, value: Any, row: Mapping[Any, Any]) -> list[Any] | None:
    """Messages with what a field says after them: a text in a role, or messages; None if it is neither."""
    said = [parsed(value)] if is_chat([parsed(value)]) else parsed(value)
    if isinstance(value, str) and not is_chat(said):
        return [*messages, {"role": role, "content": value, **(_thoughts(row) if role == "assistant" else {})}]
    return _continued(messages, said) if isinstance(said, list) else None


def _continued(messages: list[Any], said: list[Any]) -> list[Any]:
    """Messages and those that follow; where these say again what was asked last, they follow on that.

    An answer people prefer is often the whole chat, with the prompt beside it.
    """
    asked = _words_of(messages[-1]) if messages else None
    again = next((number for number, message in enumerate(said) if asked and _words_of(message) == asked), -1)
    return said if again + 1 >= len(messages) > 0 else [*messages, *said[again + 1 :]]


def _words_of(message: Any) -> tuple[str, str] | None:
    """Who says what in a message."""
    found = as_message(message)
    return None if isinstance(found, Unusable) else (found["role"], str(found["content"]).strip())


def _history(row: Mapping[Any, Any]) -> list[Any] | Unusable:
    """What was said before a prompt: messages, or pairs of what was asked and answered."""
    before = parsed(field(row, HISTORY))
    if before in (None, "", []):
        return []
    if is_chat(before):
        return list(before)
    if not isinstance(before, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in before):
        return Unusable("bad row", f"`{HISTORY}` is {kind(before)}" + " without pairs" * isinstance(before, list))
    roles = ("user", "assistant")
    return [{"role": role, "content": text} for pair in before for role, text in zip(roles, pair, strict=True)]


def _is_tree(value: Any) -> bool:
    """Whether this is the first message of a tree, with the replies to it."""
    return isinstance(value, Mapping) and isinstance(value.get(_REPLIES), list) and "role" in value


def _branch(message: Any) -> Said | Unusable:
    """A tree's first message, and each time the reply that is ranked best."""
    messages, branches = [], False
    while isinstance(message, Mapping):
        messages.append(message)
        listed = message.get(_REPLIES)
        replies = [reply for reply in listed if isinstance(reply, Mapping)] if isinstance(listed, list) else []
        branches = branches or len(replies) > 1
        message = min(replies, key=_rank, default=None)
    found = _chat(messages)
    return replace(found, branches=branches) if isinstance(found, Said) else found


def _rank(reply: Mapping[Any, Any]) -> float:
    rank = reply.get("rank")
    return rank if isinstance(rank, int | float) else math.inf


def _chat(value: Any, row: Mapping[Any, Any] | None = None, name: str = "") -> Said | Unusable:
    """A chat of which the messages are a list, a list of each of their fields, or either as JSON in a text.

    Its row may name tools beside it.
    """
    value = parsed(value)
    if isinstance(value, Mapping):
        columns = _columns_of_a_chat(value)
        if not columns:
            return Unusable("bad row", f"`{name}` is {kind(value)}")
        value = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    if not isinstance(value, list) or not value:
        return Unusable("bad row", f"`{name}` is {kind(value)}" if name else f"{kind(value)} in place of an object")
    messages, spare = [], list[str]()
    for message in value:
        for one in spread(message):
            found = as_message(one)
            if isinstance(found, Unusable):
                return found
            messages.append(found)
        spare += unread(message)
    tools = _offered(row or {})
    return tools if isinstance(tools, Unusable) else Said(messages, tools or None, unread=tuple(spare))


def _offered(row: Mapping[Any, Any]) -> list[Any] | Unusable:
    """The tools that a row names, each an object."""
    for name in (TOOLS, FUNCTIONS):
        tools = parsed(field(row, name))
        if tools in (None, [], {}) or (isinstance(tools, str) and not tools.strip()):
            continue
        if isinstance(tools, Mapping) and ("function" in tools or "name" in tools):
            tools = [tools]
        if not isinstance(tools, list):
            return Unusable("bad row", f"`{name}` is {kind(tools)}")
        tools = [parsed(tool) for tool in tools]
        for tool in tools:
            if not isinstance(tool, Mapping):
                return Unusable("bad row", f"`{name}` holds {kind(tool)}")
        if name == FUNCTIONS:
            tools = [{"type": "function", "function": tool} for tool in tools]
        return list(sound(tools))
    return []


def _columns_of_a_chat(value: Any) -> dict[str, list[Any]]:
    """The lists of a chat of which each field is a list, as `Sequence` of an object gives it; else none."""
    if not isinstance(value, Mapping) or not any(isinstance(value.get(name), list) for name in ROLE):
        return {}
    columns = {str(name): column for name, column in value.items() if isinstance(column, list) and column}
    return columns if len({len(column) for column in columns.values()}) == 1 else {}


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
