"""Pairing tokens: against the paper's greedy search, and properties that hold for any text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from dfc import corpus, models
from dfc.alignment import Pairs, Tokens, align, content_ends, token_texts, tokenize
from dfc.config import ModelConfig
from dfc.corpus import Document, Rendering, Turn
from tests import tiny

Tokenizers = tuple[PreTrainedTokenizerFast, PreTrainedTokenizerFast]

HARD = "新华社北京１月电 👩‍👩‍👧 e\u0301 שלום — “smart” ┌─┐\r\nNUL\x00 end \u200b \ufeff ｆｕｌｌ　ｗｉｄｔｈ"
TEXTS = st.text(
    alphabet=st.one_of(
        st.sampled_from(
            list("abc the river.\n\t \r 北京记者日电，。“”’—é\u0301👍🏽👩\u200d👧שלוםمرحبا┌─┐\x00\u00a0\u3000_=()'\"")
        ),
        st.characters(exclude_categories=("Cs",)),
    ),
    max_size=80,
)


@pytest.fixture(scope="module")
def tokenizers(tiny_models: tuple[Path, Path]) -> Tokenizers:
    first, second = (models.load_tokenizer(ModelConfig(source=str(folder), layer=0)) for folder in tiny_models)
    return first, second


def both(document: Document, tokenizers: Tokenizers) -> tuple[list[Rendering], list[Tokens], Pairs]:
    renderings = [corpus.render(document, tokenizer) for tokenizer in tokenizers]
    tokens = [tokenize([r], t, 10_000)[0] for r, t in zip(renderings, tokenizers, strict=True)]
    return renderings, tokens, align(*tokens)


def greedy(pieces_a: list[str], pieces_b: list[str]) -> list[tuple[int, int]]:
    """Algorithm 1 of the paper: two pointers over decoded tokens, growing the shorter window until both texts agree.

    Raises:
        ValueError: where the windows never agree.
    """
    pairs = []
    at_a = at_b = 0

    def skip(pieces: list[str], at: int) -> int:
        while at < len(pieces) and not pieces[at].strip():
            at += 1
        return at

    while True:
        at_a, at_b = skip(pieces_a, at_a), skip(pieces_b, at_b)
        if at_a == len(pieces_a) or at_b == len(pieces_b):
            return pairs
        window_a, window_b = pieces_a[at_a], pieces_b[at_b]
        while "".join(window_a.split()) != "".join(window_b.split()):
            if len("".join(window_a.split())) <= len("".join(window_b.split())):
                at_a += 1
                if at_a == len(pieces_a):
                    raise ValueError(window_a)
                window_a += pieces_a[at_a]
            else:
                at_b += 1
                if at_b == len(pieces_b):
                    raise ValueError(window_b)
                window_b += pieces_b[at_b]
        pairs.append((at_a, at_b))
        at_a, at_b = at_a + 1, at_b + 1


def decoded(tokens: Tokens, tokenizer: PreTrainedTokenizerFast) -> list[str]:
    return ["" if i in tokenizer.all_special_ids else tokenizer.decode([i]) for i in tokens.ids.tolist()]


@pytest.mark.parametrize("number", range(30))
def test_equals_the_papers_greedy_search(number: int, tokenizers: Tokenizers) -> None:
    """On texts of whole characters; greedy compares decoded strings, which bytes of a character break."""
    source, text = tiny.texts(seed=5)[number]
    if source == "chinese":
        text = f"{tiny.CODE} the river {number}"
    _, tokens, pairs = both(corpus.plain(text), tokenizers)
    expected = greedy(*(decoded(t, tokenizer) for t, tokenizer in zip(tokens, tokenizers, strict=True)))
    assert list(zip(pairs.index_a.tolist(), pairs.index_b.tolist(), strict=True)) == expected
    assert len(expected) > 15


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_pairs_of_any_text(text: str, tokenizers: Tokenizers) -> None:
    renderings, tokens, pairs = both(corpus.plain(text), tokenizers)
    assert np.all(np.diff(pairs.index_a) > 0)
    assert np.all(np.diff(pairs.index_b) > 0)
    assert np.all(np.diff(pairs.ends) > 0)
    for side, index in zip(tokens, (pairs.index_a, pairs.index_b), strict=True):
        assert side.content_ends[index].tolist() == pairs.ends.tolist()
    for rendering, side in zip(renderings, tokens, strict=True):
        shown = token_texts(rendering.text, side)
        assert len(shown) == len(side.ids)
        assert "".join(shown) == rendering.text[: side.ends.max(initial=0)]


@settings(max_examples=150, deadline=None)
@given(text=TEXTS)
def test_both_prefixes_decode_to_the_same_content(text: str, tokenizers: Tokenizers) -> None:
    _, tokens, pairs = both(corpus.plain(text), tokenizers)
    for at in range(0, len(pairs.ends), 7):
        prefixes = [
            tokenizer.decode(side.ids[: index[at] + 1], skip_special_tokens=True, clean_up_tokenization_spaces=False)
            for tokenizer, side, index in zip(tokenizers, tokens, (pairs.index_a, pairs.index_b), strict=True)
        ]
        first, second = ("".join(prefix.split()) for prefix in prefixes)
        assert first == second == "".join(text[: pairs.ends[at]].split())


def test_every_word_of_hard_texts_is_paired(tokenizers: Tokenizers) -> None:
    """Where greedy gives up, offsets pair at least once in every word."""
    _, _, pairs = both(corpus.plain(HARD), tokenizers)
    ends = set(pairs.ends.tolist())
    position = 0
    for word in HARD.split():
        position = HARD.index(word, position) + len(word)
        assert position in ends, word


def test_chats_are_paired_in_what_was_said(tokenizers: Tokenizers) -> None:
    said = ("You are kind.", "Will it rain in 北京?", "user assistant\n<b>Yes.</b>  ")
    roles = ("system", "user", "assistant")
    document = Document("chat", tuple(Turn(role, text) for role, text in zip(roles, said, strict=True)))
    renderings, tokens, pairs = both(document, tokenizers)
    assert "<|im_start|>" in renderings[0].text
    assert renderings[1].text.startswith("System: You")
    content = "".join(said)
    for rendering, side, index in zip(renderings, tokens, (pairs.index_a, pairs.index_b), strict=True):
        for start, content_start, length in rendering.turns:
            assert rendering.text[start : start + length] == content[content_start : content_start + length]
        inside = [
            any(start < side.ends[i] and side.starts[i] < start + length for start, _, length in rendering.turns)
            for i in index
        ]
        assert all(inside)
    position = 0
    for word in ("You", "are", "kind.", "Will", "it", "rain", "in", "北京?", "user", "assistant", "<b>Yes.</b>"):
        position = content.index(word, position) + len(word)
        assert position in pairs.ends


def test_content_ends_by_hand() -> None:
    #                    0123456789012345
    rendering = Rendering("<u>\nfoo bar\n</u>", ((4, 100, 7),), add_special_tokens=False)
    spans = [(0, 3), (3, 4), (4, 7), (7, 12), (12, 16), (3, 7), (2, 7), (4, 13)]
    starts, ends = (np.array(column) for column in zip(*spans, strict=True))
    special = np.array([True, *[False] * 7])
    found = content_ends(rendering, starts, ends, special).tolist()
    # template, white space, `foo`, ` bar\n`, template, `\nfoo` (white space before it only), `>\nfoo`, `foo bar\n<`
    assert found == [-1, -1, 103, 107, -1, 103, -1, -1]


def test_bytes_of_one_character_share_its_end(tokenizers: Tokenizers) -> None:
    [tokens] = tokenize([corpus.render(corpus.plain("a 👍"), tokenizers[0])], tokenizers[0], 100)
    assert tokens.content_ends.tolist()[-1] == 3
    assert token_texts("a 👍", tokens)[-1].endswith("👍")
    assert len(tokens.ids) > 3
