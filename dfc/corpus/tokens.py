"""Token ids of rendered documents: the only way from a text to what a model reads.

A special token is one where a template or the tokenizer puts it. Spelled out in what somebody says it is text, in
every model: otherwise a user's words could end a turn and open the assistant's, in one model and not in the other.
"""

from __future__ import annotations

import copy
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
_special: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[int, dict[int, str]]] = WeakKeyDictionary()
_further: WeakKeyDictionary[PreTrainedTokenizerBase, PreTrainedTokenizerBase] = WeakKeyDictionary()


@dataclass(frozen=True)
class Encoding:
    """One document's tokens.

    Attributes:
        ids: token ids, (tokens,).
        offsets: characters of the rendered text that each covers; None if the tokenizer cannot tell.
        beyond: where the first token that was cut away begins; None if none was, or it is not known.
        unsure: the first special token of which it cannot be told whether somebody's words spell it out, if any.
        spelled: the first special token that somebody's words spell out, if any do.
    """

    ids: list[int]
    offsets: list[Span] | None
    spelled: str = ""
    beyond: int | None = None
    unsure: str = ""


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
            standing = _special_in(rendering, ids, spans, special)
            spelled, unsure = _spelled(rendering, standing, special)
            if spelled:
                own = [one for one in standing if one not in spelled]
                ids, spans = _as_text(rendering, tokenizer, own)
            first = special[spelled[0][1]] if spelled else ""
            beyond = None
            if spans is not None and max_tokens is not None and len(spans) > max_tokens:
                beyond = next((start for start, end in spans[max_tokens:] if end > start), None)
            found.append(Encoding(ids[:max_tokens], spans and spans[:max_tokens], first, beyond, unsure))
    return found


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """Ids of all special tokens, named ones and others, and how each is spelled; looked up once for each tokenizer."""
    size, known = _special.get(tokenizer, (0, {}))
    if size != len(tokenizer):  # tokens may be added
        known = _special_tokens(tokenizer)
        _special[tokenizer] = len(tokenizer), known
    return known


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))


def _special_in(
    rendering: Rendering, ids: list[int], spans: list[Span] | None, special: dict[int, str]
) -> list[tuple[Span, int]]:
    """Where special tokens stand in a text, and which; those that a tokenizer adds stand nowhere in it."""
    if spans is not None:
        found = zip(spans, ids, strict=True)
        return [((start, end), token) for (start, end), token in found if token in special and end > start]
    if not any(token in rendering.text for token in special.values()):
        return []
    numbers = {text: number for number, text in special.items()}
    pattern = re.compile("|".join(map(re.escape, sorted(numbers, key=len, reverse=True))))
    return [(match.span(), numbers[match.group()]) for match in pattern.finditer(rendering.text)]


def _spelled(
    rendering: Rendering, standing: list[tuple[Span, int]], special: dict[int, str]
) -> tuple[list[tuple[Span, int]], str]:
    """Those special tokens that are none of the template's but somebody's words; and one that may be either, or "".

    What stands neither in a turn nor in a tool's words may be a repeat of these, an argument of a call, a description:
    it changes if the chat is rendered again with other characters in its place.
    """
    if rendering.add_special_tokens or not standing:
        return standing, ""
    words = _words(rendering)
    spelled = [one for one in standing if _is_in(one[0], words)]
    beyond = [one for one in standing if not _is_in(one[0], words)]
    if rendering.chat is None or not beyond:
        return spelled, ""
    given = list(rendering.chat.strings())
    tokens = {special[token] for _, token in beyond if any(special[token] in text for text in given)}
    if not tokens:
        return spelled, ""
    pattern = re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=True))))
    sign = next(sign for sign in "~^`\x7f" if not any(sign in token for token in tokens))
    other = rendering.chat.changed(lambda text: pattern.sub(lambda match: sign * len(match.group()), text))
    if other is None or len(other) != len(rendering.text):  # the template looks at what is said
        return spelled, next((special[token] for _, token in beyond if special[token] in tokens), "")
    changed = [one for one in beyond if rendering.text[slice(*one[0])] != other[slice(*one[0])]]
    return sorted([*spelled, *changed]), ""


def _words(rendering: Rendering) -> list[Span]:
    """Where what people and tools say stands, in order."""
    turns = ((start, start + length) for start, _, length in rendering.turns)
    return sorted([*turns, *((start, start + length) for start, length in rendering.unsaid)])


def _is_in(span: Span, words: list[Span]) -> bool:
    place = bisect_right(words, (span[0], 1 << 62)) - 1
    return place >= 0 and span[0] < words[place][1]


def _as_text(
    rendering: Rendering, tokenizer: PreTrainedTokenizerBase, own: list[tuple[Span, int]]
) -> tuple[list[int], list[Span] | None]:
    """Ids and offsets of a document in which only the template's own special tokens are special.

    A tokenizer treats what stands between special tokens piece by piece; so each piece is tokenised on its own.
    """

    def piece(start: int, end: int, add_special_tokens: bool = False) -> tuple[list[int], list[Span] | None]:
        found = (_for_further_pieces(tokenizer) if start else tokenizer)(
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
    for (start, end), token in [*own, ((len(rendering.text),) * 2, None)]:
        ids, covered = piece(at, start) if start > at else ([], [])
        together += ids if token is None else [*ids, token]
        if offsets is not None:
            offsets += (covered or []) if token is None else [*(covered or []), (start, end)]
        at = end
    return together, offsets


def _for_further_pieces(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """The same tokenizer, but for what it puts before the first piece of a text alone."""
    from tokenizers.pre_tokenizers import Metaspace

    before = tokenizer.backend_tokenizer.pre_tokenizer if tokenizer.is_fast else None
    if not isinstance(before, Metaspace) or before.prepend_scheme != "first":
        return tokenizer
    known = _further.get(tokenizer)
    if known is None:
        known = _further[tokenizer] = copy.deepcopy(tokenizer)
        known.backend_tokenizer.pre_tokenizer = Metaspace(before.replacement, "never", before.split)
    return known
