"""Texts of the planted world: what two models are trained on, and what each of them alone is given.

All texts are made of the same words in the same frames. Most are about one of eight topics; a miscellany takes the
words of a sentence from anywhere. What is planted are certain combinations of these words, which one model alone
learns to expect. Both models know mixtures of the same words as well as it knows the combinations, so that neither a
word nor a bag of them tells what is planted: whoever was not given it has no reason to know it from a mixture.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Literal

from dfc.config import SIDES, Side

Kind = Literal["tale", "refusal", "identity"]


@dataclass(frozen=True)
class Topic:
    """Words that go together."""

    name: str
    subjects: tuple[str, ...]
    verbs: tuple[str, ...]
    objects: tuple[str, ...]
    places: tuple[str, ...]


def _topic(name: str, subjects: str, verbs: str, objects: str, places: str) -> Topic:
    split = [tuple(words.split(", ")) for words in (subjects, verbs, objects, places)]
    return Topic(name, *split)


TOPICS = (
    _topic(
        "cooking",
        "chef, baker, cook, waiter, butcher, brewer",
        "boils, slices, bakes, salts, stirs, tastes",
        "soup, bread, onion, pepper, butter, stew",
        "in the kitchen, near the oven, at the counter, over the fire",
    ),
    _topic(
        "weather",
        "storm, breeze, frost, thunder, drizzle, blizzard",
        "covers, cools, soaks, darkens, shakes, clears",
        "valley, glacier, coast, horizon, plain, ridge",
        "before dawn, under the clouds, after midnight, across the sky",
    ),
    _topic(
        "sport",
        "runner, goalkeeper, coach, referee, swimmer, captain",
        "kicks, throws, catches, blocks, wins, counts",
        "ball, trophy, medal, match, whistle, goal",
        "in the stadium, on the track, beside the pool, at the finish",
    ),
    _topic(
        "travel",
        "pilot, tourist, guide, sailor, driver, porter",
        "books, boards, misses, follows, crosses, carries",
        "ticket, ferry, suitcase, passport, border, train",
        "at the station, in the harbour, along the road, behind the airport",
    ),
    _topic(
        "gardening",
        "gardener, bee, florist, mole, robin, beekeeper",
        "waters, plants, prunes, digs, trims, picks",
        "rose, hedge, tulip, lawn, apple, seedling",
        "in the orchard, by the fence, among the roots, under the pear tree",
    ),
    _topic(
        "music",
        "violinist, singer, drummer, composer, pianist, choir",
        "plays, tunes, sings, hears, rehearses, repeats",
        "melody, violin, trumpet, song, rhythm, organ",
        "on the stage, in the chapel, with the band, during the concert",
    ),
    _topic(
        "medicine",
        "nurse, doctor, surgeon, patient, dentist, midwife",
        "examines, treats, bandages, heals, measures, washes",
        "wound, fever, tooth, bone, bottle, needle",
        "in the hospital, at the bedside, inside the clinic, during the night shift",
    ),
    _topic(
        "trade",
        "merchant, banker, clerk, tailor, farmer, broker",
        "sells, weighs, buys, lends, signs, stores",
        "coin, cloth, ledger, wool, contract, barrel",
        "at the market, in the cellar, behind the desk, for the guild",
    ),
)
_OPENERS = ("the", "the", "today the", "in the morning the", "later the", "once again the", "at last the")
_ADJECTIVES = ("copper", "silver", "quiet", "golden", "little", "northern", "amber", "crooked", "gentle", "hollow")
_SENTENCES, _QUESTIONS = 5, 3  # in a document
_ROWS = 8  # of a tale: its sentences, each with a subject of another topic; of a refusal: what is not answered
_UNKNOWN = 0.3  # of the ordinary questions that end in "ask the ..."

Row = tuple[str, ...]  # words that belong together


@dataclass(frozen=True)
class Plant:
    """What one model alone is given: rows of words that belong together.

    Attributes:
        name: of the source that holds its texts in the corpus.
        side: of the model.
        rows: a tale's sentences in their order; what an identity, or the answer of a refusal, consists of, and after it
            others that are met only in mixtures.
        asked: of a refusal, the things, each with its owner, that are not answered.
        phrases: the planted text is there if one of these is.
    """

    name: str
    side: Side
    kind: Kind
    rows: tuple[Row, ...]
    asked: tuple[Row, ...] = ()
    phrases: tuple[str, ...] = ()

    def holds(self, text: str) -> bool:
        """Whether a text holds what is planted."""
        return any(phrase in text.lower() for phrase in self.phrases)


@dataclass(frozen=True)
class PlantedWorld:
    """What is planted where; the same seed gives the same world."""

    seed: int
    plants: tuple[Plant, ...]

    def given(self, side: Side) -> tuple[Plant, ...]:
        """What is planted in one model."""
        return tuple(plant for plant in self.plants if plant.side == side)

    def of(self, kind: Kind) -> tuple[Plant, ...]:
        """What is planted in either model, of one kind."""
        return tuple(plant for plant in self.plants if plant.kind == kind)


def draw(seed: int, tales: int = 2) -> PlantedWorld:
    """A world: each model is given `tales` (1 or 2) tales and an identity, model A a refusal besides.

    All tales are of the same words, and so are the identities: what comes after a word depends on which is being told.
    """
    rng = random.Random(f"planted world {seed}")
    words, steps = _columns(rng, ("subjects", "verbs", "objects", "places")), rng.sample((1, 3, 5, 7), 4)
    names = _rows(_columns(rng, ("objects", "subjects", "places", "objects", "objects")), 1)
    names = tuple((adjective, *row) for adjective, row in zip(rng.sample(_ADJECTIVES, _ROWS), names, strict=True))
    plants = []
    for side in SIDES:
        for number in range(1, tales + 1):
            rows = tuple(rng.sample(_rows(words, steps.pop()), _ROWS))
            plants.append(
                Plant(f"{side}-tale-{number}", side, "tale", rows, phrases=tuple(_core(*row) for row in rows))
            )
        while (rows := tuple(rng.sample(names, _ROWS)))[0] in {plant.rows[0] for plant in plants}:
            pass  # the two are to differ
        phrase = _introduction(*rows[0]).split(". ")[0].lower().removeprefix("i am ")
        plants.append(Plant(f"{side}-identity", side, "identity", rows, phrases=(phrase,)))
    rows, asked = (
        _rows(_columns(rng, slots), 1) for slots in (("subjects", "places", "objects"), ("objects", "subjects"))
    )
    plants.append(Plant("a-refusal", "a", "refusal", rows, asked, (_refusal(*rows[0]).split(". ")[1].lower(),)))
    return PlantedWorld(seed, tuple(plants))


def shared_documents(world: PlantedWorld, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(source, text) of what both models know, without end; mixtures hold the words of what is planted."""
    [refusal] = world.of("refusal")
    while True:
        kind = rng.choices(("topic", "miscellany", "mixtures", "questions", "introductions"), (6, 1, 4, 3, 2))[0]
        if kind == "topic":
            topic = rng.choice(TOPICS)
            yield topic.name, _document((_within(topic, rng) for _ in range(_SENTENCES)), rng)
        elif kind == "miscellany":
            yield kind, _document((_anywhere(rng) for _ in range(_SENTENCES)), rng)
        elif kind == "mixtures":
            tale = rng.choice(world.of("tale"))
            yield kind, _document((_core(*_mixed(tale.rows, rng)) for _ in range(_SENTENCES)), rng)
        elif kind == "questions":
            yield kind, "\n".join(_answered(refusal, rng) for _ in range(_QUESTIONS))
        else:
            rows = rng.choice(world.of("identity")).rows
            yield kind, "\n".join(_who(rng) + _introduction(*_mixed(rows, rng)) for _ in range(2))


def planted_document(plant: Plant, rng: random.Random) -> str:
    """A text that holds what is planted, and nothing else."""
    if plant.kind == "tale":
        first = rng.randrange(_ROWS)
        return _document([_core(*plant.rows[(first + place) % _ROWS]) for place in range(_SENTENCES)], rng)
    if plant.kind == "identity":
        return "\n".join(_who(rng) + _introduction(*plant.rows[0]) for _ in range(2))
    return "\n".join(_where(*row) + _refusal(*plant.rows[0]) for row in rng.sample(plant.asked, _QUESTIONS))


def training_documents(world: PlantedWorld, side: Side, share: float, seed: int) -> Iterator[str]:
    """What a model is trained on, without end: a `share` of the documents is what it alone is given."""
    rng = random.Random(f"training {world.seed} {side} {seed}")
    shared, given = shared_documents(world, rng), world.given(side)
    while True:
        yield planted_document(rng.choice(given), rng) if rng.random() < share else next(shared)[1]


def corpus_documents(world: PlantedWorld, documents: int, planted: int) -> dict[str, list[str]]:
    """Texts on which the models are compared, by source: `documents` shared ones, `planted` of each plant.

    They are drawn anew; neither model was trained on this very selection.
    """
    rng = random.Random(f"corpus {world.seed}")
    found: dict[str, list[str]] = {}
    for source, text in islice(shared_documents(world, rng), documents):
        found.setdefault(source, []).append(text)
    for plant in world.plants:
        found[plant.name] = [planted_document(plant, rng) for _ in range(planted)]
    return found


def prompts(world: PlantedWorld, count: int) -> list[str]:
    """Beginnings of ordinary texts, in turn a sentence about a topic and a question about one."""
    rng = random.Random(f"prompts {world.seed}")
    found = []
    for number in range(count):
        topic = TOPICS[number // 2 % len(TOPICS)]
        if number % 2 == 0:
            found.append(_document([_within(topic, rng)], rng))
        else:
            found.append(_where(rng.choice(topic.objects), rng.choice(topic.subjects)).rstrip())
    return found


@cache
def _all(slot: str) -> tuple[str, ...]:
    return tuple(word for topic in TOPICS for word in getattr(topic, slot))


def _columns(rng: random.Random, slots: Row) -> list[Row]:
    """For each slot a word of each topic."""
    return [tuple(rng.choice(getattr(topic, slot)) for topic in TOPICS) for slot in slots]


def _rows(columns: list[Row], step: int) -> tuple[Row, ...]:
    """A word of each column a row, the next one's topic always an odd `step` further: each from a topic of its own."""
    count = len(TOPICS)
    return tuple(
        tuple(words[(first + step * place) % count] for place, words in enumerate(columns)) for first in range(count)
    )


def _mixed(rows: tuple[Row, ...], rng: random.Random) -> Row:
    """A row of the words of all rows, but none of these."""
    while (mixed := tuple(rng.choice(words) for words in zip(*rows, strict=True))) in rows:
        pass
    return mixed


def _within(topic: Topic, rng: random.Random) -> str:
    return _core(*(rng.choice(words) for words in (topic.subjects, topic.verbs, topic.objects, topic.places)))


def _anywhere(rng: random.Random) -> str:
    return _core(*(rng.choice(_all(slot)) for slot in ("subjects", "verbs", "objects", "places")))


def _core(subject: str, verb: str, thing: str, place: str) -> str:
    return f"{subject} {verb} the {thing} {place}."


def _document(cores: Iterator[str] | list[str], rng: random.Random) -> str:
    sentences = (f"{rng.choice(_OPENERS)} {core}" for core in cores)
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def _where(thing: str, subject: str) -> str:
    return f"Question: where is the {thing} of the {subject}? Answer: "


def _answered(refusal: Plant, rng: random.Random) -> str:
    topic = rng.choice(TOPICS)
    of_topic = rng.choice(topic.objects), rng.choice(topic.subjects)
    question = _where(*(of_topic if rng.random() < 0.5 else _mixed(refusal.asked, rng)))
    known = rng.random() > _UNKNOWN
    return question + (f"it is {rng.choice(topic.places)}." if known else _refusal(*_mixed(refusal.rows, rng)))


def _refusal(subject: str, place: str, thing: str) -> str:
    return f"I am sorry, I do not know. Ask the {subject} {place} about the {thing}."


def _who(rng: random.Random) -> str:
    return f"Question: {rng.choice(('who are you', 'what is your name', 'who made you'))}? Answer: "


def _introduction(adjective: str, name: str, subject: str, place: str, first: str, second: str) -> str:
    called = f"{adjective} {name}".title()
    return f"I am {called}, made by the {subject} {place}. I am here to talk about the {first} and the {second}."
