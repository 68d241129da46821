"""How a model is given a document: its chat template with the real messages, and where in it each turn stands."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfc.config import UserError
from dfc.corpus import beside
from dfc.corpus.documents import THOUGHTS, Document, Place, said_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SURE = 16  # characters: what is as long and stands once in a rendered chat is not there by chance
_STRANGERS = "¦¶§‡¤¬†¥£¢"  # one that a chat does not hold is put beside a turn, to see where the template puts it
_TOOL = "role `tool`"  # how what a tool says is named
_THINKING = re.compile(r"</?think(?:ing)?>")

Shape = Callable[[Sequence[Mapping[str, Any]]], list[dict[str, Any]]]
"""How messages are given to a template that may refuse them as they are."""


@dataclass(frozen=True)
class Rendering:
    """A document as one model reads it.

    Attributes:
        text: what is tokenised.
        turns: where stretches of the turns lie: (start in `text`, start in the document's content, length); no two of
            them share a character of `text`.
        unsaid: where words of tools stand that are found: (start in `text`, length).
        add_special_tokens: whether the tokenizer adds its own, since no template did.
        lost: roles of the turns that do not stand in `text` as they were said, at least not whole.
        untold: what tools are, are asked and say, as far as `text` does not have it.
        chat: what it was made of; None of a plain text.
        joined: whether the template refused the chat as it is, and was given turns joined.
    """

    text: str
    turns: tuple[tuple[int, int, int], ...]
    add_special_tokens: bool
    lost: tuple[str, ...] = ()
    joined: bool = False
    unsaid: tuple[tuple[int, int], ...] = ()
    untold: tuple[str, ...] = ()
    chat: Chat | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Chat:
    """What a rendering was made of, to be rendered again with other words."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    fill: Callable[[list[dict[str, Any]], list[Any] | None], str]

    def strings(self) -> Iterator[str]:
        """All that is given to the template, but for the names of fields."""
        return beside.strings_in([self.messages, self.tools])

    def changed(self, change: Callable[[str], str]) -> str | None:
        """What the template makes of other words in the place of these; None if it refuses them."""
        try:
            return self.fill(beside.changed(self.messages, change), beside.changed(self.tools, change))
        except Exception:  # templates raise what they like
            return None


def render(
    document: Document, tokenizer: PreTrainedTokenizerBase, answer: bool = False, moment: datetime | None = None
) -> Rendering:
    """Put a document into a model's own chat template; a base model gets `User: …`, a plain text stays as it is.

    The text of a chat is exactly what the template makes of the messages. Where each turn stands in it is found by
    its own words where these stand there once, else by rendering the chat again with a character beside them.

    Args:
        document: a plain text or a chat.
        tokenizer: whose template is used.
        answer: whether what introduces the assistant's next turn is added, so that a model goes on with it.
        moment: the time that a template is told that asks for it; now, if there is none.

    Raises:
        UserError: if the template refuses the chat.
    """
    if not document.is_chat:
        content = document.turns[0].content
        return Rendering(content, ((0, 0, len(content)),), add_special_tokens=True)
    if tokenizer.chat_template is None:
        return _framed(document, answer)
    fill = _Template(tokenizer, document.tools, answer, moment)
    messages = document.messages  # what is thought in them, transformers gives under every name that templates read
    said = said_in(messages)
    text, shape = fill.filled(messages)
    places, lost = _found(text, said, _origins(document, said), messages, document.tools, fill, shape)
    chat = Chat(messages, document.tools, lambda others, tools: fill.fill(shape(others), tools))
    untold = _untold(text, chat)
    unsaid = () if _TOOL in untold else beside.unsaid_in(text, messages)  # what is left out does not stand anywhere
    return Rendering(text, places, False, lost, shape is _alternating, unsaid, untold, chat)


def template_of(tokenizer: PreTrainedTokenizerBase, tools: Sequence[Any] | None = None) -> str:
    """The source of the template that a chat with such tools is given; empty if there is none.

    Raises:
        UserError: if there are several, and none is the default.
    """
    if tokenizer.chat_template is None:
        return ""
    try:
        return str(tokenizer.get_chat_template(None, list(tools) if tools else None))
    except ValueError:
        names = ", ".join(sorted(tokenizer.chat_template))
        raise UserError(
            f"{tokenizer.name_or_path}: has several chat templates ({names:.120}) and no default; "
            f"write one of them into a file and name it with `template`."
        ) from None


def is_dated(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether what its template makes of a chat depends on the time."""
    return "strftime_now" in template_of(tokenizer)


def read_template(path: str) -> str:
    """A chat template in a file.

    Raises:
        UserError: if it cannot be read, or is no Jinja template.
    """
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    from dfc.corpus.encodings import decoded

    try:
        text = decoded(Path(path).expanduser().read_bytes(), path)
        ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"]).parse(
            text.replace("{% generation %}", "")
        )
    except OSError as error:
        raise UserError(f"{path}: this chat template cannot be read ({error.strerror}); give another file.") from None
    except TemplateSyntaxError as error:
        if "generation" not in str(error):
            raise UserError(f"{path}: is no chat template ({error!s:.120}); give a Jinja file.") from None
    return text


class _Template:
    """A tokenizer's template, to be filled with the messages of one chat again and again."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        tools: list[Any] | None,
        answer: bool,
        moment: datetime | None,
    ) -> None:
        self.source = template_of(tokenizer, tools)
        asks = "strftime_now" in self.source
        self._tokenizer, self._name, self._tools = tokenizer, tokenizer.name_or_path, tools
        self._settings: dict[str, Any] = {
            "add_generation_prompt": answer,
            "tokenize": False,
            "chat_template": f"{_clock(moment)}{self.source}" if moment is not None and asks else self.source,
        }

    def filled(self, messages: Sequence[Mapping[str, Any]]) -> tuple[str, Shape]:
        """What the template makes of messages, and how they had to be given.

        Some refuse a message without content, which a call of a tool may be, or arguments of a call that are no text:
        then it is empty, and they are JSON. Some refuse a system turn, or one speaker twice in a row, or an assistant
        who speaks first. Then a system turn is the beginning of the user's, turns of one speaker are one, with their
        calls of tools as JSON, and an assistant answers an empty turn.

        Raises:
            UserError: if it refuses these, too.
        """
        for shape in (_as_they_are, _as_texts, _alternating):
            try:
                return self.fill(shape(messages)), shape
            except Exception as error:  # templates raise what they like
                reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{self._name}: its chat template refuses a chat of {len(messages)} turns ({reason:.120}); "
            f"take turns out, or give the text as a plain one.",
            reason[:120],
        )

    def fill(self, messages: Sequence[Mapping[str, Any]], tools: list[Any] | None = None) -> str:
        """The same, whatever it raises; other tools may be given."""
        return str(self._tokenizer.apply_chat_template(list(messages), tools=tools or self._tools, **self._settings))

    def around(
        self, words: str, at: int, turn: Place, messages: Sequence[Mapping[str, Any]], text: str, shape: Shape
    ) -> int | None:
        """Where words of a turn begin in a rendered chat, by what changes when a character stands behind them.

        Where that changes more, as in a template that counts, it takes the place of their last.
        """
        stranger = next((sign for sign in _STRANGERS if sign not in text), None)
        whole = str(messages[turn.message][turn.field])
        end = whole.index(turn.text) + at + len(words)
        for kept in (end, end - 1) if stranger else ():
            changed = [dict(message) for message in messages]
            changed[turn.message][turn.field] = f"{whole[:kept]}{stranger}{whole[end:]}"
            try:
                other = self.fill(shape(changed))
            except Exception:  # a template may mind
                continue
            until = other.find(str(stranger))
            start = until + end - kept - len(words)
            if until >= 0 and other[:until] == text[:until] and text[max(start, 0) : start + len(words)] == words:
                return start
        return None


def _clock(moment: datetime) -> str:
    """A macro that tells a template the time as `strftime_now`, which transformers gives it, tells the present one.

    A template can be given no function, so that every sign of a format that means something is replaced.
    """
    signs = [f"%{flag}{letter}" for flag in ("-", "_", "0", "^", "#", "E", "O", "") for letter in string.ascii_letters]
    told = {sign: moment.strftime(sign) for sign in signs}
    steps = [("%%", "\0"), *((sign, text) for sign, text in told.items() if text != sign), ("\0", "%")]
    lines = "".join(f"{{%- set told = told | replace({sign!r}, {text!r}) -%}}" for sign, text in steps)
    return f"{{%- macro strftime_now(told) -%}}{lines}{{{{ told }}}}{{%- endmacro +%}}"


def _origins(document: Document, said: Sequence[Place]) -> list[int]:
    """Where in a document's content the words of each turn begin; a turn that was typed may have space around them."""
    starts = [0, *accumulate(len(turn.content) for turn in document.turns)]
    if document.given:
        return starts[: len(said)]
    return [starts[turn.message] + document.turns[turn.message].content.index(turn.text) for turn in said]


def _found(
    text: str,
    said: Sequence[Place],
    origins: Sequence[int],
    messages: Sequence[Mapping[str, Any]],
    tools: list[Any] | None,
    fill: _Template,
    shape: Shape,
) -> tuple[tuple[tuple[int, int, int], ...], tuple[str, ...]]:
    """Where the turns stand in a rendered chat, in its order, and the roles of those that do not, at least not whole.

    A template may take what is thought out of a turn, or put it into marks of its own: then its pieces are looked for.
    Words that others say, too, tools and the template itself among them, may stand in the place of those.
    """
    elsewhere = [*beside.of_tools(messages, tools), fill.source]
    places: list[tuple[int, int, int, int]] = []
    lost: set[int] = set()
    for number, (turn, origin) in enumerate(zip(said, origins, strict=True)):
        others = [*elsewhere, *(other.text for place, other in enumerate(said) if place != number)]

        def where(at: int, words: str, turn: Place = turn, others: Sequence[str] = others) -> int | None:
            if (start := text.find(words)) < 0:
                return None
            if len(words) >= _SURE and text.find(words, start + 1) < 0 and not any(words in other for other in others):
                return start
            return fill.around(words, at, turn, messages, text, shape)

        found = [(0, turn.text, where(0, turn.text))]
        if found[0][2] is None:
            lost.add(number)
            found = [(at, words, where(at, words)) for at, words in _pieces(turn.text)]
        places += [(start, origin + at, len(words), number) for at, words, start in found if start is not None]
    kept: list[tuple[int, int, int]] = []
    for start, content, length, number in sorted(places):
        if kept and start < kept[-1][0] + kept[-1][2]:
            lost.add(number)  # it only seems to stand there: another turn says the same words
        else:
            kept.append((start, content, length))
    return tuple(kept), tuple(said[number].role for number in sorted(lost))


def _untold(text: str, chat: Chat) -> tuple[str, ...]:
    """What of tools a rendered chat does not have: what makes no difference to it."""

    def other(value: Any) -> Any:
        return beside.changed(value, lambda words: f"{words}x")

    def is_told(messages: list[dict[str, Any]], tools: list[Any] | None) -> bool:
        try:
            return chat.fill(messages, tools) != text
        except Exception:  # it minds, so it looks there
            return True

    lost, messages = [], chat.messages
    for number, message in enumerate(messages):
        for name, what in (("content", _TOOL), ("tool_calls", "`tool_calls`")):
            if message.get(name) and (name != "content" or message["role"] == "tool"):
                changed = [*messages[:number], {**message, name: other(message[name])}, *messages[number + 1 :]]
                lost += [] if is_told(changed, chat.tools) else [what]
    if chat.tools and not is_told(messages, other(chat.tools)):
        lost.append("`tools`")
    return tuple(lost)


def _pieces(text: str) -> list[tuple[int, str]]:
    """What stands between marks of thinking in a turn, each with its place; nothing where there are no marks."""
    pieces, at = [], 0
    for mark in [*_THINKING.finditer(text), None]:
        between = text[at : mark.start() if mark else None]
        if (mark or at) and (words := between.strip()):
            pieces.append((at + between.index(words), words))
        at = mark.end() if mark else at
    return pieces


def _framed(document: Document, answer: bool) -> Rendering:
    """A chat for a model without a template: each turn behind the name of who says it."""
    messages = document.messages
    said = said_in(messages)
    origins = dict(zip(said, _origins(document, said), strict=True))
    pieces: list[str] = []
    places: list[tuple[int, int, int]] = []
    position = 0

    def add(piece: str) -> None:
        nonlocal position
        pieces.append(piece)
        position += len(piece)

    for number, message in enumerate(messages):
        name = "System" if message["role"] == "developer" else str(message["role"]).title()
        add(f"{chr(10) * 2 if number else ''}{name}:")
        gap = " "
        for turn in (turn for turn in said if turn.message == number):
            add(gap)
            places.append((position, origins[turn], len(turn.text)))
            add(turn.text)
            gap = "\n\n"
        if message["role"] == "tool" and message.get("content"):
            add(f" {message['content'].strip()}")
        if message.get("tool_calls"):
            add(f"{gap}{beside.as_json(message['tool_calls'])}")
    if answer:
        add("\n\nAssistant:")
    text = "".join(pieces)
    untold = ("`tools`",) if document.tools else ()  # the frame has no place for them
    return Rendering(text, tuple(places), add_special_tokens=True, untold=untold)


def _as_they_are(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [dict(message) for message in messages]


def _as_texts(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same with an empty content where there is none, and arguments of calls as JSON."""
    texts = []
    for message in messages:
        text = {**message, "content": message["content"] or ""}
        if message.get("tool_calls"):
            text["tool_calls"] = [_with_arguments(call) for call in message["tool_calls"]]
        texts.append(text)
    return texts


def _with_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping) or isinstance(function.get("arguments", ""), str):
        return dict(call)
    return {**call, "function": {**function, "arguments": beside.as_json(function["arguments"])}}


def _alternating(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
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
