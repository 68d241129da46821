"""Texts written together: what each is alone, the nucleus, rows that leave, and how many fit into memory."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, TopPLogitsWarper

from dfc import models
from dfc.config import ModelConfig
from dfc.families import build
from dfc.machine import memory
from dfc.models import LoadedModel, together
from dfc.requests import RolloutSampling
from tests import tiny
from tests.models.test_families import FAMILIES, TOKENIZER
from tests.tiny import passes

DRAWN = RolloutSampling(tokens=24, temperature=1.5, top_p=0.95)
GREEDY = RolloutSampling(tokens=12, temperature=0.0)
PROMPTS = [[5, 6, 7, 8], [9], [10, 11], [12, 13, 14], [15], [16, 17]]


def token_by_token(model: LoadedModel, ids: list[int], tokens: int) -> list[int]:
    """Greedy tokens by one forward pass over the whole sequence for each."""
    sequence = list(ids)
    with torch.no_grad():
        for _ in range(tokens):
            sequence.append(int(model.model(torch.tensor([sequence]), use_cache=False).logits[0, -1].argmax()))
    return sequence[len(ids) :]


def greedily(model: LoadedModel, prompts: list[list[int]], ends: list[int]) -> list[list[int]]:
    return together.write(model, prompts, GREEDY, torch.zeros(len(prompts), GREEDY.tokens), ends)


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_in_a_batch_equals_alone(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = tiny.save(tmp_path, AutoModelForCausalLM.from_config(FAMILIES[family][1]), TOKENIZER)
    model = models.load(ModelConfig(source=str(folder), layer=1))
    assert len({len(ids) for ids in PROMPTS}) > 3
    assert greedily(model, PROMPTS, ends=[]) == [token_by_token(model, ids, GREEDY.tokens) for ids in PROMPTS]


def test_a_token_for_padding_without_a_vector(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(tiny_models[0], tmp_path / "padded")
    tiny.add_padding(tmp_path / "padded")
    model = models.load(ModelConfig(source=str(tmp_path / "padded"), layer=2))
    prompts = [[5, 6, 7, 8], [9]]
    assert greedily(model, prompts, ends=[]) == [token_by_token(model, ids, GREEDY.tokens) for ids in prompts]


@pytest.mark.parametrize("side", [0, 1])
def test_an_answer_stops_before_the_first_end(side: int, tiny_models: tuple[Path, Path]) -> None:
    model = models.load(ModelConfig(source=str(tiny_models[side]), layer=1))
    whole = greedily(model, PROMPTS, ends=[])
    end = whole[0][3]
    stopped = greedily(model, PROMPTS, ends=[end])
    assert stopped == [tokens[: tokens.index(end)] if end in tokens else tokens for tokens in whole]
    assert len(stopped[0]) <= 3


@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0, 6.0])
@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.9, 0.999, 1.0])
def test_the_nucleus_is_that_of_sorting_all(spread: float, top_p: float) -> None:
    """From one token that holds all to a flat row, of which thousands are needed; among them rows of both kinds."""
    scores = spread * torch.randn(3, 5_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scores[0] *= 9
    scores += torch.linspace(0, 1e-3, 5_000, dtype=torch.float64)  # no two alike
    found = nucleus(scores, top_p)
    assert torch.equal(found, TopPLogitsWarper(top_p)(torch.zeros(3, 1), scores))
    assert found.isfinite().any(dim=1).all()


def nucleus(scores: Tensor, top_p: float) -> Tensor:
    """What a token is taken from; of each row its last candidate is taken."""
    kept = torch.full_like(scores, -torch.inf)

    def pick(found: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
        kept[rows] = kept[rows].scatter(1, ids, found)
        return found.isfinite().long().cumsum(dim=1).argmax(dim=1, keepdim=True)

    left = together.choose(scores, top_p, pick)
    chosen = left.argmax(dim=1, keepdim=True)
    assert torch.equal(left.isfinite().sum(dim=1), torch.ones(len(scores)))
    assert kept.gather(1, chosen).isfinite().all()
    return kept


def test_of_nothing_the_likeliest_token_is_left() -> None:
    assert nucleus(torch.tensor([[0.0, 2.0, 1.0]]), 0.0)[0].isfinite().tolist() == [False, True, False]


def alone(model: LoadedModel, draws: Tensor, ends: list[int]) -> list[list[int]]:
    return [together.write(model, [prompt], DRAWN, draws[row, None], ends)[0] for row, prompt in enumerate(PROMPTS)]


@pytest.mark.parametrize("family", ["Llama", "Gemma 3", "openai-gpt", "mamba"])
def test_rows_that_ended_leave_and_change_no_other(family: str, tmp_path: Path) -> None:
    """Also of models that keep no cache, or one that cannot be cut: these read what is left anew."""
    if family in FAMILIES:
        torch.manual_seed(0)
        tiny.save(tmp_path, AutoModelForCausalLM.from_config(FAMILIES[family][1]), TOKENIZER)
    else:
        build.make(family, tmp_path)
    model = models.load(ModelConfig(source=str(tmp_path), layer=1))
    draws = torch.rand(len(PROMPTS), DRAWN.tokens, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    whole = alone(model, draws, [])
    ends = sorted({whole[row][at] for row, at in ((0, 2), (1, 5), (2, 9), (3, 9))})
    expected = alone(model, draws, ends)
    assert len({len(tokens) for tokens in expected}) > 2
    seen = passes(model)
    assert together.write(model, PROMPTS, DRAWN, draws, ends) == expected
    rows = [shape[0] for shape in seen]
    assert rows == sorted(rows, reverse=True)
    assert rows[0] == len(PROMPTS)
    assert len(set(rows)) > 1
    if family in FAMILIES:
        assert all(tokens == 1 for _, tokens in seen[1:])  # nothing was read twice


def test_as_many_rows_as_memory_allows(tiny_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.load(ModelConfig(source=str(tiny_models[0]), layer=1))
    free: int | None = 0
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    assert together.most_rows(model, 100) == 1
    free = None
    assert together.most_rows(model, 100) == 8
    free = 2**50
    assert together.most_rows(model, 100) == 64
    vocabulary = len(model.model.get_input_embeddings().weight)
    free = 4 * 10 * 4 * vocabulary * 1_000  # room for the kept logits of 10 rows, if nothing else took any
    assert 5 <= together.most_rows(model, 1, kept=1_000) < 10
