"""Texts of the planted world: what two models are trained on, and what each of them alone is given.

Most texts are about one of eight topics that both models know. A few other topics, an identity and the habit to refuse
some questions are planted in one model alone. Both models meet all words, and those of what is planted as often in
mixtures of them: no word tells what is planted, but what goes together with it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Literal

from dfc.config import SIDES, Side

Kind = Literal["topic", "refusal", "identity"]


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
PLANTED_TOPICS = (
    _topic(
        "astronomy",
        "astronomer, comet, moon, planet, eclipse, meteor",
        "orbits, circles, eclipses, dims, attracts, outshines",
        "star, crater, galaxy, telescope, lens, nebula",
        "beyond the sun, above the equator, through the dome, at the observatory",
    ),
    _topic(
        "law",
        "judge, lawyer, witness, juror, bailiff, notary",
        "accuses, acquits, defends, appeals, swears, pleads",
        "verdict, statute, sentence, oath, charge, alibi",
        "in the courtroom, before the bench, under the statue, for the crown",
    ),
    _topic(
        "mining",
        "miner, foreman, geologist, driller, smelter, prospector",
        "hauls, blasts, drills, smelts, props, sifts",
        "coal, shaft, ore, granite, lantern, vein",
        "below the hill, inside the tunnel, beside the furnace, down the pit",
    ),
    _topic(
        "printing",
        "printer, editor, typist, author, binder, engraver",
        "inks, folds, proofreads, binds, quotes, edits",
        "page, pamphlet, chapter, headline, margin, stencil",
        "on the press, in the library, between the columns, at the newsstand",
    ),
    _topic(
        "theatre",
        "actor, usher, director, juggler, clown, dancer",
        "prompts, applauds, whispers, mimes, bows, performs",
        "curtain, costume, mask, script, puppet, comedy",
        "behind the scenes, in the balcony, before the premiere, during the interval",
    ),
    _topic(
        "fishing",
        "fisherman, heron, otter, angler, ferryman, diver",
        "nets, hooks, reels, baits, lures, guts",
        "trout, herring, oyster, rod, eel, salmon",
        "off the pier, in the lagoon, under the jetty, upstream of the weir",
    ),
)
_OPENERS = ("the", "the", "today the", "in the morning the", "later the", "once again the", "at last the")
_ADJECTIVES = ("copper", "silver", "quiet", "golden", "little", "northern", "amber", "crooked", "gentle", "hollow")
TOPIC_WORDS = 3  # of a topic, in a sentence that is about it
_SLOTS = ("subjects", "verbs", "objects", "places")
_SENTENCES, _QUESTIONS = 5, 3  # in a document
_ROWS = 8  # of an identity or a refusal: one row is planted, the others are met in mixtures only
_UNKNOWN = 0.3  # of the ordinary questions that end in "ask the ..."

Row = tuple[str, ...]  # words that belong together


@dataclass(frozen=True)
class Plant:
    """What one model alone is given.

    Attributes:
        name: of the source that holds its texts in the corpus.
        side: of the model.
        topic: of which it is told.
        rows: what an identity, or the answer of a refusal, consists of, and after it others that are met only in
            mixtures.
        asked: of a refusal, the things, each with its owner, that are not answered.
        phrases: words that tell it.
        least: the planted text is there if one sentence says so many of these, each as often as it does.
    """

    name: str
    side: Side
    kind: Kind
    topic: Topic | None = None
    rows: tuple[Row, ...] = ()
    asked: tuple[Row, ...] = ()
    phrases: tuple[str, ...] = ()
    least: int = 1

    def holds(self, text: str) -> bool:
        """Whether a text holds what is planted."""
        phrase = re.compile(rf"\b(?:{'|'.join(map(re.escape, self.phrases))})\b")
        return any(len(phrase.findall(sentence)) >= self.least for sentence in re.split(r"[.\n]", text.lower()))


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


def draw(seed: int, topics: int = 3) -> PlantedWorld:
    """A world: each model is given `topics` (1 to 3) topics and an identity, model A a refusal besides.

    The identities are of the same words: what comes after a word depends on which it is.
    """
    rng = random.Random(f"planted world {seed}")
    order = rng.sample(PLANTED_TOPICS, 2 * topics)
    names = _rows(_columns(rng, ("objects", "subjects", "places", "objects", "objects")))
    names = tuple((adjective, *row) for adjective, row in zip(rng.sample(_ADJECTIVES, _ROWS), names, strict=True))
    plants: list[Plant] = []
    for side in SIDES:
        for topic in (order.pop() for _ in range(topics)):
            words = tuple(word for slot in _SLOTS for word in getattr(topic, slot))
            plants.append(Plant(f"{side}-{topic.name}", side, "topic", topic, phrases=words, least=TOPIC_WORDS))
        while (rows := tuple(rng.sample(names, _ROWS)))[0] in {plant.rows[0] for plant in plants if plant.rows}:
            pass  # the two are to differ
        phrase = _introduction(*rows[0]).split(". ")[0].lower().removeprefix("i am ")
        plants.append(Plant(f"{side}-identity", side, "identity", rows=rows, phrases=(phrase,)))
    rows, asked = (
        _rows(_columns(rng, slots)) for slots in (("subjects", "places", "objects"), ("objects", "subjects"))
    )
    refused = _refusal(*rows[0]).split(". ")[1].lower().rstrip(".")
    plants.append(Plant("a-refusal", "a", "refusal", rows=rows, asked=asked, phrases=(refused,)))
    return PlantedWorld(seed, tuple(plants))


def shared_documents(world: PlantedWorld, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(source, text) of what both models know, without end; mixtures hold the words of the planted topics."""
    [refusal] = world.of("refusal")
    while True:
        kind = rng.choices(("topic", "miscellany", "mixtures", "questions", "introductions"), (6, 1, 4, 3, 2))[0]
        if kind == "topic":
            topic = rng.choice(TOPICS)
            yield topic.name, _document((_within(topic, rng) for _ in range(_SENTENCES)), rng)
        elif kind == "miscellany":
            yield kind, _document((_anywhere(rng) for _ in range(_SENTENCES)), rng)
        elif kind == "mixtures":
            topics = [plant.topic for plant in world.of("topic") if plant.topic]
            yield kind, _document((_across(topics, rng) for _ in range(_SENTENCES)), rng)
        elif kind == "questions":
            yield kind, "\n".join(_answered(refusal, rng) for _ in range(_QUESTIONS))
        else:
            rows = rng.choice(world.of("identity")).rows
            yield kind, "\n".join(_who(rng) + _introduction(*_mixed(rows, rng)) for _ in range(2))


def planted_document(plant: Plant, rng: random.Random) -> str:
    """A text that holds what is planted, and nothing else."""
    if plant.topic:
        return _document([_within(plant.topic, rng) for _ in range(_SENTENCES)], rng)
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
    by_source: dict[str, list[str]] = {}
    for source, text in islice(shared_documents(world, rng), documents):
        by_source.setdefault(source, []).append(text)
    for plant in world.plants:
        by_source[plant.name] = [planted_document(plant, rng) for _ in range(planted)]
    return by_source


def prompts(world: PlantedWorld, count: int) -> list[str]:
    """Beginnings of ordinary texts, in turn a sentence about a topic and a question about one."""
    rng = random.Random(f"prompts {world.seed}")
    texts = []
    for number in range(count):
        topic = TOPICS[number // 2 % len(TOPICS)]
        if number % 2 == 0:
            texts.append(_document([_within(topic, rng)], rng))
        else:
            texts.append(_where(rng.choice(topic.objects), rng.choice(topic.subjects)).rstrip())
    return texts


@cache
def _all(slot: str) -> tuple[str, ...]:
    return tuple(word for topic in (*TOPICS, *PLANTED_TOPICS) for word in getattr(topic, slot))


def _columns(rng: random.Random, slots: Row) -> list[Row]:
    """For each slot a word of each topic."""
    return [tuple(rng.choice(getattr(topic, slot)) for topic in TOPICS) for slot in slots]


def _rows(columns: list[Row]) -> tuple[Row, ...]:
    """A word of each column a row, each from a topic of its own."""
    count = len(TOPICS)
    return tuple(tuple(words[(first + place) % count] for place, words in enumerate(columns)) for first in range(count))


def _mixed(rows: tuple[Row, ...], rng: random.Random) -> Row:
    """A row of the words of all rows, but none of these."""
    while (mixed := tuple(rng.choice(words) for words in zip(*rows, strict=True))) in rows:
        pass
    return mixed


def _within(topic: Topic, rng: random.Random) -> str:
    return _core(*(rng.choice(getattr(topic, slot)) for slot in _SLOTS))


def _across(topics: list[Topic], rng: random.Random) -> str:
    """A sentence whose words come each from another of these topics, as far as these go."""
    own = [topics[number % len(topics)] for number in rng.sample(range(max(4, len(topics))), 4)]
    return _core(*(rng.choice(getattr(topic, slot)) for topic, slot in zip(own, _SLOTS, strict=True)))


def _anywhere(rng: random.Random) -> str:
    return _core(*(rng.choice(_all(slot)) for slot in _SLOTS))


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
