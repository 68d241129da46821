"""The benchmarks of rollouts and sweeps compare equal work: what they measure, not how fast."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfc import models
from dfc.bench import rollouts, sweep, writing
from dfc.config import ModelConfig
from dfc.corpus import plain
from dfc.models import LoadedModel, together
from dfc.requests import Edit, RolloutSampling, Sampling, Sweep
from tests.tiny import passes


@pytest.fixture
def model(tiny_models: tuple[Path, Path]) -> LoadedModel:
    return models.load(ModelConfig(source=str(tiny_models[1]), layer=2, max_tokens=128))


def test_the_floor_runs_what_writing_runs(model: LoadedModel) -> None:
    prompts, seen = [[5, 6, 7], [8]], passes(model)
    writing.bare(model, prompts, 4)
    floor = [*seen]
    seen.clear()
    sampling = RolloutSampling(tokens=4, temperature=0.0)
    together.write(model, prompts, sampling, torch.zeros(2, 4), ends=[])
    assert floor == seen == [(2, 3), (2, 1), (2, 1), (2, 1)]


def test_figures_of_rollouts(model: LoadedModel) -> None:
    found = rollouts.measure(model, [plain("The old bridge"), plain("河")], RolloutSampling(tokens=4), rounds=1)
    rates = {figure.name.partition(",")[0]: figure for figure in found}
    assert rates["rollouts"].ratio == pytest.approx(rates["bare forward passes"].value / rates["rollouts"].value)
    assert rates["a token"].ratio == pytest.approx(rates["one answer at a time"].value / rates["rollouts"].value)


def test_figures_of_a_sweep(model: LoadedModel) -> None:
    asked = Sweep((Edit("a", 0), Edit("a", 1)), (1.0, 2.0), ("The old", "河"), Sampling(4, 0.7, 0.9), control=True)
    found = {figure.name.partition(",")[0]: figure for figure in sweep.measure(model, asked, rounds=1)}
    assert found["sweep"].ratio == pytest.approx(found["sweep"].value / found["bare forward passes"].value)
    assert found["outputs a second"].value == pytest.approx(1e3 / found["sweep"].value)
    assert found["outputs a second"].ratio == pytest.approx(found["sweep"].value / found["one output alone"].value)
