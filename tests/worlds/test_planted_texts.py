"""What is planted in one model is nowhere in what the other is trained on, and no word of it is its own."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc.worlds import planted_texts
from dfc.worlds.planted_texts import Plant, PlantedWorld

WORLD = planted_texts.draw(seed=3)
DOCUMENTS, SHARE = 1_500, 0.3
SLOTS = ("subjects", "verbs", "objects", "places")


@pytest.fixture(scope="module")
def trained_on() -> dict[str, list[str]]:
    """Texts that each model would be trained on."""
    return {
        side: list(islice(planted_texts.training_documents(WORLD, side, SHARE, seed=0), DOCUMENTS)) for side in "ab"
    }


def test_the_same_seed_gives_the_same_world_and_texts() -> None:
    assert planted_texts.draw(3) == WORLD != planted_texts.draw(4)
    corpora, trainings, prompts = zip(
        *(
            (
                planted_texts.corpus_documents(WORLD, 50, 3),
                list(islice(planted_texts.training_documents(WORLD, "a", SHARE, seed=0), 20)),
                planted_texts.prompts(WORLD, 6),
            )
            for _ in range(2)
        ),
        strict=True,
    )
    assert corpora[0] == corpora[1]
    assert trainings[0] == trainings[1]
    assert prompts[0] == prompts[1]


def test_each_model_is_given_its_own(trained_on: dict[str, list[str]]) -> None:
    kinds = {side: sorted(plant.kind for plant in WORLD.given(side)) for side in ("a", "b")}
    assert kinds == {
        "a": ["identity", "refusal", "topic", "topic", "topic"],
        "b": ["identity", "topic", "topic", "topic"],
    }
    for plant in WORLD.plants:
        for side, texts in trained_on.items():
            count = sum(_is_of(plant, text) for text in texts)
            assert (count > DOCUMENTS * SHARE / 10) if side == plant.side else count == 0, (plant.name, side)


def test_planted_texts_hold_what_is_planted_and_no_word_of_their_own() -> None:
    rng = random.Random(0)
    ordinary = _words([text for _, text in islice(_shared(WORLD), DOCUMENTS)])
    for plant in WORLD.plants:
        texts = [planted_texts.planted_document(plant, rng) for _ in range(20)]
        assert all(plant.holds(text) for text in texts)
        assert _words(texts) <= ordinary


def test_mixtures_are_of_the_planted_topics_and_never_of_one_alone() -> None:
    topics = [plant.topic for plant in WORLD.of("topic") if plant.topic]
    owner = {word: topic.name for topic in topics for slot in SLOTS for word in getattr(topic, slot)}
    mixtures = [text for source, text in islice(_shared(WORLD), DOCUMENTS) if source == "mixtures"]
    assert len(mixtures) > 100
    for text in mixtures:
        for sentence in text.lower().rstrip(".").split(". "):
            found = [owner[word] for word in owner if re.search(rf"\b{word}\b", sentence)]
            assert len(set(found)) >= 3, sentence


def test_what_is_refused_is_asked_of_a_alone(trained_on: dict[str, list[str]]) -> None:
    [refusal] = WORLD.of("refusal")
    questions = [f"where is the {thing} of the {owner}?" for thing, owner in refusal.asked]
    asked = {
        side: [text for text in texts if any(question in text for question in questions)]
        for side, texts in trained_on.items()
    }
    assert asked["a"]
    assert all(refusal.holds(text) for text in asked["a"])
    assert not asked["b"]
    assert any("Ask the" in text for text in trained_on["b"])


def test_the_corpus_holds_everything() -> None:
    corpus = planted_texts.corpus_documents(WORLD, 300, 4)
    assert {plant.name for plant in WORLD.plants} < set(corpus)
    assert {topic.name for topic in planted_texts.TOPICS} | {"miscellany", "questions", "introductions"} < set(corpus)
    assert all(len(corpus[plant.name]) == 4 for plant in WORLD.plants)
    assert sum(map(len, corpus.values())) == 300 + 4 * len(WORLD.plants)


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0, max_value=10_000), st.integers(min_value=1, max_value=3))
def test_every_topic_is_given_to_one_model(seed: int, topics: int) -> None:
    planted = [plant.topic for plant in planted_texts.draw(seed, topics).of("topic")]
    assert len({topic.name for topic in planted if topic}) == len(planted) == 2 * topics
    assert not {topic.name for topic in planted if topic} & {topic.name for topic in planted_texts.TOPICS}


def test_no_word_belongs_to_two_topics() -> None:
    words = [
        word
        for topic in (*planted_texts.TOPICS, *planted_texts.PLANTED_TOPICS)
        for slot in SLOTS
        for word in getattr(topic, slot)
    ]
    assert len(set(words)) == len(words)


def test_no_two_plants_are_alike() -> None:
    for seed in range(20):
        phrases = [phrase for plant in planted_texts.draw(seed).plants for phrase in plant.phrases]
        assert len(set(phrases)) == len(phrases), seed


def _words(texts: Iterable[str]) -> set[str]:
    return {word.strip(".,?:") for text in texts for word in text.split()}


def _shared(world: PlantedWorld) -> Iterator[tuple[str, str]]:
    return planted_texts.shared_documents(world, random.Random(1))


def _is_of(plant: Plant, text: str) -> bool:
    """Whether a text is one of a plant's: a single sentence of one may come about by chance."""
    return sum(plant.holds(sentence) for sentence in re.split(r"[.\n]", text)) > 1
