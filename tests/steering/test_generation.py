"""Generation with interventions against plain hooks, on both tiny models."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfc import models
from dfc.config import ModelConfig, UserError
from dfc.models import LoadedModel
from dfc.steering.edits import Action, Edit, Program
from dfc.steering.generation import (
    BASELINE,
    Answer,
    Sampling,
    _Draw,
    encode_prompt,
    generate,
    stream,
    stream_rows,
    together,
)
from dfc.steering.vectors import SteeringVector

PROMPT = "The old bridge"


@pytest.fixture(scope="module", params=["a", "b"])
def model(request: pytest.FixtureRequest, tiny_models: tuple[Path, Path]) -> LoadedModel:
    folder = tiny_models[0 if request.param == "a" else 1]
    return models.load(ModelConfig(source=str(folder), layer=2, max_tokens=128))


def vector_for(model: LoadedModel, seed: int = 0) -> SteeringVector:
    return SteeringVector("a", 0, 3 * torch.randn(model.width, generator=torch.Generator().manual_seed(seed)))


def adding(vector: SteeringVector, strength: float) -> Program:
    return Program((Action(Edit("a", 0, strength=strength), vector),))


def plain(model: LoadedModel, tokens: int, added: Tensor | None = None) -> str:
    """transformers' own greedy generation, steered by a forward hook."""

    def add(module: Any, inputs: Any, output: Any) -> Any:
        if added is None:
            return output
        return (output[0] + added, *output[1:]) if isinstance(output, tuple) else output + added

    ids = encode_prompt(model, PROMPT, tokens, chat=False)
    handle = model.site.register_forward_hook(add)
    try:
        with torch.no_grad():
            out = model.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    finally:
        handle.remove()
    text = model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    return text.rstrip("\ufffd")  # a character whose bytes are not complete is not shown


@pytest.mark.parametrize("strength", [-2.0, 0.0, 0.5, 4.0])
def test_equals_a_plain_hook(model: LoadedModel, strength: float) -> None:
    vector = vector_for(model)
    steered = "".join(stream(model, PROMPT, Sampling(12), adding(vector, strength)))
    assert steered == plain(model, 12, strength * vector.vector)


def test_without_a_vector_nothing_is_changed(model: LoadedModel) -> None:
    baseline = plain(model, 12)
    assert "".join(stream(model, PROMPT, Sampling(12))) == baseline
    assert "".join(stream(model, PROMPT, Sampling(12), adding(vector_for(model), 0.0))) == baseline


def test_the_same_seed_gives_the_same_text(model: LoadedModel) -> None:
    def text(seed: int) -> str:
        return "".join(stream(model, PROMPT, Sampling(20, temperature=1.5, seed=seed)))

    assert text(3) == text(3)
    assert len({text(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_side_by_side_gives_what_each_gives_alone(model: LoadedModel, temperature: float) -> None:
    sampling = Sampling(16, temperature, top_p=0.9, seed=1)
    programs = [BASELINE, adding(vector_for(model), 1.0), adding(vector_for(model, 1), -1.0), BASELINE]
    answers = generate(model, PROMPT, sampling, programs)
    assert answers == [generate(model, PROMPT, sampling, [program])[0] for program in programs]
    assert len({answer.text for answer in answers}) == 3
    for answer in answers:
        assert answer.text == model.tokenizer.decode(answer.tokens, skip_special_tokens=True).rstrip("\ufffd")


def test_a_draw_has_the_probabilities_that_are_asked_for(model: LoadedModel) -> None:
    """The first token over many seeds, against softmax at that temperature."""
    ids = encode_prompt(model, PROMPT, 1, chat=False)
    with torch.no_grad():
        expected = (model.model(ids).logits[0, -1] / 0.7).softmax(dim=0)
    draws = 2_000
    scores = expected.log()[None] * 0.7
    drawn = torch.stack([_Draw(Sampling(1, 0.7, seed=seed))(ids, scores).argmax() for seed in range(draws)])
    counted = torch.bincount(drawn, minlength=len(expected)) / draws
    assert float((counted - expected).abs().max()) < 5 * (0.25 / draws) ** 0.5


def test_two_streams_together(model: LoadedModel) -> None:
    vector = vector_for(model)
    answers = {"one": Answer(), "two": Answer()}
    streams = {
        "one": stream_rows(model, PROMPT, Sampling(8), [BASELINE]),
        "two": stream_rows(model, PROMPT, Sampling(8), [adding(vector, 1.0)]),
    }
    for key, piece in together(streams):
        answers[key].add(piece)
    assert answers["one"].text.rstrip("\ufffd") == plain(model, 8)
    assert answers["two"].text == plain(model, 8, vector.vector)


def test_closing_frees_the_model(model: LoadedModel) -> None:
    pieces = stream(model, PROMPT, Sampling(100), adding(vector_for(model), 1.0))
    next(pieces)
    assert model.lock.locked()
    pieces.close()
    for _ in range(200):
        if not model.lock.locked():
            break
        time.sleep(0.05)
    assert not model.lock.locked()


def test_two_readers_of_one_model_both_get_their_text(model: LoadedModel) -> None:
    vectors = [vector_for(model, seed) for seed in range(3)]
    texts: dict[int, str] = {}

    def read(number: int) -> None:
        texts[number] = "".join(stream(model, PROMPT, Sampling(10), adding(vectors[number], 1.0)))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {number: plain(model, 10, vector.vector) for number, vector in enumerate(vectors)}


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [("  \n", "the prompt is empty"), ("word " * 300, "shorten it, or ask for fewer new tokens")],
)
def test_what_cannot_be_generated_is_said_at_once(model: LoadedModel, prompt: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        stream(model, prompt, Sampling(10), adding(vector_for(model), 1.0))
    assert not model.lock.locked()
