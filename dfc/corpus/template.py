"""How a model is given a document: its chat template with the real messages, and where in it each turn stands."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from dfc.config import UserError
from dfc.corpus import beside
from dfc.corpus.documents import Document, Place, said_in
from dfc.corpus.shapes import Shape, alternating, as_parts, as_texts, as_they_are
from dfc.corpus.untold import untold_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SURE = 16  # characters: what is as long and stands once in a rendered chat is not there by chance
_TOOL = "role `tool`"  # how what a tool says is named
_SIGNS = range(0xF0000, 0x10FFFE)  # for private use; put beside turns, to see where the template puts them
_MOST_TRIES = 32  # renderings of one chat to find its turns
_PART = re.compile(r"""['"]type['"]: ?['"]text['"]""")
_THINKING = re.compile(r"</?think(?:ing)?>")


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
    if said and not places:  # some look for parts, and find none in a text
        with suppress(UserError):
            other, parted = fill.filled(messages, (as_parts,))
            found = _found(other, said, _origins(document, said), messages, document.tools, fill, parted)
            text, shape, (places, lost) = (other, parted, found) if found[0] else (text, shape, (places, lost))
    chat = Chat(messages, document.tools, lambda others, tools: fill.fill(shape(others), tools))
    untold = untold_in(text, messages, document.tools, chat.fill)
    unsaid = () if _TOOL in untold else beside.unsaid_in(text, messages)  # what is left out does not stand anywhere
    return Rendering(text, places, False, lost, shape is alternating, unsaid, untold, chat)


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


class _Words(NamedTuple):
    """A turn, or a piece of it: the turn's number, the turn, where in it they begin, and they."""

    number: int
    turn: Place
    at: int
    text: str


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

    def filled(
        self,
        messages: Sequence[Mapping[str, Any]],
        shapes: Sequence[Shape] = (as_they_are, as_texts, as_parts, alternating),
    ) -> tuple[str, Shape]:
        """What the template makes of messages, and how they had to be given.

        Some refuse a message without content, which a call of a tool may be, or arguments of a call that are no text:
        then it is empty, and they are JSON. Some want each content as a list of parts. Some refuse a system turn, or
        one speaker twice in a row, or an assistant who speaks first. Then a system turn is the beginning of the user's,
        turns of one speaker are one, with their calls of tools as JSON, and an assistant answers an empty turn.

        Raises:
            UserError: if it refuses these, too.
        """
        for shape in shapes:
            try:
                text = self.fill(shape(messages))
                if shape is not as_parts or not _is_printed(messages, text):
                    return text, shape
                reason = "it writes parts of a message down as they are"
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

    def behind(
        self, wanted: Sequence[_Words], messages: Sequence[Mapping[str, Any]], text: str, shape: Shape
    ) -> dict[_Words, int]:
        """Where words of turns begin in a rendered chat, by what changes when a sign stands behind each of them.

        Where that changes more, as in a template that counts, it takes the place of their last. What some of them
        upset is tried again in halves, so that a chat is rendered a few times, however long it is.
        """
        known = set(text)
        signs = list(islice((sign for sign in map(chr, _SIGNS) if sign not in known), len(wanted)))
        found: dict[_Words, int] = {}
        parts, tries = [list(wanted)], _MOST_TRIES
        while parts:
            part = parts.pop(0)
            for inserted in (True, False):
                if part and tries:
                    tries -= 1
                    placed, rest = self._marked(dict(zip(part, signs, strict=False)), inserted, messages, text, shape)
                    found |= placed
                    part = rest
            if len(part) > 1 and tries:
                parts += [part[: len(part) // 2], part[len(part) // 2 :]]
        return found

    def _marked(
        self,
        signs: Mapping[_Words, str],
        inserted: bool,
        messages: Sequence[Mapping[str, Any]],
        text: str,
        shape: Shape,
    ) -> tuple[dict[_Words, int], list[_Words]]:
        """Where words begin that are found by signs, behind them or in the place of their last; and what may be yet."""
        changed = [dict(message) for message in messages]
        for words in sorted(signs, key=lambda words: -words.at):  # what is put in moves what stands behind
            message, name = changed[words.turn.message], words.turn.field
            end = messages[words.turn.message][name].index(words.turn.text) + words.at + len(words.text)
            message[name] = f"{message[name][: end if inserted else end - 1]}{signs[words]}{message[name][end:]}"
        try:
            other = self.fill(shape(changed))
        except Exception:  # a template may mind
            return {}, list(signs)
        ends: dict[str, int] = {}
        for number, match in enumerate(re.finditer(f"[{''.join(signs.values())}]", other)):
            ends.setdefault(match.group(), match.start() + (-number if inserted else 1))
        same = other.translate({ord(sign): "" if inserted else words.text[-1] for words, sign in signs.items()})
        alike = next((at for at, pair in enumerate(zip(same, text, strict=False)) if pair[0] != pair[1]), len(same))
        starts = {
            words: ends[sign] - len(words.text) for words, sign in signs.items() if ends.get(sign, alike + 1) <= alike
        }
        placed = {words: at for words, at in starts.items() if text[max(at, 0) : at + len(words.text)] == words.text}
        return placed, [] if same == text else [words for words in signs if words not in placed]


def _is_printed(messages: Sequence[Mapping[str, Any]], text: str) -> bool:
    """Whether a template wrote parts down as they are, rather than what they say."""
    said = sum(len(_PART.findall(str(message["content"]))) for message in messages)
    return len(_PART.findall(text)) > said


def _clock(moment: datetime) -> str:
    """A macro that tells a template the time as `strftime_now`, which transformers gives it, tells the present one.

    A template can be given no function, so that every sign of a format that means something is replaced.
    """
    signs = [f"%{flag}{letter}" for flag in ("-", "_", "0", "^", "#", "E", "O", "") for letter in string.ascii_letters]
    told = {sign: moment.strftime(sign) for sign in signs}
    steps = [("%%", "\0"), *((sign, text) for sign, text in told.items() if text != sign), ("\0", "%")]
    lines = "".join(f"{{%- set format = format | replace({sign!r}, {text!r}) -%}}" for sign, text in steps)
    return f"{{%- macro strftime_now(format) -%}}{lines}{{{{ format }}}}{{%- endmacro +%}}"


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
    elsewhere = "\0".join([*beside.of_tools(messages, tools), fill.source, *(turn.text for turn in said)])

    def starts(wanted: list[_Words]) -> dict[_Words, int]:
        there = {words: start for words in wanted if (start := text.find(words.text)) >= 0}
        sure = {words for words, start in there.items() if _stands_once(words.text, text, start, elsewhere)}
        doubtful = [words for words in there if words not in sure]
        return {words: there[words] for words in sure} | fill.behind(doubtful, messages, text, shape)

    whole = [_Words(number, turn, 0, turn.text) for number, turn in enumerate(said)]
    found = starts(whole)
    lost = {words.number for words in whole if words not in found}
    found |= starts([_Words(number, said[number], *piece) for number in lost for piece in _pieces(said[number].text)])
    places = [
        (start, origins[words.number] + words.at, len(words.text), words.number) for words, start in found.items()
    ]
    kept: list[tuple[int, int, int]] = []
    for start, content, length, number in sorted(places):
        if kept and start < kept[-1][0] + kept[-1][2]:
            lost.add(number)  # it only seems to stand there: another turn says the same words
        else:
            kept.append((start, content, length))
    return tuple(kept), tuple(said[number].role for number in sorted(lost))


def _stands_once(words: str, text: str, start: int, elsewhere: str) -> bool:
    """Whether words are long enough, and said once, to stand where they are found."""
    if len(words) < _SURE or text.find(words, start + 1) >= 0:
        return False
    return elsewhere.find(words, elsewhere.find(words) + 1) < 0


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
