"""Documents: plain texts and chats from files and hub datasets, and how a model is given them.

Text from a corpus is data from strangers: it is never trusted, only made encodable.
"""

from __future__ import annotations

import glob
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast

from dfc.config import CorpusConfig, SourceConfig, UserError

PLAIN = "text"  # the role of a plain text's only turn
_ROLES = ("system", "user", "assistant")
_SHUFFLE_BUFFER = 10_000


@dataclass(frozen=True)
class Turn:
    """What one speaker says; `role` is system, user or assistant, or `text` for a plain text."""

    role: str
    content: str


@dataclass(frozen=True)
class Document:
    """A plain text or a chat. Its content is what its turns say, one after another, without any template."""

    source: str
    turns: tuple[Turn, ...]

    @property
    def is_chat(self) -> bool:
        return self.turns[0].role != PLAIN


@dataclass(frozen=True)
class Rendering:
    """A document as one model reads it.

    `turns` says where each turn's content lies: (start in `text`, start in the document's content, length).
    """

    text: str
    turns: tuple[tuple[int, int, int], ...]
    add_special_tokens: bool


def plain(text: str, source: str = "") -> Document:
    """A plain text as a document."""
    return Document(source, (Turn(PLAIN, text),))


def render(document: Document, tokenizer: PreTrainedTokenizerFast, answer: bool = False) -> Rendering:
    """Put a document into a model's own chat template; a base model gets `User: …`, a plain text stays as it is.

    With `answer`, what introduces the assistant's next turn is added, so that a model goes on with it.

    The template is filled with placeholders that are then replaced, so that the place of each turn's
    content is known exactly, whatever the template adds, trims or reorders.
    """
    if not document.is_chat:
        content = document.turns[0].content
        return Rendering(content, ((0, 0, len(content)),), add_special_tokens=True)
    if tokenizer.chat_template is None:
        frame = "\n\n".join(f"{turn.role.title()}: {_mark(i)}" for i, turn in enumerate(document.turns))
        frame += "\n\nAssistant:" if answer else ""
    else:
        frame = _fill_template(document, tokenizer, answer)
    pieces: list[str] = []
    places: list[tuple[int, int, int]] = []
    position = content_start = read = 0
    for index, turn in enumerate(document.turns):
        at = frame.find(_mark(index), read)
        if at >= 0:  # a template may leave a turn out
            pieces += [frame[read:at], turn.content]
            position += at - read
            places.append((position, content_start, len(turn.content)))
            position += len(turn.content)
            read = at + len(_mark(index))
        content_start += len(turn.content)
    pieces.append(frame[read:])
    return Rendering("".join(pieces), tuple(places), add_special_tokens=tokenizer.chat_template is None)


def open_sources(config: CorpusConfig) -> dict[str, Iterator[Document]]:
    """Documents of each source, in an order drawn with the corpus's seed.

    The first document of each is read at once, so that a source that is not there is noticed before any work is done.

    Raises:
        UserError: if a source is not there or none of its rows can be used.
    """
    opened = {source.name: _documents(source, config) for source in config.sources}
    return {name: chain([next(documents)], documents) for name, documents in opened.items()}


def _documents(source: SourceConfig, config: CorpusConfig) -> Iterator[Document]:
    good = bad = 0
    example = ""
    for place, row in _rows(source, config.seed):
        document = _document(row, source, config.max_characters)
        if document is None:
            bad += 1
            example = example or place
            continue
        good += 1
        yield document
    if good == 0:
        detail = (
            f"{bad} rows without `{source.text}` or `{source.messages}`, the first at {example}" if bad else "no rows"
        )
        raise UserError(
            f"corpus source `{source.name}` ({source.path}) is empty: {detail}; "
            f"name the right fields with `text` or `messages`, or leave the source out."
        )


def _rows(source: SourceConfig, seed: int) -> Iterator[tuple[str, Any]]:
    """(place, row) of each row, shuffled."""
    files = sorted(glob.glob(source.path))
    if files:
        lines = [
            (f"{Path(file).name}:{number}", line)
            for file in files
            for number, line in enumerate(Path(file).read_text(encoding="utf-8", errors="replace").split("\n"), start=1)
            if line.strip()
        ]
        random.Random(seed).shuffle(lines)
        for place, line in lines:
            yield place, _parse(line)
        return
    if source.path.endswith((".jsonl", ".json")) or source.path.startswith((".", "/")):
        raise UserError(f"corpus source `{source.name}`: {source.path}: no such file.")
    yield from _hub_rows(source, seed)


def _hub_rows(source: SourceConfig, seed: int) -> Iterator[tuple[str, Any]]:
    from datasets import load_dataset

    try:
        dataset = load_dataset(source.path, source.subset, split=source.split, streaming=True)
        for number, row in enumerate(dataset.shuffle(seed=seed, buffer_size=_SHUFFLE_BUFFER)):
            yield f"row {number}", row
    except Exception as error:  # the hub client raises many kinds, its own and those of its transports
        first = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise UserError(
            f"corpus source `{source.name}`: {source.path} could not be read as a hub dataset "
            f"({type(error).__name__}: {first}); "
            f"check the id, `subset` and `split`, your login and the network, or give a JSONL file."
        ) from error


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _document(row: Any, source: SourceConfig, max_characters: int) -> Document | None:
    """A row as a document, or None where it holds neither a text nor a chat."""
    if not isinstance(row, dict):
        return None
    messages = row.get(source.messages)
    if isinstance(messages, list) and messages:
        turns, room = [], max_characters
        for message in messages:
            if not isinstance(message, dict) or message.get("role") not in _ROLES:
                return None
            content = _clean(message.get("content"))[:room]
            if content:
                turns.append(Turn(message["role"], content))
                room -= len(content)
        return Document(source.name, tuple(turns)) if turns else None
    text = _clean(row.get(source.text))[:max_characters]
    return Document(source.name, (Turn(PLAIN, text),)) if text else None


def _clean(text: Any) -> str:
    """A string that every tokenizer accepts: no lone surrogates, no white space around it."""
    if not isinstance(text, str):
        return ""
    return text.encode("utf-8", errors="replace").decode("utf-8").strip()


def _mark(index: int) -> str:
    """Placeholder of a turn: private-use characters that no template holds."""
    return f"\ue000{index}\ue001"


def _fill_template(document: Document, tokenizer: PreTrainedTokenizerFast, answer: bool) -> str:
    messages = [{"role": turn.role, "content": _mark(index)} for index, turn in enumerate(document.turns)]
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer))
    except Exception:  # templates raise what they like, e.g. at a system turn or at two users in a row
        roles = ("user", "assistant")
        merged = [{"role": roles[i % 2], "content": message["content"]} for i, message in enumerate(messages)]
        return str(tokenizer.apply_chat_template(merged, tokenize=False, add_generation_prompt=answer))
