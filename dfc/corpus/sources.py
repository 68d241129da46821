"""Documents of each source, whatever their files look like: filters, duplicates, and a count of what was left out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, islice
from typing import Any

from dfc.config import CorpusConfig, SourceConfig, UserError
from dfc.corpus import chats, rows
from dfc.corpus.documents import THOUGHTS, Document, clean, holds_halves, of_messages, plain
from dfc.corpus.messages import unsaid
from dfc.corpus.tally import Asked, Tally, Unusable

_LONGEST_TEXT = 1_000_000  # characters


@dataclass(frozen=True)
class Source:
    """A source that is being read; what is left out and what is noted grow while `documents` are drawn."""

    config: SourceConfig
    documents: Iterator[Document]
    left_out: Tally
    noted: Tally

    def left_out_in_words(self) -> str:
        """What was left out up to now, or nothing."""
        return self.left_out.in_words(self.config)


def open_sources(config: CorpusConfig) -> dict[str, Source]:
    """Each source's documents, in an order drawn with the corpus's seed.

    A small text source is shuffled whole, a large one, tables and the hub within a moving window (see `rows`).
    The first document of each is read at once, so that a source that is not there is noticed before any work is done.
    Duplicates are those of any source.

    Raises:
        UserError: if a source is not there or none of its rows can be used.
    """
    given: set[bytes] = set()
    return {source.name: _open(source, config, given) for source in config.sources}


def in_order(
    source: SourceConfig, characters: int, seed: int | None = None, noted: Tally | None = None
) -> Iterator[tuple[str, Document | Unusable]]:
    """(place, document) of each row, or why it gives none, in their order or in one drawn with a seed.

    `noted` is told what is read otherwise than it stands there. Raises as `open_sources` does.
    """
    noted = Tally() if noted is None else noted
    for place, row in rows.read_rows(source, seed, characters, noted):
        yield place, _document(row, source, characters, place, noted)


def read_chat(path: str) -> tuple[list[tuple[str, str]], str]:
    """(role, text) of each turn of the chat in a file, and what of it is left out, in words, as `chat_from_json` does.

    Raises:
        UserError: if there is no such file, no chat in it, or more than one.
    """
    source, noted = Asked(name="chat", path=path), Tally()
    found = list(islice(rows.read_rows(source, None, _LONGEST_TEXT, noted), 2))
    if len(found) > 1:
        raise UserError("This holds several chats or texts; give the messages of one chat.")
    flaw: Any = Unusable("empty")
    row = found[0][1] if found else flaw
    turns, left_out = chats.turns_of(row if isinstance(row, Unusable) else chats.of_row(row, source))
    return turns, "; ".join(words for words in (left_out, noted.in_words(source)) if words)


def _open(source: SourceConfig, config: CorpusConfig, given: set[bytes]) -> Source:
    left_out, noted = Tally(), Tally()
    documents = _documents(source, config, given, left_out, noted)
    first = next(documents, None)
    if first is None:
        raise UserError(
            f"corpus source `{source.name}` ({source.path}) is empty: {left_out.in_words(source) or 'no rows'}; "
            f"name the right fields with `text`, `messages`, or `prompt` and `response`, "
            f"loosen its filters, or leave the source out."
        )
    return Source(source, chain([first], documents), left_out, noted)


def _documents(
    source: SourceConfig, config: CorpusConfig, given: set[bytes], left_out: Tally, noted: Tally
) -> Iterator[Document]:
    for place, row in rows.read_rows(source, config.seed, config.max_characters, noted):
        document = _document(row, source, config.max_characters, place, noted)
        if isinstance(document, Unusable):
            left_out.add(document.reason, place, document.found)
            continue
        if config.drop_duplicates:
            digest = _digest(document)
            if digest in given:
                left_out.add("duplicate", place)
                continue
            given.add(digest)
        yield document


def _document(row: Any, source: SourceConfig, max_characters: int, place: str, noted: Tally) -> Document | Unusable:
    """What a row says, cut to length, or why it is left out."""
    if (text := chats.plain_text(row, source)) is not None:
        if holds_halves(text):
            noted.add("halved", place)
        content = clean(text)[:max_characters]
        return plain(content, source.name) if len(content) >= source.min_characters else Unusable("too short")
    if isinstance(row, Unusable):
        return row
    said = chats.of_row(row, source)
    if isinstance(said, Unusable):
        return said
    document = of_messages(source.name, said.messages, said.tools, max_characters)
    if document is None or sum(len(turn.content) for turn in document.turns) < source.min_characters:
        return Unusable("too short")
    if holds_halves(row):
        noted.add("halved", place)
    if said.branches:
        noted.add("branches", place)
    if said.unread:
        noted.add("unread", place, f"`{said.unread[0]:.40}`", len(said.unread))
    if document.given:
        for found in unsaid(document.messages):
            noted.add("unsaid", place, found)
    return document


def _digest(document: Document) -> bytes:
    """Of what is said, by whom, and of what else a template is given of it; white space around turns is nothing."""
    digest = blake2b(digest_size=16)
    for turn in document.turns:
        digest.update(f"{turn.role} {len(turn.content)} {turn.content}".encode())
    if document.given:
        known = {"role", "content", *THOUGHTS}
        messages = document.messages
        beside = [{name: value for name, value in message.items() if name not in known} for message in messages]
        answers = [str(message["content"] or "").strip() for message in messages if message["role"] == "tool"]
        if any(beside) or answers or document.tools:
            roles = [message["role"] for message in messages]
            digest.update(json.dumps([document.tools, roles, beside, answers], default=str).encode())
    return digest.digest()
