"""The bench of what `verify` asks of the models measures what it says, on a tiny one."""

from __future__ import annotations

from pathlib import Path

import torch

from dfc import models
from dfc.bench import verify
from dfc.config import HarvestConfig, ModelConfig


def test_every_way_is_measured_beside_a_plain_pass(tiny_models: tuple[Path, Path]) -> None:
    model = models.load(ModelConfig(source=str(tiny_models[0]), layer=1, name="Tiny"))
    ids = [torch.randint(5, 200, (length,)).tolist() for length in (40, 30, 5)]
    found = verify.measure(model, ids, HarvestConfig())
    plain, by_words, onward = found
    assert all(figure.value > 0 and "Tiny" in figure.name for figure in (plain, by_words))
    assert by_words.ratio is not None
    assert abs(by_words.ratio * by_words.value / plain.value - 1) < 1e-6
    assert onward.target == 0.5
    assert plain.ratio is None
