"""Pair the tokens of one document under two tokenizers.

Two tokens are a pair when their content ends at the same character of the document:
these are the last tokens of the shortest windows with equal text, which the paper's
greedy two-pointer search (Algorithm 1) finds by comparing decoded strings. Character
offsets give them in linear time, and no character can break them. Where a tokenizer gives
no offsets, its tokens are searched in the text, window by window.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby, pairwise

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedTokenizerBase

from dfc.corpus import Rendering

Ints = npt.NDArray[np.int64]
_CUT = "\N{REPLACEMENT CHARACTER}"  # what most tokenizers show for some of a character's bytes; others show nothing
_IS_SPACE = np.array([chr(code).isspace() for code in range(0x10000)])  # there is none beyond


@dataclass(frozen=True)
class Tokens:
    """A document under one tokenizer.

    Attributes:
        ids: token ids, (length,).
        starts, ends: characters of the rendered text that each token covers, (length,).
        content_ends: where each token's content ends in the document's content, (length,);
            -1 for tokens without content: white space, template, special tokens.
        lost: whether the search for offsets gave up; tokens from there on are without content.
    """

    ids: Ints
    starts: Ints
    ends: Ints
    content_ends: Ints
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Pairs:
    """Paired tokens of one document, increasing on both sides: three arrays of one length."""

    index_a: Ints
    index_b: Ints
    ends: Ints


def tokenize(renderings: Sequence[Rendering], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> list[Tokens]:
    """Tokenise documents with one tokenizer, each cut to `max_tokens`."""
    result: list[Tokens] = []
    decode = partial(tokenizer.decode, clean_up_tokenization_spaces=False)
    for add_special_tokens, group in groupby(renderings, key=lambda rendering: rendering.add_special_tokens):
        members = list(group)
        encodings = tokenizer(
            [rendering.text for rendering in members],
            add_special_tokens=add_special_tokens,
            return_offsets_mapping=tokenizer.is_fast,
            return_attention_mask=False,
            truncation=True,
            max_length=max_tokens,
        )
        for number, rendering in enumerate(members):
            ids = np.array(encodings["input_ids"][number], dtype=np.int64)
            special = np.isin(ids, tokenizer.all_special_ids)
            lost = False
            if tokenizer.is_fast:
                offsets = np.array(encodings["offset_mapping"][number], dtype=np.int64).reshape(-1, 2)
            else:
                offsets, lost = search_offsets(rendering.text, ids.tolist(), special.tolist(), decode)
            starts, ends = offsets[:, 0], offsets[:, 1]
            result.append(Tokens(ids, starts, ends, content_ends(rendering, starts, ends, special), lost))
    return result


def search_offsets(
    text: str, ids: list[int], special: list[bool], decode: Callable[[list[int]], str]
) -> tuple[Ints, bool]:
    """Characters that each token covers, found by the paper's greedy search between tokens and text.

    A window of tokens grows until what it decodes to is what the text goes on with, white space, case and Unicode's
    compatible forms aside; then each of its tokens covers all of these characters. Special tokens that do not stand
    in the text cover none, nor do the last ones of a text that was cut within a character.

    Args:
        text: what was tokenised.
        ids: its tokens, (length,).
        special: which of them are special tokens, (length,).
        decode: gives the text of some of them.

    Returns:
        starts and ends, (length, 2), and whether the search gave up because a window can never agree with the text;
        tokens from there on cover nothing.
    """
    offsets = np.zeros((len(ids), 2), dtype=np.int64)
    folds = [_fold(character) for character in text]
    goal = "".join(folds)
    owner = [number for number, fold in enumerate(folds) for _ in fold] + [len(text)]  # of each character of `goal`
    first = at = covered = 0  # the window's first token; what is behind it of `goal` and of `text`
    for last in range(len(ids)):
        if special[last]:
            first = last
        shown = decode(ids[first : last + 1])
        said = "".join(map(_fold, shown))
        end = at + len(said)
        if special[last] and not goal.startswith(said, at):
            first = last + 1
            continue
        if shown and not said:
            until = min(covered + len(shown), owner[at])
        elif said and goal.startswith(said, at) and owner[end - 1] != owner[end]:
            following = ids[last + 1 : last + 2]
            if said.endswith(_CUT) and decode(following) == _CUT and decode(ids[first : last + 2]) == shown:
                continue  # the text itself has this character, and its bytes are tokens of their own
            until = owner[end - 1] + 1
        elif goal.startswith(said.rstrip(_CUT), at):
            continue
        else:
            return offsets, True
        offsets[first : last + 1] = covered, until
        first, at, covered = last + 1, end, until
    return offsets, False


def content_ends(rendering: Rendering, starts: Ints, ends: Ints, special: npt.NDArray[np.bool_]) -> Ints:
    """Where each token's content ends in the document's content; -1 where it has none.

    White space at a token's end is no content: `foo` and `foo\\n` end at the same character.
    """
    result = np.full(len(starts), -1, dtype=np.int64)
    codes = np.frombuffer(rendering.text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
    solid = ~_IS_SPACE[np.minimum(codes, 0xFFFF)]
    # trimmed[i]: end of the last solid character among the first i characters
    trimmed = np.maximum.accumulate(np.concatenate([[0], np.where(solid, np.arange(1, len(codes) + 1), 0)]))
    solid_ends = trimmed[ends]
    has_content = (solid_ends > starts) & ~special
    for text_start, content_start, length in rendering.turns:
        # A token may reach into the white space that the template puts before a turn, not into its words.
        begins_inside = (starts >= text_start) | (trimmed[text_start] <= starts)
        inside = has_content & begins_inside & (solid_ends > text_start) & (solid_ends <= text_start + length)
        result[inside] = solid_ends[inside] - text_start + content_start
    return result


def align(a: Tokens, b: Tokens) -> Pairs:
    """The pairs of a document's tokens."""
    [pairs] = align_all([a], [b])
    return pairs


def align_all(a: Sequence[Tokens], b: Sequence[Tokens]) -> list[Pairs]:
    """The pairs of each of several documents, looked up for all of them at once in one table of characters."""
    # A last end of -1 leaves room for a document without tokens.
    ends_a, ends_b = (np.concatenate([*(tokens.content_ends for tokens in side), [-1]]) for side in (a, b))
    first_a, first_b = (np.cumsum([0, *(len(tokens.content_ends) for tokens in side)]) for side in (a, b))
    room = 2 + np.maximum(np.maximum.reduceat(ends_a, first_a[:-1]), np.maximum.reduceat(ends_b, first_b[:-1]))
    origin = np.cumsum(room) - room + 1  # where a document's end 0 lies in the table; before it, its end -1
    at_a, at_b = ends_a[:-1], ends_b[:-1]
    at_a += np.repeat(origin, np.diff(first_a))
    at_b += np.repeat(origin, np.diff(first_b))
    table = np.full(room.sum(), -1, dtype=np.int32)
    table[at_a] = np.arange(len(at_a))  # of the tokens that share an end, the last one stays
    table[origin - 1] = -1
    index_b = np.flatnonzero(table[at_b] >= 0)
    found = at_b[index_b]
    last = np.append(found[1:] != found[:-1], True)[: len(found)]
    index_b, found = index_b[last], found[last]
    index_a = table[found].astype(np.int64)
    cuts = np.append(np.searchsorted(found, origin), len(found))
    counts = np.diff(cuts)
    index_a -= np.repeat(first_a[:-1], counts)
    index_b -= np.repeat(first_b[:-1], counts)
    found -= np.repeat(origin, counts)
    return [Pairs(index_a[i:j], index_b[i:j], found[i:j]) for i, j in pairwise(cuts.tolist())]


def token_texts(text: str, tokens: Tokens) -> list[str]:
    """The text of each token, white space included, so that together they give `text` back.

    Of the tokens that share one character (its bytes), the last one shows it and the others are empty.
    """
    until = text_ends(tokens)
    since = np.concatenate([[0], until])
    return [text[start:end] for start, end in zip(since.tolist(), until.tolist(), strict=False)]


def text_ends(tokens: Tokens) -> Ints:
    """Where the text that `token_texts` gives each token ends, (length,)."""
    completes = np.append(tokens.ends[1:] != tokens.ends[:-1], True)[: len(tokens.ends)]
    return np.maximum.accumulate(np.where(completes, tokens.ends, 0))


@cache
def _fold(character: str) -> str:
    """A character for comparison: nothing for white space, several for one that Unicode takes apart."""
    return "".join(unicodedata.normalize("NFKD", character).casefold().split())
