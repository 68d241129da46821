"""Which modules hand over to interventions, and that the others run as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nnsight.intervention.interleaver import OutOfOrderError

from dfc import models
from dfc.config import ModelConfig
from dfc.models import LoadedModel, stream_of


@pytest.fixture(scope="module", params=[0, 1])
def model(request: pytest.FixtureRequest, tiny_models: tuple[Path, Path]) -> LoadedModel:
    return models.load(ModelConfig(source=str(tiny_models[request.param]), layer=2, max_tokens=128))


def test_the_model_and_its_blocks_hand_over_and_nothing_else(model: LoadedModel) -> None:
    assert model.live_site.path == f"model.{model.blocks_path}.2"
    handing_over = {module for module in model.model.modules() if "forward" in vars(module)}
    assert handing_over == {model.model, *model.blocks}


def test_values_are_read_at_blocks_and_at_the_output(model: LoadedModel) -> None:
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        expected = model.model(ids, output_hidden_states=True)
    live, blocks = model.live, [model.live.get(f"{model.blocks_path}.{number}") for number in (0, 2)]
    with torch.no_grad(), live.trace({"input_ids": ids}):
        first = stream_of(blocks[0].output).save()  # type: ignore[attr-defined]
        site = stream_of(blocks[1].output).save()  # type: ignore[attr-defined]
        logits = live.output.logits.save()
    torch.testing.assert_close(first, expected.hidden_states[1])
    torch.testing.assert_close(site, expected.hidden_states[3])
    torch.testing.assert_close(logits, expected.logits)


def test_elsewhere_a_value_is_refused_rather_than_missing(model: LoadedModel) -> None:
    head = model.live.lm_head
    with pytest.raises(OutOfOrderError, match="lm_head"), model.live.trace({"input_ids": torch.arange(5, 12)[None]}):
        head.output.save()
