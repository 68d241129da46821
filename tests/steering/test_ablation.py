"""What is left out without a feature, against the model run whole over one text after another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfc import models
from dfc.config import ModelConfig
from dfc.models import LoadedModel
from dfc.steering import ablation
from dfc.steering.ablation import Passage
from tests.tiny import passes


@pytest.fixture(params=[0, 1], ids=["llama", "gemma"])
def model(request: pytest.FixtureRequest, tiny_models: tuple[Path, Path]) -> LoadedModel:
    return models.load(ModelConfig(source=str(tiny_models[request.param]), layer=2, max_tokens=256))


def passage(model: LoadedModel, length: int, at: list[int], seed: int) -> Passage:
    torch.manual_seed(seed)
    ids = torch.randint(10, 300, (length,)).tolist()
    return Passage(ids, at, torch.randn(2, len(at), model.width))


def plainly(model: LoadedModel, ids: list[int], at: list[int], taken: Tensor) -> Tensor:
    """Log-probabilities with something taken off the stream, (length, vocabulary)."""

    def take(module: Any, inputs: Any, output: Any) -> Any:
        stream = (output if isinstance(output, Tensor) else output[0]).clone()
        for place, vector in zip(at, taken, strict=True):
            stream[0, place] -= vector
        return stream if isinstance(output, Tensor) else (stream, *output[1:])

    handle = model.site.register_forward_hook(take)
    try:
        with torch.no_grad():
            return model.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(dim=-1)
    finally:
        handle.remove()


def test_each_version_is_what_it_is_alone(model: LoadedModel) -> None:
    some = [passage(model, 20, [3, 4, 17], 0), passage(model, 33, [30], 1), passage(model, 12, [0, 11], 2)]
    found = dict(ablation.divergences(model, some))
    assert sorted(found) == [0, 1, 2]
    for place, one in enumerate(some):
        alone = plainly(model, one.ids, one.at, torch.zeros(len(one.at), model.width))
        for version in range(2):
            without = plainly(model, one.ids, one.at, one.taken[version])
            kl = (without.exp() * (without - alone)).sum(dim=-1)
            assert found[place][version] == pytest.approx(float(kl[one.at[0] :].mean()), rel=1e-3)
            assert found[place][version] > 1e-3


def test_nothing_taken_changes_nothing(model: LoadedModel) -> None:
    one = passage(model, 15, [5, 6], 0)
    [(_, (first, second))] = ablation.divergences(model, [Passage(one.ids, one.at, one.taken * 0)])
    assert (first, second) == pytest.approx((0, 0), abs=1e-6)  # rows of a batch may differ in their last digits


def test_texts_share_passes_and_logits_are_made_where_they_are_compared(model: LoadedModel) -> None:
    some = [passage(model, 20, [12], seed) for seed in range(3)]
    seen = passes(model)
    list(ablation.divergences(model, some))
    # one pass over nine rows, which ends at the last block; then the lens: three rows at eight positions of each text
    assert seen == [(9, 20), (24, 1), (24, 1), (24, 1)]
