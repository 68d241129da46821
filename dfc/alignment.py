"""Pair the tokens of documents under two tokenizers.

Two tokens are a pair when their content ends at the same character of the document:
these are the last tokens of the shortest windows with equal text, which the paper's
greedy two-pointer search (Algorithm 1) finds by comparing decoded strings. Character
offsets give them in linear time, and no character can break them. Where a tokenizer gives
no offsets, its tokens are searched in the text, window by window.

Documents lie one after another in flat arrays: nothing is done once a document that can be done once for all.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, groupby

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from dfc.corpus import Rendering

Ints = npt.NDArray[np.int64]
_CUT = "\N{REPLACEMENT CHARACTER}"  # what most tokenizers show for some of a character's bytes; others show nothing
_NOWHERE = 1 << 62  # behind any text
_IS_SPACE = np.array([chr(code).isspace() for code in range(0x10000)])  # there is none beyond


@dataclass(frozen=True)
class Tokens:
    """Documents under one tokenizer, one after another.

    Attributes:
        ids: token ids, (tokens,).
        starts, ends: characters of its document's rendered text that each token covers, (tokens,).
        content_ends: where each token's content ends in its document's content, (tokens,);
            -1 for tokens without content: white space, template, special tokens.
        first: where each document's tokens begin and, last of all, where all end, (documents + 1,).
        lost: in which documents the search for offsets gave up, (documents,); tokens from there on are without content.
    """

    ids: Ints
    starts: Ints
    ends: Ints
    content_ends: Ints
    first: Ints
    lost: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Paired tokens of documents, one document after another.

    Attributes:
        index_a, index_b: tokens of a document, counted from its first, (pairs,); increasing in each document.
        ends: where their content ends in the document's content, (pairs,).
        first: where each document's pairs begin and, last of all, where all end, (documents + 1,).
    """

    index_a: Ints
    index_b: Ints
    ends: Ints
    first: Ints


def tokenize(renderings: Sequence[Rendering], tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> Tokens:
    """Tokenise documents with one tokenizer, each cut to `max_tokens`."""
    ids: list[list[int]] = []
    offsets: list[list[tuple[int, int]]] = []
    beyond: list[int] = []
    lost: list[bool] = []
    special = set(tokenizer.all_special_ids)
    decode = partial(tokenizer.decode, clean_up_tokenization_spaces=False)
    for add_special_tokens, group in groupby(renderings, key=lambda rendering: rendering.add_special_tokens):
        texts = [rendering.text for rendering in group]
        encodings = tokenizer(
            texts,
            add_special_tokens=add_special_tokens,
            return_attention_mask=False,
            truncation=True,
            max_length=max_tokens,
        )
        ids += encodings["input_ids"]
        if tokenizer.is_fast:
            offsets += [encoding.offsets for encoding in encodings.encodings]
            beyond += map(_beyond_the_cut, encodings.encodings)
            lost += [False] * len(texts)
            continue
        for text, own in zip(texts, encodings["input_ids"], strict=True):
            covered, gave_up = search_offsets(text, own, [token in special for token in own], decode)
            offsets.append(covered)
            beyond.append(_NOWHERE)
            lost.append(gave_up)
    first = np.cumsum([0, *map(len, ids)])
    flat = np.fromiter(chain.from_iterable(ids), dtype=np.int64, count=first[-1])
    spans = np.fromiter(chain.from_iterable(chain.from_iterable(offsets)), dtype=np.int64, count=2 * first[-1])
    starts, ends = spans[::2].copy(), spans[1::2].copy()
    is_special = np.isin(flat, list(special))
    solid_ends = content_ends(renderings, first, starts, ends, is_special, np.array(beyond, dtype=np.int64))
    return Tokens(flat, starts, ends, solid_ends, first, np.array(lost, dtype=np.bool_))


def _beyond_the_cut(encoding: Encoding) -> int:
    """The first character of what a text was cut by, _NOWHERE if it was not."""
    left = encoding.overflowing[0].offsets if encoding.overflowing else []
    return next((start for start, end in left if end > start), _NOWHERE)


def search_offsets(
    text: str, ids: list[int], special: list[bool], decode: Callable[[list[int]], str]
) -> tuple[list[tuple[int, int]], bool]:
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
        start and end of each token, and whether the search gave up because a window can never agree with the text;
        tokens from there on cover nothing.
    """
    offsets = [(0, 0)] * len(ids)
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
        offsets[first : last + 1] = [(covered, until)] * (last + 1 - first)
        first, at, covered = last + 1, end, until
    return offsets, False


def content_ends(
    renderings: Sequence[Rendering],
    first: Ints,
    starts: Ints,
    ends: Ints,
    special: npt.NDArray[np.bool_],
    beyond: Ints | None = None,
) -> Ints:
    """Where each token's content ends in its document's content, (tokens,); -1 where it has none.

    White space at a token's end is no content: `foo` and `foo\\n` end at the same character. A token that ends inside a
    character ends no content: the one with the rest of it does. A token may reach into the white space that the
    template puts before a turn, not into its words.

    Args:
        renderings: the documents.
        first, starts, ends: as in Tokens.
        special: which tokens are special ones, (tokens,).
        beyond: the first character of what each document was cut by, (documents,); None: none was cut.
    """
    text = "".join(rendering.text for rendering in renderings)
    lengths = np.array([len(rendering.text) for rendering in renderings], dtype=np.int64)
    origins = np.cumsum(lengths) - lengths
    origin = np.repeat(origins, np.diff(first))
    begins = origin + starts
    solid_ends = _without_space(text, begins, origin + ends)
    turns = [
        (start + text_start, start + text_start + length, content_start)
        for start, rendering in zip(origins.tolist(), renderings, strict=True)
        for text_start, content_start, length in rendering.turns
    ]
    since, until, content = np.array([(0, 0, 0), *turns]).T.copy()  # the first, of no length, is before all others
    turn = np.searchsorted(since, solid_ends - 1, side="right") - 1
    inside = (solid_ends > begins) & (solid_ends <= until[turn]) & ~special
    for token in np.flatnonzero(inside & (begins < since[turn])).tolist():  # those that lie across the start of a turn
        inside[token] = not text[begins[token] : since[turn[token]]].strip()
    inside &= ~ends_within(first, starts, ends, beyond)
    return np.where(inside, solid_ends + (content - since)[turn], -1)


def ends_within(first: Ints, starts: Ints, ends: Ints, beyond: Ints | None = None) -> npt.NDArray[np.bool_]:
    """Which tokens end inside a character, (tokens,): those whose last character the next token shares.

    In byte-level vocabularies a token may begin with a character's last bytes and go on with others. By its offsets,
    each of the two covers the whole character.

    Args:
        first, starts, ends, beyond: as in `content_ends`.
    """
    solid = np.flatnonzero(ends > starts)  # special tokens cover nothing, wherever they stand
    document = np.repeat(np.arange(len(first) - 1), np.diff(first))[solid]
    last = np.append(document[1:] != document[:-1], True)[: len(solid)]
    following = np.append(starts[solid[1:]], 0)[: len(solid)]
    following[last] = _NOWHERE if beyond is None else beyond[document[last]]
    within = np.zeros(len(ends), dtype=np.bool_)
    within[solid] = following < ends[solid]
    return within


def _without_space(text: str, starts: Ints, ends: Ints) -> Ints:
    """The ends of these stretches of a text without the white space there; at their starts if there is nothing else."""
    codes = np.frombuffer(f"{text} ".encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
    ends = np.maximum(starts, ends)
    left = np.arange(len(ends))
    while len(left):
        left = left[(ends[left] > starts[left]) & _IS_SPACE[np.minimum(codes[ends[left] - 1], 0xFFFF)]]
        ends[left] -= 1
    return ends


def align(a: Tokens, b: Tokens) -> Pairs:
    """The pairs of the tokens of the same documents under two tokenizers.

    Each document has a stretch of one table of characters, in which A's tokens are entered where their content ends and
    B's are looked up.
    """
    room = 2 + np.maximum(_last_end(a), _last_end(b))
    origin = np.cumsum(room) - room + 1  # of a document's end 0; before it, there is a place for tokens without content
    at_a, at_b = (np.repeat(origin, np.diff(side.first)) + side.content_ends for side in (a, b))
    table = np.full(room.sum(), -1, dtype=np.int32)
    table[at_a] = np.arange(len(at_a), dtype=np.int32)  # of the tokens that share an end, the last one stays
    table[origin - 1] = -1
    matches = table[at_b]
    index_b = np.flatnonzero(matches >= 0)
    matches = matches[index_b]
    last = np.append(matches[1:] != matches[:-1], True)[: len(matches)]
    index_a, index_b = matches[last].astype(np.int64), index_b[last]
    ends = b.content_ends[index_b]
    first = np.searchsorted(index_b, b.first)
    index_a -= np.repeat(a.first[:-1], np.diff(first))
    index_b -= np.repeat(b.first[:-1], np.diff(first))
    return Pairs(index_a, index_b, ends, first)


def _last_end(tokens: Tokens) -> Ints:
    """The last end of content in each document; of one without tokens, any other's."""
    return np.maximum.reduceat(np.append(tokens.content_ends, -1), tokens.first[:-1])


def token_texts(text: str, tokens: Tokens) -> list[str]:
    """The text of each token of a single document, white space included, so that together they give `text` back.

    Of the tokens that share one character (its bytes), the last one shows it and the others are empty.
    """
    until = text_ends(tokens)
    since = np.concatenate([[0], until])
    return [text[start:end] for start, end in zip(since.tolist(), until.tolist(), strict=False)]


def text_ends(tokens: Tokens) -> Ints:
    """Where the text that `token_texts` gives each token ends in its document's rendered text, (tokens,)."""
    counts = np.diff(tokens.first)
    completes = np.append(tokens.ends[1:] != tokens.ends[:-1], True)[: len(tokens.ends)]
    completes[tokens.first[1:][counts > 0] - 1] = True  # the last of a document
    # Each document is lifted above the one before it, so that one running maximum serves all.
    lift = np.repeat(np.arange(len(counts)) * (1 + tokens.ends.max(initial=0)), counts)
    return np.maximum.accumulate(lift + np.where(completes, tokens.ends, 0)) - lift


@cache
def _fold(character: str) -> str:
    """A character for comparison: nothing for white space, several for one that Unicode takes apart."""
    return "".join(unicodedata.normalize("NFKD", character).casefold().split())
