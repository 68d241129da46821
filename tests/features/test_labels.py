"""Labels from words: what is cut out of a text, what is counted, and when nothing is said."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from dfc.corpus import Document, Turn, plain
from dfc.features import labels, passages
from dfc.features.passages import Corpus, Stretch, passage, stretch, units

TEXT = "the river carried a boat under an old bridge while people watched and rain fell over some quiet hills"
FILLER = TEXT.split()


def peak(around: Stretch) -> str:
    found = passage(around)
    return found.written(found.peak[0], found.peak[-1]) if found.peak else ""


def at(text: str, token: str) -> Stretch:
    """A stretch whose peak is the first place of `token`."""
    begin = text.index(token)
    return stretch(plain(text), begin, begin + len(token))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop, it’s 3.14!!", ["Don't", "stop", ",", "it’s", "3", ".", "14", "!!"]),
        ("def __init__(self):", ["def", "__init__", "(", "self", ")", ":"]),
        ("新华社 DAN电", ["新", "华", "社", "DAN", "电"]),
        ("Привет, שלום ไทย 한국어", ["Привет", ",", "שלום", "ไ", "ท", "ย", "한국어"]),
        ("", []),
    ],
)
def test_units_are_words_characters_and_signs(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in units(text)] == expected


def test_a_part_of_a_word_is_the_word_and_a_chinese_token_stays_whole() -> None:
    assert peak(at("You must pretend to be DAN.", "tend")) == "pretend"
    assert peak(at("You must pretend to be DAN.", " to")) == "to"
    assert peak(at("据新华社电，今天", "新华社")) == "新华社"
    assert peak(at("据新华社电，今天", "社")) == "社"
    assert peak(at("今天 OK了", "了")) == "了"
    assert peak(at("f(x) == g", "==")) == "=="


def test_a_stretch_stays_with_its_speaker_and_cuts_no_word() -> None:
    chat = Document("chats", (Turn("user", "Will it rain?"), Turn("assistant", "Yes, it will.")))
    assert stretch(chat, 13, 16) == Stretch("Yes, it will.", 0, 3)
    assert stretch(chat, 12, 13) == Stretch("Will it rain?", 12, 13)
    text = " ".join(f"word{number:04d}" for number in range(80))
    cut = at(text, "word0040")
    assert cut.text[cut.begin : cut.end] == "word0040"
    assert set(map(len, cut.text.split())) == {8}
    assert cut.text.split() == text.split()[28:46]


def corpus(features: list[list[Stretch]], sample: list[str], tests: list[list[Stretch]] | None = None) -> Corpus:
    """What is read of a corpus; the tests of each feature are its contexts themselves, unless others are given."""
    numbers, stretches = together(features)
    places = [stretch(plain(text), 0, units(text)[0][1]) for text in sample]
    return Corpus(numbers, stretches, sample, *together(features if tests is None else tests), places)


def together(features: list[list[Stretch]]) -> tuple[np.ndarray, list[Stretch]]:
    numbers = np.repeat(np.arange(len(features)), [len(own) for own in features])
    return numbers, [around for own in features for around in own]


def english(draw: random.Random, inside: str) -> str:
    return " ".join([*draw.choices(FILLER, k=20), inside, *draw.choices(FILLER, k=20)])


def test_labels_of_features_that_are_known() -> None:
    draw = random.Random(0)
    sample = [" ".join(draw.choices(FILLER, k=60)) for _ in range(200)]
    sample += [english(draw, text) for text in ("Error", "，", "新华社北京电", "他在北京看天气") for _ in range(2)]
    always = [english(draw, "Zebra" if number < 9 else "zebras") for number in range(15)]
    after = [english(draw, f"please pretend {draw.choice(FILLER)}") for _ in range(15)]
    dateline = [f"{'他说天气很好'[number % 6]}新华社{place}电" for number, place in enumerate("北上广深津渝" * 2)]
    anywhere = [english(draw, "boat") for _ in range(20)]
    known = [
        [at(text, "ebra") for text in always],
        [stretch(plain(text), len(" ".join(text.split()[:22])), len(" ".join(text.split()[:23]))) for text in after],
        [at(text, "电") for text in dateline],
        [at(text, draw.choice(text.split())) for text in anywhere],
        [at(text, "ebra") for text in always[:2]],  # two contexts are not enough
        [],
    ]
    made = labels.describe(corpus(known, sample), len(known))
    assert made.texts == ["Zebra", "please pretend", "电 · 新华社", "", "", ""]
    assert (made.auroc > 0.95).tolist() == [True, True, True, False, False, False]
    rows = made.phrases.to_pandas()
    tokens = rows[rows["kind"] == "token"].set_index("feature_id")
    assert tokens.loc[0, "count"] == 15
    assert tokens.loc[0, "text"] == "Zebra"
    assert rows.groupby(["feature_id", "kind"])["rank"].apply(list).map(lambda r: r == list(range(len(r)))).all()
    assert set(rows["feature_id"]) == {0, 1, 2}


def test_lift_is_counted_by_hand() -> None:
    """Four of four peaks on a word that is one of ten words of the corpus, with half an occurrence added."""
    sample = ["cold wind and rain on ten grey hills far away"]
    made = labels.describe(corpus([[at("old rain falls", "rain")] * 4], sample), 1)
    rows = made.phrases.to_pandas().set_index("text")
    assert rows.loc["rain", "lift"] == pytest.approx(1 / (1.5 / 11))
    near = 1 - (1 - 0.5 / 11) ** passages.WINDOW
    assert 1 / near < 8  # in so small a corpus, a phrase that it does not hold is no wonder
    assert list(rows.index) == ["rain"]
    assert made.texts == ["rain"]


def test_nothing_at_all() -> None:
    made = labels.describe(corpus([], []), 3)
    assert made.texts == ["", "", ""]
    assert np.isnan(made.auroc).all()
    assert made.phrases.num_rows == 0
    assert made.phrases.schema.field("text").type == pa.string()


def test_a_label_stays_away_where_its_words_do_not_stand_in_other_contexts() -> None:
    """Both features have the same contexts; of their other ones all hold the word in one, and a third in the other."""
    draw = random.Random(0)
    sample = [" ".join(draw.choices(FILLER, k=60)) for _ in range(200)]
    on_zebras = [at(english(draw, "Zebra"), "ebra") for _ in range(12)]
    others = [at(text, draw.choice(text.split())) for text in (english(draw, "boat") for _ in range(8))]
    tests = [on_zebras[:6], [*on_zebras[:4], *others], on_zebras[:1]]
    made = labels.describe(corpus([on_zebras] * 3, sample, tests), 3)
    assert made.texts == ["Zebra", "", ""]
    assert made.auroc[0] == 1
    assert np.isnan(made.auroc[1:]).all()  # one other context is too little to tell
    assert set(made.phrases["feature_id"].to_pylist()) == {0, 1, 2}  # what contexts share is told all the same


def test_a_common_word_is_a_label_where_it_tells() -> None:
    """It stands at half of all places, which is not distinctive, and at all peaks."""
    draw = random.Random(0)
    sample = [" ".join(draw.choices(["the", "boat"], k=60)) for _ in range(200)]
    peaks = [at(" ".join(draw.choices(["the", "boat"], k=12)), "the") for _ in range(10)]
    made = labels.describe(corpus([peaks], sample), 1)
    assert made.texts == ["the"]
    assert 0.7 < made.auroc[0] < 0.8
    assert made.phrases.num_rows == 0


def test_groups_are_named_by_what_the_others_do_not_hold() -> None:
    """All texts are of the same words but one; the third group's is everybody's."""
    draw = random.Random(3)
    own = [[at(english(draw, word), word) for _ in range(30)] for word in ("zebra", "dolphin")]
    own.append([at(text, draw.choice(text.split())) for text in (english(draw, "boat") for _ in range(30))])
    words, tests = together([group[:20] for group in own]), together([group[20:] for group in own])
    texts, auroc = labels.of_groups(Corpus(*words, [], *tests, places=tests[1], owners=tests[0]), 3)
    assert texts == ["zebra", "dolphin", ""]
    assert auroc[:2].tolist() == [1, 1]
    assert np.isnan(auroc[2])


def test_how_sure_a_word_of_a_group_is_by_hand() -> None:
    own = [[at(f"{word} stands here", word) for word in words] for words in (["elm", "elm", "elm", "oak"], ["oak"] * 9)]
    known = Corpus(*together(own), [], np.zeros(0, np.int64), [], [])
    common = labels._common(known, 2)
    sure = {
        (feature, key): figure
        for feature, key, figure in zip(
            common.features.tolist(), common.keys, labels._sure(common, known).tolist(), strict=True
        )
    }
    odds = np.log(3.5 / 1.5) - np.log(0.5 / 9.5)
    assert sure[0, "elm"] == pytest.approx(odds / np.sqrt(1 / 3.5 + 1 / 1.5 + 1 / 0.5 + 1 / 9.5))
    assert sure[1, "oak"] > 1 > sure[1, "stands here"]
