"""Tokens handed over between threads: in order, with what went wrong, and none generated that nobody reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dfc import models
from dfc.config import MemoryShortError, ModelConfig
from dfc.models import LoadedModel
from dfc.steering.threaded import Tokens, read

PROMPT = torch.tensor([[7, 8]])


@pytest.fixture(scope="module")
def model(tiny_models: tuple[Path, Path]) -> LoadedModel:
    return models.load(ModelConfig(source=str(tiny_models[0]), layer=2, max_tokens=128))


def came(batches: Iterator[list[int]]) -> list[list[int]]:
    return [batch for batch in batches if batch]


def test_new_tokens_come_in_order_and_the_prompt_does_not(model: LoadedModel) -> None:
    tokens = Tokens()

    def generate() -> None:
        assert model.lock.locked()
        for step in (PROMPT, torch.tensor([1, 2]), torch.tensor([[3], [4]])):
            tokens.put(step)

    assert came(read(model, generate, tokens)) == [[1, 2], [3, 4]]
    assert tokens.begun.is_set()
    assert not model.lock.locked()


def test_what_goes_wrong_is_raised_where_it_is_read_after_what_came(model: LoadedModel) -> None:
    for error, kind, words in (
        (ValueError("boom"), ValueError, "boom"),
        (torch.OutOfMemoryError("CUDA out of memory"), MemoryShortError, "ask for fewer tokens or a shorter prompt"),
    ):
        tokens = Tokens()

        def generate(tokens: Tokens = tokens, error: Exception = error) -> None:
            tokens.put(PROMPT)
            tokens.put(torch.tensor([1]))
            raise error

        batches = read(model, generate, tokens)
        assert next(batch for batch in batches if batch) == [1]
        with pytest.raises(kind, match=words):
            came(batches)
        assert not model.lock.locked()


def test_nothing_is_generated_that_nobody_reads(model: LoadedModel) -> None:
    tokens = Tokens()

    def generate() -> None:
        tokens.put(PROMPT)
        while True:
            tokens.put(torch.tensor([1]))

    batches = read(model, generate, tokens)
    assert next(batch for batch in batches if batch) == [1]
    batches.close()
    assert model.lock.acquire(timeout=10)
    model.lock.release()
