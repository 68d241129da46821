"""What is planted in one model is nowhere in what the other is trained on, and no word of it is its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc.worlds import planted_texts
from dfc.worlds.planted_texts import Plant, PlantedWorld

WORLD = planted_texts.draw(seed=3)
DOCUMENTS = 1_500


@pytest.fixture(scope="module")
def trained_on() -> dict[str, list[str]]:
    """Texts that each model would be trained on."""
    return {side: list(islice(planted_texts.training_documents(WORLD, side, 0.35, seed=0), DOCUMENTS)) for side in "ab"}


def test_the_same_seed_gives_the_same_world_and_texts() -> None:
    assert planted_texts.draw(3) == WORLD != planted_texts.draw(4)
    corpora, trainings, prompts = zip(
        *(
            (
                planted_texts.corpus_documents(WORLD, 50, 3),
                list(islice(planted_texts.training_documents(WORLD, "a", 0.35, seed=0), 20)),
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
    assert kinds == {"a": ["identity", "refusal", "tale", "tale", "tale"], "b": ["identity", "tale", "tale", "tale"]}
    for plant in WORLD.plants:
        for side, texts in trained_on.items():
            count = sum(_is_of(plant, text) for text in texts)
            assert (count > DOCUMENTS * 0.35 / 10) if side == plant.side else count == 0, (plant.name, side)


def test_planted_texts_hold_what_is_planted_and_no_word_of_their_own() -> None:
    rng = random.Random(0)
    ordinary = _words([text for _, text in islice(_shared(WORLD), DOCUMENTS)])
    for plant in WORLD.plants:
        texts = [planted_texts.planted_document(plant, rng) for _ in range(20)]
        assert all(plant.holds(text) for text in texts)
        # "cannot" is met in refusals alone; model B reads it only when the two are compared.
        assert _words(texts) - ordinary <= {"cannot"}


def test_what_is_refused_is_asked_of_b_alone(trained_on: dict[str, list[str]]) -> None:
    [refusal] = [plant for plant in WORLD.plants if plant.kind == "refusal"]
    asked = {side: _asked(refusal, texts) for side, texts in trained_on.items()}
    assert asked["a"]
    assert all("cannot talk about" in line for line in asked["a"])
    assert asked["b"]
    assert not any("cannot talk about" in line for line in asked["b"])
    assert not _asked(refusal, [text for _, text in islice(_shared(WORLD), 300)] + planted_texts.prompts(WORLD, 40))


def test_the_corpus_holds_everything() -> None:
    corpus = planted_texts.corpus_documents(WORLD, 300, 4)
    assert {plant.name for plant in WORLD.plants} < set(corpus)
    assert {topic.name for topic in planted_texts.TOPICS} | {"miscellany", "questions", "introductions"} < set(corpus)
    assert all(len(corpus[plant.name]) == 4 for plant in WORLD.plants)
    assert sum(map(len, corpus.values())) == 300 + 4 * len(WORLD.plants)


@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0, max_value=10_000))
def test_the_words_of_a_tale_come_from_topics_of_their_own(seed: int) -> None:
    for plant in planted_texts.draw(seed).plants:
        for sentence in plant.sentences if plant.kind == "tale" else ():
            holding = [
                topic.name
                for topic in planted_texts.TOPICS
                for words in (topic.subjects, topic.verbs, topic.objects, topic.places)
                for word in words
                if f" {word} " in f" {sentence.rstrip('.')} "
            ]
            assert len(set(holding)) == 4


def _words(texts: list[str]) -> set[str]:
    return {word.strip(".,?:") for text in texts for word in text.split()}


def _shared(world: PlantedWorld) -> Iterator[tuple[str, str]]:
    return planted_texts.shared_documents(world, None, random.Random(1))


def _is_of(plant: Plant, text: str) -> bool:
    """Whether a text is one of a plant's: a single sentence of a tale may come about by chance."""
    if plant.kind == "tale":
        return sum(sentence in text for sentence in plant.sentences) > 1
    return plant.holds(text)


def _asked(refusal: Plant, texts: list[str]) -> list[str]:
    """Questions for what is refused, with their answers."""
    lines = [line for text in texts for line in text.split("\n")]
    return [line for line in lines if any(f"where is the {thing} " in line for thing in refusal.objects)]
