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
from dfc.config import ModelConfig, Side, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.models import LoadedModel
from dfc.runs import Run
from dfc.steering.generation import Sampling, encode_prompt, stream
from dfc.steering.vectors import SteeringVector, steering_vector
from dfc.store.reader import FeatureQuery, Store

PROMPT = "The old bridge"


@pytest.fixture(scope="module", params=["a", "b"])
def model(request: pytest.FixtureRequest, tiny_models: tuple[Path, Path]) -> LoadedModel:
    folder = tiny_models[0 if request.param == "a" else 1]
    return models.load(ModelConfig(source=str(folder), layer=2, max_tokens=128))


def vector_for(model: LoadedModel, seed: int = 0) -> SteeringVector:
    return SteeringVector("a", 0, 3 * torch.randn(model.width, generator=torch.Generator().manual_seed(seed)))


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
    steered = "".join(stream(model, PROMPT, Sampling(12), vector, strength))
    assert steered == plain(model, 12, strength * vector.vector)


def test_without_a_vector_nothing_is_changed(model: LoadedModel) -> None:
    baseline = plain(model, 12)
    assert "".join(stream(model, PROMPT, Sampling(12))) == baseline
    assert "".join(stream(model, PROMPT, Sampling(12), vector_for(model), 0.0)) == baseline


def test_the_same_seed_gives_the_same_text(model: LoadedModel) -> None:
    def text(seed: int) -> str:
        return "".join(stream(model, PROMPT, Sampling(20, temperature=1.5, seed=seed)))

    assert text(3) == text(3)
    assert len({text(seed) for seed in range(4)}) > 1


def test_closing_frees_the_model(model: LoadedModel) -> None:
    pieces = stream(model, PROMPT, Sampling(100), vector_for(model), 1.0)
    next(pieces)
    assert model.busy
    pieces.close()
    for _ in range(200):
        if not model.busy:
            break
        time.sleep(0.05)
    assert not model.busy


def test_two_readers_of_one_model_both_get_their_text(model: LoadedModel) -> None:
    vectors = [vector_for(model, seed) for seed in range(3)]
    texts: dict[int, str] = {}

    def read(number: int) -> None:
        texts[number] = "".join(stream(model, PROMPT, Sampling(10), vectors[number], 1.0))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {number: plain(model, 10, vector.vector) for number, vector in enumerate(vectors)}


@pytest.mark.parametrize(
    ("prompt", "strength", "sentence"),
    [
        ("  \n", 1.0, "the prompt is empty"),
        ("word " * 300, 1.0, "shorten it, or ask for fewer new tokens"),
        (PROMPT, float("nan"), "the strength must be a finite number"),
        (PROMPT, float("inf"), "the strength must be a finite number"),
    ],
)
def test_what_cannot_be_generated_is_said_at_once(
    model: LoadedModel, prompt: str, strength: float, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        stream(model, prompt, Sampling(10), vector_for(model), strength)
    assert not model.busy


def alive(run: Run, partition: str) -> int:
    query = FeatureQuery(partitions=(partition,), limit=1, order="max")  # type: ignore[arg-type]
    return int(Store(run.store).features(query)["feature_id"][0])


@pytest.mark.parametrize("side", ["a", "b"])
def test_vectors_are_in_the_models_own_space(tiny_run: Run, side: Side) -> None:
    """In the scaled space, the vector is s_max times the decoder vector."""
    feature = alive(tiny_run, side)
    crosscoder = crosscoder_model.load(tiny_run.crosscoder)
    ids, vectors = crosscoder.decoder_vectors(side)
    scale = crosscoder.scale[0 if side == "a" else 1]
    expected = Store(tiny_run.store).feature(feature).max * vectors[ids == feature][0]
    torch.testing.assert_close(scale * steering_vector(tiny_run, feature, side).vector, expected)


def test_an_exclusive_feature_does_not_steer_the_other_model(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="is exclusive to model A: it has no decoder vector in tiny-gemma"):
        steering_vector(tiny_run, alive(tiny_run, "a"), "b")
    for side in ("a", "b"):
        assert steering_vector(tiny_run, alive(tiny_run, "shared"), side).vector.isfinite().all()


def test_a_feature_that_does_not_exist(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="feature 64 does not exist in this run; its features are 0 to 63"):
        steering_vector(tiny_run, 64, "a")
