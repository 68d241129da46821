"""Documents of each source: chats in their usual shapes, filters, duplicates, and a count of what was left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from typing import Any, Literal

from dfc.config import CorpusConfig, SourceConfig, UserError
from dfc.corpus import rows
from dfc.corpus.documents import PLAIN, Document, encodable
from dfc.requests import Turn

Reason = Literal["bad row", "unknown role", "too short", "other language", "duplicate"]
_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}


@dataclass
class LeftOut:
    """Rows of a source that gave no document: how many for each reason, and the place of the first."""

    rows: dict[Reason, int] = field(default_factory=dict)
    first: dict[Reason, str] = field(default_factory=dict)

    def add(self, reason: Reason, place: str) -> None:
        self.rows[reason] = self.rows.get(reason, 0) + 1
        self.first.setdefault(reason, place)


@dataclass(frozen=True)
class Source:
    """A source that is being read; `left_out` grows while `documents` are drawn."""

    config: SourceConfig
    documents: Iterator[Document]
    left_out: LeftOut

    def left_out_in_words(self) -> str:
        """What was left out up to now, or nothing."""
        return _in_words(self.left_out, self.config)


def open_sources(config: CorpusConfig) -> dict[str, Source]:
    """Each source's documents, in an order drawn with the corpus's seed.

    A small text source is shuffled whole, a large one, Parquet and the hub within a moving window (see `rows`).
    The first document of each is read at once, so that a source that is not there is noticed before any work is done.
    Duplicates are those of any source.

    Raises:
        UserError: if a source is not there or none of its rows can be used.
    """
    given: set[bytes] = set()
    return {source.name: _open(source, config, given) for source in config.sources}


def _open(source: SourceConfig, config: CorpusConfig, given: set[bytes]) -> Source:
    left_out = LeftOut()
    documents = _documents(source, config, given, left_out)
    first = next(documents, None)
    if first is None:
        raise UserError(
            f"corpus source `{source.name}` ({source.path}) is empty: {_in_words(left_out, source) or 'no rows'}; "
            f"name the right fields with `text`, `messages`, or `prompt` and `response`, "
            f"loosen its filters, or leave the source out."
        )
    return Source(source, chain([first], documents), left_out)


def _documents(source: SourceConfig, config: CorpusConfig, given: set[bytes], left_out: LeftOut) -> Iterator[Document]:
    for place, row in rows.read_rows(source, config.seed, config.max_characters):
        turns = _usable_turns(row, source, config.max_characters)
        if isinstance(turns, str):
            left_out.add(turns, place)
            continue
        if config.drop_duplicates:
            digest = _digest(turns)
            if digest in given:
                left_out.add("duplicate", place)
                continue
            given.add(digest)
        yield Document(source.name, turns)


def _usable_turns(row: Any, source: SourceConfig, max_characters: int) -> tuple[Turn, ...] | Reason:
    """What a row says, cut to length, or why it is left out."""
    if not isinstance(row, dict):
        return "bad row"
    if source.language is not None and row.get(source.language_field) != source.language:
        return "other language"
    said = _said(row, source)
    if isinstance(said, str):
        return said
    turns, room = [], max_characters
    for role, text in said:
        content = clean(text)[:room]
        if content:
            turns.append(Turn(role, content))
            room -= len(content)
    return tuple(turns) if max_characters - room >= source.min_characters else "too short"


def _said(row: dict[str, Any], source: SourceConfig) -> list[tuple[str, str]] | Reason:
    """(role, text) of each turn in a row, or why it has none."""
    for name in (source.messages, *rows.CHATS):
        messages = row.get(name)
        if isinstance(messages, list) and messages:
            return chat_turns(messages)
    text, prompt, response = row.get(source.text), row.get(source.prompt), row.get(source.response)
    if isinstance(text, str):
        return [(PLAIN, text)]
    if isinstance(prompt, str) and isinstance(response, str):
        return [("user", prompt), ("assistant", response)]
    return "bad row"


def chat_turns(messages: list[Any]) -> list[tuple[str, str]] | Reason:
    """(role, text) of each message, in either usual shape, or why they are no chat."""
    said = []
    for message in messages:
        if not isinstance(message, dict):
            return "bad row"
        role, text = (
            message.get(name) if message.get(name) is not None else message.get(other)
            for name, other in (("role", "from"), ("content", "value"))
        )
        if not isinstance(role, str) or role not in _ROLES:
            return "unknown role"
        if not isinstance(text, str | None):  # of parts, e.g. pictures; a turn without anything is empty
            return "bad row"
        said.append((_ROLES[role], encodable(text or "")))
    return said


def chat_from_json(text: str) -> list[tuple[str, str]]:
    """(role, text) of each message of a chat in JSON: a list of messages, or an object that holds one.

    Raises:
        UserError: if it is none.
    """
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"This is not JSON ({str(error).splitlines()[0]:.80}); give a list of messages.") from None
    if isinstance(content, dict):
        content = next((content[name] for name in ("messages", "conversations", "conversation") if name in content), 0)
    if not isinstance(content, list) or not content:
        raise UserError('This holds no messages; give a list such as [{"role": "user", "content": "Hello"}].')
    said = chat_turns(content)
    if isinstance(said, str):
        raise UserError(
            f"These messages cannot be used ({said}); each wants a role, which is system, user or assistant, and a "
            "content, which is a text."
        )
    return said


def clean(text: str) -> str:
    """A string that every tokenizer accepts: no lone surrogates, no white space around it."""
    return encodable(text).strip()


def _digest(turns: tuple[Turn, ...]) -> bytes:
    digest = blake2b(digest_size=16)
    for turn in turns:
        digest.update(f"{turn.role} {len(turn.content)} {turn.content}".encode())
    return digest.digest()


def _in_words(left_out: LeftOut, source: SourceConfig) -> str:
    words: dict[Reason, str] = {
        "bad row": f"rows without `{source.text}` or `{source.messages}`",
        "unknown role": "chats with a role other than system, user and assistant",
        "too short": f"documents shorter than {source.min_characters} characters",
        "other language": f"rows whose `{source.language_field}` is not {source.language}",
        "duplicate": "duplicates",
    }
    return "; ".join(
        f"{count} {words[reason]}, the first at {left_out.first[reason]}" for reason, count in left_out.rows.items()
    )
