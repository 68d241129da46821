"""How a model is given a document: its chat template with the real messages, and where in it each turn stands."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfc.config import UserError
from dfc.corpus.documents import THOUGHTS, Document, Place, said_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SURE = 16  # characters: what is as long and stands once in a rendered chat is not there by chance
_STRANGERS = "¦¶§‡¤¬†¥£¢"  # one that a chat does not hold is put beside a turn, to see where the template puts it
_THINKING = re.compile(r"</?think(?:ing)?>")


@dataclass(frozen=True)
class Rendering:
    """A document as one model reads it.

    Attributes:
        text: what is tokenised.
        turns: where stretches of the turns lie: (start in `text`, start in the document's content, length); no two of
            them share a character of `text`.
        add_special_tokens: whether the tokenizer adds its own, since no template did.
        lost: roles of the turns that do not stand in `text` as they were said, at least not whole.
        joined: whether the template refused the chat as it is, and was given turns joined.
    """

    text: str
    turns: tuple[tuple[int, int, int], ...]
    add_special_tokens: bool
    lost: tuple[str, ...] = ()
    joined: bool = False


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
    messages = _with_thoughts(document.messages, fill.source)
    said = said_in(messages)
    text, joined = fill.filled(messages)
    places, lost = _found(text, said, _origins(document, said), messages, fill, joined)
    return Rendering(text, places, add_special_tokens=False, lost=lost, joined=joined)


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
        self._tokenizer, self._name = tokenizer, tokenizer.name_or_path
        self._settings: dict[str, Any] = {"tools": tools, "add_generation_prompt": answer, "tokenize": False}
        if moment is not None and "strftime_now" in self.source:
            self._settings["strftime_now"] = moment.strftime

    def filled(self, messages: Sequence[Mapping[str, Any]]) -> tuple[str, bool]:
        """What the template makes of messages, and whether it had to be given them joined.

        Some refuse a system turn, or one speaker twice in a row, or an assistant who speaks first. Then a system turn
        is the beginning of the user's, turns of one speaker are one, and an assistant answers an empty turn.

        Raises:
            UserError: if it refuses these, too.
        """
        try:
            return self.fill(messages), False
        except Exception:  # templates raise what they like
            pass
        try:
            return self.fill(_alternating(messages)), True
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(
                f"{self._name}: its chat template refuses a chat of {len(messages)} turns ({reason:.120}); "
                f"take turns out, or give the text as a plain one."
            ) from error

    def fill(self, messages: Sequence[Mapping[str, Any]]) -> str:
        """The same, whatever it raises."""
        return str(self._tokenizer.apply_chat_template([dict(message) for message in messages], **self._settings))

    def around(
        self, words: str, at: int, turn: Place, messages: Sequence[Mapping[str, Any]], text: str, joined: bool
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
                other = self.fill(_alternating(changed) if joined else changed)
            except Exception:  # a template may mind
                continue
            until = other.find(str(stranger))
            start = until + end - kept - len(words)
            if until >= 0 and other[:until] == text[:until] and text[max(start, 0) : start + len(words)] == words:
                return start
        return None


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
    fill: _Template,
    joined: bool,
) -> tuple[tuple[tuple[int, int, int], ...], tuple[str, ...]]:
    """Where the turns stand in a rendered chat, in its order, and the roles of those that do not, at least not whole.

    A template may take what is thought out of a turn, or put it into marks of its own: then its pieces are looked for.
    """
    places: list[tuple[int, int, int, int]] = []
    lost: set[int] = set()
    for number, (turn, origin) in enumerate(zip(said, origins, strict=True)):
        pieces = [(0, turn.text)]
        if turn.text not in text:
            pieces = _pieces(turn.text)
            lost.add(number)
        for at, words in pieces:
            start = text.find(words)
            if start >= 0 and not _is_sure(text, words, start, places):
                start = -1 if (found := fill.around(words, at, turn, messages, text, joined)) is None else found
            if start >= 0:
                places.append((start, origin + at, len(words), number))
            else:
                lost.add(number)
    kept: list[tuple[int, int, int]] = []
    for start, content, length, number in sorted(places):
        if kept and start < kept[-1][0] + kept[-1][2]:
            lost.add(number)  # it only seems to stand there: another turn says the same words
        else:
            kept.append((start, content, length))
    return tuple(kept), tuple(said[number].role for number in sorted(lost))


def _is_sure(text: str, words: str, start: int, places: Sequence[tuple[int, int, int, int]]) -> bool:
    """Whether words that stand in a rendered chat can only be those of one turn."""
    return (
        len(words) >= _SURE
        and text.find(words, start + 1) < 0
        and not any(begin < start + len(words) and start < begin + length for begin, _, length, _ in places)
    )


def _pieces(text: str) -> list[tuple[int, str]]:
    """What stands between marks of thinking in a turn, each with its place; nothing where there are no marks."""
    pieces, at = [], 0
    for mark in [*_THINKING.finditer(text), None]:
        between = text[at : mark.start() if mark else None]
        if (mark or at) and (words := between.strip()):
            pieces.append((at + between.index(words), words))
        at = mark.end() if mark else at
    return pieces


def _with_thoughts(messages: Sequence[Mapping[str, Any]], template: str) -> list[dict[str, Any]]:
    """Messages with what is thought in them under the name that a template reads it by."""

    def is_read(name: str) -> bool:
        return re.search(rf"(?:\.|['\"]){name}\b", template) is not None

    asked = next(filter(is_read, THOUGHTS), None)
    found = []
    for message in messages:
        own = [name for name in THOUGHTS if name in message]
        if asked is None or not own or any(map(is_read, own)):
            found.append(dict(message))
        else:
            found.append(
                {**{name: value for name, value in message.items() if name not in own}, asked: message[own[0]]}
            )
    return found


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
            add(f"{gap}{_calls(message['tool_calls'])}")
    if answer:
        add("\n\nAssistant:")
    return Rendering("".join(pieces), tuple(places), add_special_tokens=True)


def _calls(calls: Any) -> str:
    return json.dumps(calls, ensure_ascii=False, default=str)


def _alternating(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The same said by a user and an assistant in turn, the user first."""
    turns: list[dict[str, str]] = []
    for message in messages:
        role = "assistant" if message["role"] == "assistant" else "user"
        if not turns and role == "assistant":
            turns.append({"role": "user", "content": ""})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += f"\n\n{message['content'] or ''}"
        else:
            turns.append({"role": role, "content": str(message["content"] or "")})
    return turns
