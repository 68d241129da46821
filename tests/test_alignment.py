"""Pairing tokens: against the paper's greedy search, and properties that hold for any text."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models
from tokenizers.trainers import BpeTrainer
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from dfc import corpus, models
from dfc.alignment import Pairs, Tokens, align, content_ends, ends_within, search_offsets, token_texts, tokenize
from dfc.bench.align import decoded, greedy
from dfc.config import ModelConfig
from dfc.corpus import Document, Rendering, Turn
from tests import tiny

Tokenizers = tuple[PreTrainedTokenizerBase, PreTrainedTokenizerBase]

HARD = "新华社北京１月电 👩‍👩‍👧 e\u0301 שלום — “smart” ┌─┐\r\nNUL\x00 end \u200b \ufeff ｆｕｌｌ　ｗｉｄｔｈ"
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            list("abc the river.\n\t \r 北京记者日电，。“”’—é\u0301👍🏽👩\u200d👧שלוםمرحبا┌─┐\x00\u00a0\u3000_=()'\"")
        ),
        st.sampled_from(["\r\n", "\ufffd", "ﬁ", "①", "\ud800", "\udc8d", "👩\u200d👩\u200d👧", "🇩🇪"]),
        st.characters(),
    ),
    max_size=80,
).map(lambda pieces: corpus.clean("".join(pieces)))
KINDS = ("byte-level", "metaspace", "slow")


@pytest.fixture(scope="module")
def tokenizer_of(tokenizers: Tokenizers) -> dict[str, PreTrainedTokenizerBase]:
    return dict(zip(KINDS, (*tokenizers, ByT5Tokenizer()), strict=True))


@pytest.fixture(scope="module")
def tokenizers(tiny_models: tuple[Path, Path]) -> Tokenizers:
    first, second = (models.load_tokenizer(ModelConfig(source=str(folder), layer=0)) for folder in tiny_models)
    return first, second


def both(document: Document, tokenizers: Tokenizers) -> tuple[list[Rendering], list[Tokens], Pairs]:
    renderings = [corpus.render(document, tokenizer) for tokenizer in tokenizers]
    tokens = [tokenize([r], t, 10_000) for r, t in zip(renderings, tokenizers, strict=True)]
    return renderings, tokens, align(*tokens)


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


TWO_KINDS = pytest.mark.parametrize("kinds", [KINDS[:2], KINDS[1:], KINDS[::2], KINDS[:0:-1]], ids="-".join)


@TWO_KINDS
@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
def test_pairs_of_any_text(text: str, kinds: tuple[str, str], tokenizer_of: dict[str, PreTrainedTokenizerBase]) -> None:
    tokenizers = tokenizer_of[kinds[0]], tokenizer_of[kinds[1]]
    renderings, tokens, pairs = both(corpus.plain(text), tokenizers)
    assert not any(side.lost.any() for side in tokens)
    assert len(pairs.ends) > 0 or not text
    assert np.all(np.diff(pairs.index_a) > 0)
    assert np.all(np.diff(pairs.index_b) > 0)
    assert np.all(np.diff(pairs.ends) > 0)
    for side, index in zip(tokens, (pairs.index_a, pairs.index_b), strict=True):
        assert side.content_ends[index].tolist() == pairs.ends.tolist()
    for rendering, side in zip(renderings, tokens, strict=True):
        shown = token_texts(rendering.text, side)
        assert len(shown) == len(side.ids)
        assert "".join(shown) == rendering.text[: side.ends.max(initial=0)]


@TWO_KINDS
@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_both_prefixes_decode_to_the_same_content(
    text: str, kinds: tuple[str, str], tokenizer_of: dict[str, PreTrainedTokenizerBase]
) -> None:
    tokenizers = tokenizer_of[kinds[0]], tokenizer_of[kinds[1]]
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
    first = np.array([0, 5, 6, 7, 8])  # the last three are documents of their own
    found = content_ends([rendering] * 4, first, starts, ends, special).tolist()
    # template, white space, `foo`, ` bar\n`, template, `\nfoo` (white space before it only), `>\nfoo`, `foo bar\n<`
    assert found == [-1, -1, 103, 107, -1, 103, -1, -1]


def test_bytes_of_one_character_share_its_end(tokenizers: Tokenizers) -> None:
    tokens = tokenize([corpus.render(corpus.plain("a 👍"), tokenizers[0])], tokenizers[0], 100)
    assert tokens.content_ends.tolist()[-1] == 3
    assert token_texts("a 👍", tokens)[-1].endswith("👍")
    assert len(tokens.ids) > 3


def test_a_slow_tokenizer_pairs_every_character(tokenizers: Tokenizers) -> None:
    """One token a byte: whatever the other tokenizer ends at is paired."""
    _, tokens, pairs = both(corpus.plain(HARD), (ByT5Tokenizer(), tokenizers[1]))
    ends = tokens[1].content_ends
    assert pairs.ends.tolist() == sorted({*ends[ends >= 0].tolist()})
    position = HARD.index("京") + 1
    [last] = pairs.index_a[pairs.ends == position].tolist()
    assert ByT5Tokenizer().decode(tokens[0].ids[: last + 1]) == HARD[:position]


def test_a_slow_tokenizer_reads_chats(tokenizers: Tokenizers) -> None:
    slow = ByT5Tokenizer()
    document = Document("chat", (Turn("user", "Will it rain in 北京?"), Turn("assistant", "Yes.")))
    _, tokens, pairs = both(document, (slow, tokenizers[0]))
    assert not tokens[0].lost.any()
    assert {len("Will it rain in 北京?"), len("Will it rain in 北京?Yes.")} <= set(pairs.ends.tolist())
    assert int((tokens[0].content_ends >= 0).sum()) == len("Willitrainin北京?Yes.")


def bytes_of(ids: list[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@pytest.mark.parametrize(
    ("text", "pieces", "spans", "lost"),
    [
        ("a river", ["a", " ", "river"], [(0, 1), (1, 2), (2, 7)], False),
        ("a  b", ["a", " b"], [(0, 1), (1, 4)], False),  # one space was lost
        ("Ａ ﬁx", ["a", "f", "ix"], [(0, 1), (1, 4), (1, 4)], False),  # half a ligature is not a character
        ("é", ["e", "\u0301"], [(0, 1), (0, 1)], False),
        ("a<s>b", ["<s>", "a", "<s>", "b", "</s>"], [(0, 0), (0, 1), (1, 4), (4, 5), (0, 0)], False),
        ("a b c", ["a", "x", "c"], [(0, 1), (0, 0), (0, 0)], True),
        ("a b c", ["a", "<unk>", "c"], [(0, 1), (0, 0), (0, 0)], True),
        ("abc", ["a"], [(0, 1)], False),  # cut
        ("", ["<s>"], [(0, 0)], False),
    ],
)
def test_offsets_by_search(text: str, pieces: list[str], spans: list[tuple[int, int]], lost: bool) -> None:
    special = [piece.startswith("<") for piece in pieces]
    found, gave_up = search_offsets(
        text, list(range(len(pieces))), special, lambda ids: "".join(pieces[number] for number in ids)
    )
    assert found == spans
    assert gave_up == lost


@pytest.mark.parametrize("text", ["a👍é", "\ufffd", "\ufffd\ufffd👍", "👍\ufffda\ufffd"])
def test_bytes_that_show_as_replacement_characters(text: str) -> None:
    ids = list(text.encode())
    found, lost = search_offsets(text, ids, [False] * len(ids), bytes_of)
    expected = [(number, number + 1) for number, character in enumerate(text) for _ in character.encode()]
    assert found == expected
    assert not lost


def test_a_text_cut_within_a_character() -> None:
    found, lost = search_offsets("a👍", list("a👍".encode())[:3], [False] * 3, bytes_of)
    assert found == [(0, 1), (0, 0), (0, 0)]
    assert not lost


def test_greedy_search_by_hand() -> None:
    assert greedy(["", "foo", " bar", "baz"], ["fo", "o", " ", "barbaz", "\n"]) == [(1, 1), (3, 3)]
    assert greedy(["a", "\ufffd", "\ufffd", "b"], ["a", "“", "b"]) == [(0, 0)]  # gives up
    assert greedy(["a"], []) == []


def test_documents_are_aligned_together_as_alone(tokenizers: Tokenizers) -> None:
    texts = ["", HARD, "the river", " ", "👍", *(text for _, text in tiny.texts(6)), ""]
    a, b = (
        tokenize([corpus.render(corpus.plain(text), tokenizer) for text in texts], tokenizer, 50)
        for tokenizer in tokenizers
    )
    together = align(a, b)
    assert a.first[0] == b.first[0] == together.first[0] == 0
    assert len(a.lost) == len(b.lost) == len(together.first) - 1 == len(texts)
    for number, text in enumerate(texts):
        alone = [tokenize([corpus.render(corpus.plain(text), t)], t, 50) for t in tokenizers]
        last_a, last_b = (
            {end: index for index, end in enumerate(side.content_ends.tolist()) if end >= 0} for side in alone
        )
        expected = [(last_a[end], last_b[end], end) for end in last_a if end in last_b]
        whole = slice(*together.first[number : number + 2])
        for pairs, own in ((together, whole), (align(*alone), slice(None))):
            columns = (pairs.index_a, pairs.index_b, pairs.ends)
            assert list(zip(*(column[own].tolist() for column in columns), strict=True)) == expected
    assert len(align(*(tokenize([], tokenizer, 50) for tokenizer in tokenizers)).ends) == 0


def test_a_token_that_ends_inside_a_character_ends_no_content() -> None:
    """`ab` and half of `é`, the other half and `c`, `d`; then the same cut after the first."""
    starts, ends = np.array([0, 2, 4, 0]), np.array([3, 4, 5, 3])
    special = np.zeros(4, dtype=np.bool_)
    renderings = [corpus.render(corpus.plain("abécd"), tiny.byte_level_tokenizer())] * 2
    assert ends_within(np.array([0, 3, 4]), starts, ends).tolist() == [True, False, False, False]
    assert content_ends(renderings, np.array([0, 3, 4]), starts, ends, special).tolist() == [-1, 4, 5, 3]


SENTENCES = {
    "Hebrew": "הספר שקראתי אתמול היה מעניין מאוד, ואני ממליץ עליו לכל מי שאוהב סיפורים על העיר הישנה.",
    "Burmese": "မနေ့က ကျွန်တော် ဖတ်ခဲ့သော စာအုပ်သည် အလွန် စိတ်ဝင်စားစရာ ကောင်းသည်။ မြို့ဟောင်းအကြောင်း ပုံပြင်များ ဖြစ်သည်။",
    "Korean": "어제 읽은 책은 아주 재미있어서 옛 도시 이야기를 좋아하는 모든 사람에게 추천하고 싶습니다.",
    "Georgian": "გუშინ წაკითხული წიგნი ძალიან საინტერესო იყო და ყველას ვურჩევ, ვისაც ძველი ქალაქის ამბები უყვარს.",
}
_BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}


def byte_bpe(text: str, merges: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on a text and on words of its letters, some of which are frequent."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=256 + merges, initial_alphabet=alphabet, show_progress=False)
    draw = random.Random(merges)
    letters = sorted({letter for letter in text if letter.isalpha()}, key=lambda letter: (-text.count(letter), letter))
    weights = [1.0 if place < 3 else 0.1 for place in range(len(letters))]  # a frequent one takes a rare one's byte
    words = [text, *("".join(draw.choices(letters, weights, k=6)) for _ in range(400))]
    tokenizer.train_from_iterator(words, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def by_bytes(text: str, tokens: Tokens, tokenizer: PreTrainedTokenizerBase) -> dict[int, int]:
    """The last token that ends at each character, by counting bytes; white space at the end of a token aside."""
    boundaries = {len(text[:count].encode()): count for count in range(len(text) + 1)}
    found, seen, before = {}, 0, 0
    for number, token in enumerate(tokens.ids.tolist()):
        seen += len(tokenizer.convert_ids_to_tokens(token))
        if seen in boundaries:
            piece = text[before : boundaries[seen]]
            if piece.strip():
                found[before + len(piece.rstrip())] = number
            before = boundaries[seen]
    return found


def once_complete(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The text of each token; that of one which ends inside a character comes with the token that completes it."""
    pieces, held = [], b""
    for token in ids:
        held += bytes(_BYTES[letter] for letter in tokenizer.convert_ids_to_tokens(token))
        try:
            pieces.append(held.decode())
            held = b""
        except UnicodeDecodeError:
            pieces.append("")
    return pieces


@pytest.fixture(scope="module", params=SENTENCES)
def bpes(request: pytest.FixtureRequest) -> tuple[str, Tokenizers]:
    text = SENTENCES[request.param]
    return text, (byte_bpe(text, 40), byte_bpe(text, 100))


def test_such_tokens_occur_in_many_scripts(bpes: tuple[str, Tokenizers]) -> None:
    sentence, tokenizers = bpes
    words = random.Random(0).choices([letter for letter in sentence if letter.isalpha()], k=600)
    _, tokens, _ = both(corpus.plain("".join(words)), tokenizers)
    for side in tokens:
        within = ends_within(side.first, side.starts, side.ends)
        more = side.ends - side.starts > 1  # a character, and a part of the next one
        assert (within & more).sum() >= 3
        assert (side.content_ends[within] == -1).all()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pairs_end_with_whole_characters(data: st.DataObject, bpes: tuple[str, Tokenizers]) -> None:
    sentence, tokenizers = bpes
    letters = st.one_of(st.sampled_from(sentence), st.sampled_from("a .\n👍é"), st.sampled_from(sentence.split()))
    text = corpus.clean("".join(data.draw(st.lists(letters, max_size=60))))
    _, tokens, pairs = both(corpus.plain(text), tokenizers)
    last_a, last_b = (by_bytes(text, side, tokenizer) for side, tokenizer in zip(tokens, tokenizers, strict=True))
    expected = [(last_a[end], last_b[end]) for end in last_a if end in last_b]
    assert list(zip(pairs.index_a.tolist(), pairs.index_b.tolist(), strict=True)) == expected
    pieces = (once_complete(side.ids.tolist(), t) for side, t in zip(tokens, tokenizers, strict=True))
    assert expected == greedy(*pieces)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_text_that_is_cut_inside_a_character_is_paired_before_it(
    data: st.DataObject, bpes: tuple[str, Tokenizers]
) -> None:
    text, tokenizers = bpes
    rendering = corpus.render(corpus.plain(text), tokenizers[0])
    whole = [tokenize([rendering], tokenizer, 10_000) for tokenizer in tokenizers]
    lengths = [data.draw(st.integers(1, len(side.ids))) for side in whole]
    cut = [tokenize([rendering], t, length) for t, length in zip(tokenizers, lengths, strict=True)]
    for side, short, length in zip(whole, cut, lengths, strict=True):
        assert short.content_ends.tolist() == side.content_ends[:length].tolist()
        assert text.startswith("".join(token_texts(text, short)))
