"""The steering benchmark compares equal work: the same prompt, and as many tokens on both sides."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfc import models
from dfc.bench import steer
from dfc.config import ModelConfig
from dfc.models import LoadedModel
from dfc.steering.generation import BASELINE


@pytest.fixture(params=[0, 1])
def model(request: pytest.FixtureRequest, tiny_models: tuple[Path, Path]) -> LoadedModel:
    return models.load(ModelConfig(source=str(tiny_models[request.param]), layer=2, max_tokens=128))


@pytest.mark.parametrize("rows", [1, 2])
def test_both_sides_run_the_same_positions(model: LoadedModel, rows: int) -> None:
    seen: list[Tensor] = []
    model.model.get_input_embeddings().register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    steer._plain(model, rows, 4)
    theirs = [*seen]
    seen.clear()
    steer._ours(model, [BASELINE] * rows, 4)()
    assert [ids.shape[0] for ids in theirs] == [rows] * 4
    assert all(torch.equal(ours, plain) for ours, plain in zip(seen, theirs, strict=True))


def test_a_text_that_ends_early_is_no_measure(model: LoadedModel) -> None:
    drawn: list[int] = []
    model.model.register_forward_hook(lambda module, inputs, output: drawn.append(int(output.logits[0, -1].argmax())))
    steer._plain(model, 1, 3)
    model.model.generation_config.eos_token_id = drawn[1]
    for run in (lambda: steer._plain(model, 1, 3), steer._ours(model, [BASELINE], 3)):
        with pytest.raises(RuntimeError, match="tokens came instead of 3"):
            run()
