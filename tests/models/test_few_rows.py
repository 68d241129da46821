"""The quick product of few rows against the usual one, and texts generated with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dfc import models
from dfc.config import ModelConfig
from dfc.models import few_rows
from dfc.models.few_rows import FewRowsLinear, quicken
from dfc.requests import Sampling
from dfc.steering import generation
from dfc.steering.generation import BASELINE
from tests.steering.test_generation import PROMPT, adding, vector_for


def as_if_it_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every matrix were large, and this machine one on which it pays."""
    monkeypatch.setattr(few_rows, "_LEAST_WEIGHTS", 0)
    monkeypatch.setattr(few_rows, "_pays", lambda weight: True)


@pytest.mark.parametrize("shape", [(1,), (2,), (8,), (9,), (2, 1), (2, 3), (1, 1), (0,), (40, 2)])
def test_equals_the_usual_product(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    as_if_it_paid(monkeypatch)
    head, x = nn.Linear(24, 70, bias=False), torch.randn(*shape, 24)
    expected = head(x)
    quicken(head)
    assert type(head) is FewRowsLinear
    torch.testing.assert_close(head(x), expected)
    assert head(x).is_contiguous()


def test_others_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    small, biased, half = nn.Linear(24, 70, bias=False), nn.Linear(24, 70), nn.Linear(24, 70, bias=False).half()
    quicken(small)
    as_if_it_paid(monkeypatch)
    quicken(biased)
    quicken(half)
    assert type(small) is type(biased) is type(half) is nn.Linear


@pytest.mark.parametrize(("turned", "kind"), [(0.5, FewRowsLinear), (0.9, nn.Linear), (2.0, nn.Linear)])
def test_it_is_taken_only_where_it_is_clearly_faster(
    turned: float, kind: type[nn.Linear], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few_rows, "_LEAST_WEIGHTS", 0)
    monkeypatch.setattr(few_rows, "_TRIED_WEIGHTS", 24 * 50)
    tried = []

    def seconds(product: Callable[..., torch.Tensor], rows: torch.Tensor, weight: torch.Tensor) -> float:
        tried.append((rows.shape, weight.shape))
        hindered = 10.0 if len(tried) < 3 else 0.0  # a busy moment of the machine
        return hindered + (turned if product is few_rows._turned else 1.0)

    monkeypatch.setattr(few_rows, "_seconds", seconds)
    head = nn.Linear(24, 70, bias=False)
    quicken(head)
    assert type(head) is kind
    assert set(tried) == {((2, 24), (50, 24))}


@pytest.mark.parametrize("side", [0, 1])
def test_texts_are_the_same(side: int, tiny_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    config = ModelConfig(source=str(tiny_models[side]), layer=2, max_tokens=128)
    usual, quick = models.load(config), models.load(config)
    programs = [BASELINE, adding(vector_for(usual), 1.0)]
    expected = generation.generate(usual, PROMPT, Sampling(16), programs)
    as_if_it_paid(monkeypatch)
    rows, forward = [], FewRowsLinear.forward

    def counted(self: FewRowsLinear, x: torch.Tensor) -> torch.Tensor:
        rows.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(FewRowsLinear, "forward", counted)
    assert generation.generate(quick, PROMPT, Sampling(16), programs) == expected
    assert rows == [2] * 16
