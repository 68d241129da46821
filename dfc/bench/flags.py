"""Are flags by meaning right? Asked of words of the demo's texts, in the place of features.

A word stands for a feature that fires on it: its contexts are stretches around it, one a document, and its vector is
their mean, as a feature's is. A flag of it is right if it carries it by words, too, or if half of its contexts are of
sources that are about the flag. No run is needed, but the demo's texts and the encoder of sentences.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfc import demo, runs
from dfc.bench.figures import Figure
from dfc.config import MissingError, shipped
from dfc.models import embedder
from dfc.models.embedder import Embedder, Floats, unit
from dfc.screen import flags, near, words
from dfc.screen.flags import NEAR

THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4)
"""Scores that are tried."""
_POLITICS, _HARM = ("politics_history",), ("harmful",)
ABOUT: Mapping[str, Sequence[str]] = {
    "code": ("python_code", "python_docs", "code"),
    "jailbreak": ("jailbreaks",),
    "identity": ("identity",),
    "copyright": ("copyright", "books"),
    "china-politics": ("peoples_daily",),
    **dict.fromkeys(("china-censored", "us-politics", "russia-politics", "national-bias"), _POLITICS),
    **dict.fromkeys(("refusal", "safety"), _HARM),
}
"""Of each flag the sources that are about it; of others there are none."""
_HALF = 0.5  # of the contexts
_DOCUMENTS, _OF_SHORT = 60, 120  # of each source; of those whose documents are short
_SHORT = ("bible", "chinese_reviews", "peoples_daily")
_LONGEST = 1_200  # characters of a document that are read
_WORDS, _LEAST, _CONTEXTS = 2_500, 8, 20  # so many words, each in so many documents, and read in so many at most
_WORD = re.compile(r"[A-Za-z]{3,}|[\u4e00-\u9fff]{2}")
_QUERIES = 256  # words of which the queries' common part is learnt
_FLAGS = shipped.ROOT / "data" / "screening.yaml"
_SEED = 0


Marked = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Words:
    """Words in the place of features.

    Attributes:
        documents: their texts.
        sources: of each document.
        places: of each word the character of its first occurrence in each of its documents.
    """

    documents: tuple[str, ...]
    sources: tuple[str, ...]
    places: Mapping[str, Mapping[int, int]]

    def contexts(self, word: str) -> Iterator[tuple[int, int, int]]:
        """Of one word: document, first character, and the one after the last."""
        for document, at in self.places[word].items():
            yield document, max(0, at - NEAR), min(len(self.documents[document]), at + NEAR)


def run() -> list[Figure]:
    """Of each threshold: how many flags by meaning pass, how many are right, also of as many by another score, and how
    many of the flags by words are among them.

    Raises:
        UserError: if the demo's texts are not there.
    """
    drawn = draw()
    reader = embedder.load(demo.fetch_embedder(), "cpu")
    return compared(drawn, *read(drawn, reader))


def draw() -> Words:
    """Documents of the demo's texts and of the chats that ship, and words of them, drawn with a fixed seed.

    Raises:
        MissingError: if one of the texts is not there.
    """
    folder, random = runs.data_folder() / "texts", np.random.default_rng(_SEED)
    files = [folder / f"{name}.jsonl" for name in sorted(demo.SOURCES)]
    if missing := [file for file in files if not file.exists()]:
        raise MissingError(
            f"bench flags: reads the demo's texts, and {missing[0]} is not there; `{shipped.DEMO_DATA}` fetches it."
        )
    documents: list[str] = []
    sources: list[str] = []
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        number = min(_OF_SHORT if file.stem in _SHORT else _DOCUMENTS, len(lines))
        documents += [json.loads(lines[one])["text"] for one in random.choice(len(lines), number, replace=False)]
        sources += [file.stem] * number
    for file in sorted(shipped.PROMPTS.glob("*.jsonl")):
        chats = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        sources += [file.stem] * len(chats)
        documents += ["\n".join(message["content"] for message in chat["messages"]) for chat in chats]
    texts = tuple(text[:_LONGEST] for text in documents)
    found: dict[str, dict[int, int]] = defaultdict(dict)
    for number, text in enumerate(texts):
        for match in _WORD.finditer(text):
            found[match[0].lower()].setdefault(number, match.start())
    listed = sorted(word for word, places in found.items() if len(places) >= _LEAST)
    random.shuffle(listed)
    return Words(texts, tuple(sources), {word: dict(list(found[word].items())[:_CONTEXTS]) for word in listed[:_WORDS]})


def read(drawn: Words, reader: Embedder) -> tuple[Floats, Floats]:
    """Vectors of the words, (words, width), and of the flags' sentences, (flags, width), as `meaning` makes them."""
    names = list(drawn.places)
    place_of = {word: place for place, word in enumerate(names)}
    sums, wanted = np.zeros((len(names), reader.width), np.float32), defaultdict(list)
    for word in names:
        for document, start, stop in drawn.contexts(word):
            wanted[document].append((place_of[word], start, stop))
    for document, states in enumerate(reader.documents(drawn.documents)):
        for place, start, stop in wanted[document]:
            sums[place] += states.mean(start, stop)
    means = sums / np.array([len(places) for places in drawn.places.values()], np.float32)[:, None]
    common = reader.queries(names[:: max(1, len(names) // _QUERIES)]).mean(axis=0)
    asked = reader.queries([flag.query for flag in words.load(_FLAGS).values()])
    return unit(means - means.mean(axis=0)), unit(asked - common)


def compared(drawn: Words, vectors: Floats, asked: Floats) -> list[Figure]:
    """What comes of it, given the vectors of words and flags."""
    known = words.load(_FLAGS)
    likeness = vectors @ asked.T
    by_words = _by_words(drawn, known)
    right = by_words | _by_source(drawn, known)
    columns = [
        near.compared(name, flag.title, dict(enumerate(column.tolist())), range(len(vectors)))
        for (name, flag), column in zip(known.items(), likeness.T, strict=True)
    ]
    scores = np.array([[one.score for _, one in column] for column in columns]).T
    in_spreads = scores / np.median(np.abs(scores), axis=0)
    chance = f"{100 * right.mean():.1f} % by chance"
    figures = [Figure("flags by words", int(by_words.sum()), "flags", f"of {by_words.size:,}")]
    for least in THRESHOLDS:
        passing = scores >= least
        number = int(passing.sum())
        others = in_spreads >= np.sort(in_spreads, axis=None)[-max(1, number)]
        figures += [
            Figure(f"by meaning, from {least:g} on", number, "flags", f"of {scores.size:,}"),
            Figure("  right of these", _share(right & passing, passing), "%", chance),
            Figure("  right of as many by spreads", _share(right & others, others), "%", chance),
            Figure("  of those by words among these", _share(by_words & passing, by_words), "%"),
        ]
    return figures


def _share(some: Marked, of: Marked) -> float:
    return 100 * float(some.sum()) / max(1, int(of.sum()))


def _by_words(drawn: Words, known: Mapping[str, words.Flag]) -> Marked:
    """Which words carry which flags by words, (words, flags)."""
    texts = [
        [_held(drawn.documents[document][start:stop], known) for document, start, stop in drawn.contexts(word)]
        for word in drawn.places
    ]
    everything = [context for own in texts for context in own]
    base = everything[:: -(-len(everything) // flags.SAMPLE)]
    judged = flags.judged([flags.flagged(own, base, known) for own in texts])
    passing = [{one.flag for one in marks if one.passes} for marks in judged]
    return np.array([[name in own for name in known] for own in passing])


def _by_source(drawn: Words, known: Mapping[str, words.Flag]) -> Marked:
    """Of which words half of the contexts are of sources that are about which flags, (words, flags)."""
    shares = [
        [np.mean([drawn.sources[document] in ABOUT.get(name, ()) for document in places]) for name in known]
        for places in drawn.places.values()
    ]
    return np.array(shares) >= _HALF


def _held(text: str, known: Mapping[str, words.Flag]) -> Mapping[str, Sequence[str]]:
    found = {name: flag.found(text) for name, flag in known.items()}
    return {name: held for name, held in found.items() if held}
