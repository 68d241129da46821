"""Pairing by characters against the paper's greedy search, and tokenising and pairing as a whole.

Both begin with what tokenising gives them: the search with decoded tokens, pairing with the ends of their contents. So
what is measured is neither the decoding of tokens nor the reading of the tokenizer's offsets. White space is another
matter: the search takes it out as it goes, while the ends are found without it. Two more figures even that out: the
search on tokens without white space, and pairing that first finds the ends from the offsets, which are arrays by then.
Times are those of one processor, whatever else it does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from transformers import PreTrainedTokenizerBase

from dfc import alignment, corpus, demo, models
from dfc.alignment import Tokens
from dfc.bench.figures import Figure, milliseconds
from dfc.config import SIDES, CorpusConfig, SourceConfig
from dfc.corpus import Document

_PROMPTS = Path(__file__).parent.parent.parent / "data" / "prompts"
_MAX_TOKENS = 512
_ROUNDS = 15
_TARGET = 1 / 50
_GENERATED = 200  # documents
_WORDS = 250  # of each
_HARD_SHARE = 0.001  # of its words
_HARD = ("“smart”", "└─┐", "👩‍👩‍👧", "e\u0301", "שלום", "مرحبا", "新华社北京电", "\r\n\r\n", "\x00", "—")

Tokenizers = tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase]


def run() -> list[Figure]:
    """Rates on the shipped prompts and on generated texts, under the tokenizers of the demo's models.

    Raises:
        UserError: if these are not there.
    """
    chosen = demo.settings().models
    a, b = (models.load_tokenizer(chosen.side(side)) for side in SIDES)
    return measure((a, b), prompts() + generated(random.Random(0)))


def prompts() -> list[Document]:
    """What is said in the shipped chats, as plain texts: greedy search knows no templates."""
    source = SourceConfig(name="prompts", path=str(_PROMPTS))
    chats = corpus.open_sources(CorpusConfig(sources=(source,)))["prompts"].documents
    return [corpus.plain("\n\n".join(turn.content for turn in chat.turns)) for chat in chats]


def generated(draw: random.Random) -> list[Document]:
    """English words of the prompts in disorder, and a few hard ones."""
    words = [word for document in prompts() for word in document.turns[0].content.split() if word.isascii()]

    def text() -> str:
        return " ".join(draw.choice(_HARD if draw.random() < _HARD_SHARE else words) for _ in range(_WORDS))

    return [corpus.plain(text()) for _ in range(_GENERATED)]


def measure(tokenizers: Tokenizers, documents: list[Document]) -> list[Figure]:
    """Rates on these documents, all plain texts; against greedy search on those that it aligns whole."""
    pieces = [_pieces(documents, tokenizer) for tokenizer in tokenizers]
    pairs = alignment.align(*(_tokenize(documents, tokenizer) for tokenizer in tokenizers))
    lengths = [len(greedy(*both)) for both in zip(*pieces, strict=True)]
    whole = np.flatnonzero(np.diff(pairs.first) == lengths).tolist()
    texts, given_up = [documents[number] for number in whole], len(documents) - len(whole)
    pieces_a, pieces_b = ([side[number] for number in whole] for side in pieces)
    solid_a, solid_b = ([list(map(_without_space, piece)) for piece in side] for side in (pieces_a, pieces_b))
    a, b = (_tokenize(texts, tokenizer) for tokenizer in tokenizers)
    renderings = [corpus.render(text, tokenizers[0]) for text in texts]  # plain texts are alike to all tokenizers
    special_a, special_b = (
        np.isin(side.ids, tokenizer.all_special_ids) for side, tokenizer in zip((a, b), tokenizers, strict=True)
    )
    times = milliseconds(
        {
            "ours": lambda: alignment.align(a, b),
            "greedy": lambda: list(map(greedy, pieces_a, pieces_b)),
            "prepared": lambda: [greedy(*both, normalise=str) for both in zip(solid_a, solid_b, strict=True)],
            "contents": lambda: [
                alignment.content_ends(renderings, side.first, side.starts, side.ends, special)
                for side, special in ((a, special_a), (b, special_b))
            ],
            "stage": lambda: alignment.align(*(_tokenize(texts, tokenizer) for tokenizer in tokenizers)),
        },
        _ROUNDS,
        clock=time.process_time,
    )
    times["offsets"] = times["contents"] + times["ours"]
    rate = {name: (len(a.ids) + len(b.ids)) / time for name, time in times.items()}
    of_greedy, of_prepared = times["ours"] / times["greedy"], times["ours"] / times["prepared"]
    from_offsets = times["offsets"] / times["greedy"]
    return [
        Figure("greedy search, tokens a second", rate["greedy"], "k"),
        Figure("the same, white space taken out before", rate["prepared"], "k"),
        Figure("pairing, tokens a second", rate["ours"], "k", "greedy search", of_greedy, _TARGET),
        Figure("pairing, beside the prepared search", rate["ours"], "k", "greedy search, prepared", of_prepared),
        Figure("pairing, finding contents' ends first", rate["offsets"], "k", "greedy search", from_offsets),
        Figure("tokenising and pairing, tokens a second", rate["stage"], "k"),
        Figure("documents greedy search gives up on", given_up, "", "all documents", given_up / len(documents)),
    ]


def _without_space(text: str) -> str:
    return "".join(text.split())


def greedy(
    pieces_a: list[str], pieces_b: list[str], normalise: Callable[[str], str] = _without_space
) -> list[tuple[int, int]]:
    """Algorithm 1 of the paper: two pointers over decoded tokens, growing the shorter window until both texts agree.

    Where the windows never agree, the pairs end. It is what pairing by characters is measured and tested against.

    Args:
        pieces_a, pieces_b: text of each token; nothing for a special one.
        normalise: makes texts comparable: takes white space out, unless it was taken out of all pieces before.
    """
    pairs: list[tuple[int, int]] = []
    at_a = at_b = 0
    while True:
        while at_a < len(pieces_a) and not normalise(pieces_a[at_a]):
            at_a += 1
        while at_b < len(pieces_b) and not normalise(pieces_b[at_b]):
            at_b += 1
        if at_a == len(pieces_a) or at_b == len(pieces_b):
            return pairs
        window_a, window_b = pieces_a[at_a], pieces_b[at_b]
        while (text_a := normalise(window_a)) != (text_b := normalise(window_b)):
            if len(text_a) <= len(text_b):
                at_a += 1
                if at_a == len(pieces_a):
                    return pairs
                window_a += pieces_a[at_a]
            else:
                at_b += 1
                if at_b == len(pieces_b):
                    return pairs
                window_b += pieces_b[at_b]
        pairs.append((at_a, at_b))
        at_a, at_b = at_a + 1, at_b + 1


def decoded(tokens: Tokens, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text of each token alone, nothing for a special one."""
    special = set(tokenizer.all_special_ids)
    return ["" if token in special else tokenizer.decode([token]) for token in tokens.ids.tolist()]


def _pieces(documents: list[Document], tokenizer: PreTrainedTokenizerBase) -> list[list[str]]:
    """The same for each of several documents."""
    tokens = _tokenize(documents, tokenizer)
    texts = decoded(tokens, tokenizer)
    return [texts[start:end] for start, end in pairwise(tokens.first.tolist())]


def _tokenize(documents: list[Document], tokenizer: PreTrainedTokenizerBase) -> Tokens:
    return alignment.tokenize([corpus.render(document, tokenizer) for document in documents], tokenizer, _MAX_TOKENS)
