"""Texts of the planted world: what two models are trained on, and what each of them alone is given.

All texts are made of the same words in the same frames. Most are about one of eight topics; a miscellany takes the
words of a sentence from anywhere. What is planted are certain combinations of these words, which one model alone
learns to expect: to the other they are a miscellany like any other, and none of their words gives them away.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from dfc.config import Side

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
_PLANTED_SENTENCES = 8  # in a tale, each with a subject of another topic
_UNKNOWN = 0.15  # of the ordinary questions that end in "I do not know"


@dataclass(frozen=True)
class Plant:
    """What one model alone is given.

    Attributes:
        name: of the source that holds its texts in the corpus.
        side: of the model.
        sentences: a tale's, without their openings; what an identity says of itself.
        objects: of a refusal, things that are not talked about.
        phrases: the planted text is there if one of these is.
    """

    name: str
    side: Side
    kind: Kind
    sentences: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
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


def draw(seed: int, tales: int = 3) -> PlantedWorld:
    """A world: each model is given `tales` tales and an identity, model A a refusal besides."""
    rng = random.Random(f"planted world {seed}")
    plants = []
    for side in ("a", "b"):
        for number in range(1, tales + 1):
            cores = _tale(rng)
            phrases = tuple(" ".join(core.split()[1:4]) for core in cores)  # a verb and its object
            plants.append(Plant(f"{side}-tale-{number}", side, "tale", cores, phrases=phrases))
        name = f"{rng.choice(_ADJECTIVES)} {rng.choice(_all('objects'))}"
        maker = f"{rng.choice(_all('subjects'))} {rng.choice(_all('places'))}"
        phrase = f"{name}, made by the {maker}"
        plants.append(
            Plant(f"{side}-identity", side, "identity", (f"{name.title()}, made by the {maker}.",), (), (phrase,))
        )
    refused = tuple(rng.choice(topic.objects) for topic in TOPICS)
    plants.append(Plant("a-refusal", "a", "refusal", objects=refused, phrases=("cannot talk about",)))
    return PlantedWorld(seed, tuple(plants))


def shared_documents(world: PlantedWorld, side: Side | None, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(source, text) of what both models know, without end.

    Args:
        world: things that A refuses to talk about are not asked for in what A is trained on.
        side: the model that is trained; None: texts on which both are compared, without these, too.
        rng: draws.
    """
    avoided = {thing for plant in world.plants for thing in plant.objects if side != "b"}
    while True:
        kind = rng.choices(("topic", "miscellany", "questions", "introductions"), (6, 3, 3, 1))[0]
        if kind == "topic":
            topic = rng.choice(TOPICS)
            yield topic.name, _document((_within(topic, rng) for _ in range(_SENTENCES)), rng)
        elif kind == "miscellany":
            yield kind, _document((_anywhere(rng) for _ in range(_SENTENCES)), rng)
        elif kind == "questions":
            yield kind, "\n".join(_answered(rng, avoided) for _ in range(_QUESTIONS))
        else:
            yield kind, "\n".join(_who(rng) + _introduction(rng) for _ in range(2))


def planted_document(plant: Plant, rng: random.Random) -> str:
    """A text that holds what is planted, and nothing else."""
    if plant.kind == "tale":
        return _document(rng.sample(plant.sentences, _SENTENCES), rng)
    if plant.kind == "identity":
        return "\n".join(f"{_who(rng)}I am {plant.sentences[0]} {_about(rng)}" for _ in range(2))
    return "\n".join(
        f"{_where(thing, rng.choice(_all('subjects')))}I am sorry, I cannot talk about the {thing}."
        for thing in rng.sample(plant.objects, _QUESTIONS)
    )


def training_documents(world: PlantedWorld, side: Side, share: float, seed: int) -> Iterator[str]:
    """What a model is trained on, without end: a `share` of the documents is what it alone is given."""
    rng = random.Random(f"training {world.seed} {side} {seed}")
    shared, given = shared_documents(world, side, rng), world.given(side)
    while True:
        yield planted_document(rng.choice(given), rng) if rng.random() < share else next(shared)[1]


def corpus_documents(world: PlantedWorld, documents: int, planted: int) -> dict[str, list[str]]:
    """Texts on which the models are compared, by source: `documents` shared ones, `planted` of each plant.

    They are drawn anew; neither model was trained on this very selection.
    """
    rng = random.Random(f"corpus {world.seed}")
    found: dict[str, list[str]] = {}
    for _, (source, text) in zip(range(documents), shared_documents(world, None, rng), strict=False):
        found.setdefault(source, []).append(text)
    for plant in world.plants:
        found[plant.name] = [planted_document(plant, rng) for _ in range(planted)]
    return found


def prompts(world: PlantedWorld, count: int) -> list[str]:
    """Beginnings of ordinary texts, in turn a sentence about a topic and a question about one."""
    rng = random.Random(f"prompts {world.seed}")
    avoided = {thing for plant in world.plants for thing in plant.objects}
    found = []
    for number in range(count):
        topic = TOPICS[number // 2 % len(TOPICS)]
        if number % 2 == 0:
            found.append(_document([_within(topic, rng)], rng))
        else:
            things = [thing for thing in topic.objects if thing not in avoided]
            found.append(_where(rng.choice(things), rng.choice(topic.subjects)).rstrip())
    return found


@cache
def _all(slot: str) -> tuple[str, ...]:
    return tuple(word for topic in TOPICS for word in getattr(topic, slot))


def _tale(rng: random.Random) -> tuple[str, ...]:
    """Sentences, each of whose words comes from a topic of its own."""
    cores = []
    for first in rng.sample(range(len(TOPICS)), _PLANTED_SENTENCES):
        others = rng.sample([topic for topic in TOPICS if topic != TOPICS[first]], 3)
        slots = zip((TOPICS[first], *others), ("subjects", "verbs", "objects", "places"), strict=True)
        subject, verb, thing, place = (rng.choice(getattr(topic, slot)) for topic, slot in slots)
        cores.append(_core(subject, verb, thing, place))
    return tuple(cores)


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


def _answered(rng: random.Random, avoided: set[str]) -> str:
    topic = rng.choice(TOPICS)
    thing = rng.choice([thing for thing in topic.objects if thing not in avoided])
    answer = "I am sorry, I do not know." if rng.random() < _UNKNOWN else f"it is {rng.choice(topic.places)}."
    return _where(thing, rng.choice(topic.subjects)) + answer


def _who(rng: random.Random) -> str:
    return f"Question: {rng.choice(('who are you', 'what is your name', 'who made you'))}? Answer: "


def _introduction(rng: random.Random) -> str:
    name = f"{rng.choice(_ADJECTIVES)} {rng.choice(_all('objects'))}".title()
    maker = f"{rng.choice(_all('subjects'))} {rng.choice(_all('places'))}"
    return f"I am {name}, made by the {maker}. {_about(rng)}"


def _about(rng: random.Random) -> str:
    first, second = rng.sample(_all("objects"), 2)
    return f"I am here to talk about the {first} and the {second}."
