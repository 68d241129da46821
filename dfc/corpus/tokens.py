"""Token ids of rendered documents: the only way from a text to what a model reads.

A special token is one where a template or the tokenizer puts it. Spelled out in what somebody says it is text, in
every model: otherwise a user's words could end a turn and open the assistant's, in one model and not in the other.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from dfc.corpus.template import Rendering

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]
_special: WeakKeyDictionary[PreTrainedTokenizerBase, dict[int, str]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Encoding:
    """One document's tokens.

    Attributes:
        ids: token ids, (tokens,).
        offsets: characters of the rendered text that each covers; None if the tokenizer cannot tell.
        beyond: where the first token that was cut away begins; None if none was, or it is not known.
        spelled: the first special token that its turns spell out, if any does.
    """

    ids: list[int]
    offsets: list[Span] | None
    spelled: str = ""
    beyond: int | None = None


def encode(
    renderings: Sequence[Rendering], tokenizer: PreTrainedTokenizerBase, max_tokens: int | None = None
) -> list[Encoding]:
    """The tokens of documents, the first `max_tokens` of each, whatever side the tokenizer's settings would cut."""
    special = special_tokens(tokenizer)
    found = []
    for add_special_tokens, group in groupby(renderings, key=lambda rendering: rendering.add_special_tokens):
        together = list(group)
        encodings = tokenizer(
            [rendering.text for rendering in together],
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=tokenizer.is_fast,
            return_attention_mask=False,
            truncation=False,
            verbose=False,
        )
        offsets = encodings["offset_mapping"] if tokenizer.is_fast else [None] * len(together)
        for rendering, ids, spans in zip(together, encodings["input_ids"], offsets, strict=True):
            spelled = _spelled(rendering, ids, spans, special)
            if spelled:
                ids, spans = _as_text(rendering, tokenizer, ids, spans, special)
            beyond = None
            if spans is not None and max_tokens is not None and len(spans) > max_tokens:
                beyond = next((start for start, end in spans[max_tokens:] if end > start), None)
            found.append(Encoding(ids[:max_tokens], None if spans is None else spans[:max_tokens], spelled, beyond))
    return found


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Ids of all special tokens, named ones and others, and how each is spelled; looked up once for each tokenizer."""
    known = _special.get(tokenizer)
    if known is None:
        known = _special[tokenizer] = _special_tokens(tokenizer)
    return known


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def _spelled(rendering: Rendering, ids: list[int], spans: list[Span] | None, special: dict[int, str]) -> str:
    """The first special token that stands in what somebody says; empty if there is none."""
    words = _words(rendering)
    if spans is None:
        said = (rendering.text[start:end] for start, end in words)
        return next((token for text in said for token in special.values() if token in text), "")
    inside = (
        special[token] for token, span in zip(ids, spans, strict=True) if token in special and _is_in(span, words)
    )
    return next(inside, "")


def _words(rendering: Rendering) -> list[Span]:
    """Where what people and tools say stands, in order."""
    turns = ((start, start + length) for start, _, length in rendering.turns)
    return sorted([*turns, *((start, start + length) for start, length in rendering.unsaid)])


def _is_in(span: Span, words: list[Span]) -> bool:
    place = bisect_right(words, (span[0], 1 << 62)) - 1
    return span[1] > span[0] and place >= 0 and span[0] < words[place][1]


def _as_text(
    rendering: Rendering,
    tokenizer: PreTrainedTokenizerBase,
    ids: list[int],
    spans: list[Span] | None,
    special: dict[int, str],
) -> tuple[list[int], list[Span] | None]:
    """Ids and offsets of a document in which only the template's own special tokens are special.

    A tokenizer treats what stands between special tokens piece by piece; so each piece is tokenised on its own.
    """

    def piece(start: int, end: int, add_special_tokens: bool = False) -> tuple[list[int], list[Span] | None]:
        found = tokenizer(
            rendering.text[start:end],
            add_special_tokens=add_special_tokens,
            split_special_tokens=True,
            return_offsets_mapping=tokenizer.is_fast,
            truncation=False,
            verbose=False,
        )
        offsets = found["offset_mapping"] if tokenizer.is_fast else None
        return found["input_ids"], offsets and [(begin + start, stop + start) for begin, stop in offsets]

    if rendering.add_special_tokens:
        return piece(0, len(rendering.text), add_special_tokens=True)
    together: list[int] = []
    offsets: list[Span] | None = [] if tokenizer.is_fast else None
    at = 0
    for start, end, token in [*_own(rendering, ids, spans, special), (*(len(rendering.text),) * 2, None)]:
        own, covered = piece(at, start) if start > at else ([], [])
        together += own if token is None else [*own, token]
        if offsets is not None:
            offsets += (covered or []) if token is None else [*(covered or []), (start, end)]
        at = end
    return together, offsets


def _own(
    rendering: Rendering, ids: list[int], spans: list[Span] | None, special: dict[int, str]
) -> list[tuple[int, int, int]]:
    """Start, end and id of each special token that the template has put into a text."""
    words = _words(rendering)
    if spans is None:
        numbers = {text: number for number, text in special.items()}
        pattern = re.compile("|".join(map(re.escape, sorted(numbers, key=len, reverse=True))))
        found = [(*match.span(), numbers[match.group()]) for match in pattern.finditer(rendering.text)]
    else:
        found = [
            (*span, token) for token, span in zip(ids, spans, strict=True) if token in special and span[1] > span[0]
        ]
    return [(start, end, token) for start, end, token in found if not _is_in((start, end), words)]
