"""The comparison of settings: every variant is a valid configuration, and the page says what was measured."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from dfc.config import CrosscoderConfig, RunConfig, TrainingConfig
from dfc.runs import Run
from dfc.worlds import choices
from dfc.worlds.choices import VARIANTS, Variant
from dfc.worlds.toy import WorldConfig
from dfc.worlds.toy_experiment import Experiment


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_variant_is_a_configuration_that_a_yaml_could_hold(variant: Variant) -> None:
    plain = CrosscoderConfig(**variant.crosscoder), TrainingConfig(**variant.training)
    assert plain == (
        CrosscoderConfig().model_copy(update=variant.crosscoder),
        TrainingConfig().model_copy(update=variant.training),
    )
    assert variant is VARIANTS[0] or plain != (CrosscoderConfig(), TrainingConfig())


def test_the_page(tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = (VARIANTS[0], VARIANTS[1])
    quick = TrainingConfig(steps=20, batch=64, k_start=5, k_anneal_steps=0, warmup_steps=0, aux_k=4, threshold_start=5)
    small = Experiment(WorldConfig(concepts=40, width=16), quick, (1.0,), seeds=1)
    monkeypatch.setattr(choices, "VARIANTS", some)
    monkeypatch.setattr(choices, "SEEDS", 1)
    monkeypatch.setitem(choices.PRESETS, "small", small)
    worlds = dict(zip((variant.name for variant in some), choices._one_world(0), strict=True))
    monkeypatch.setattr(choices, "on_toy_worlds", lambda _: worlds)
    text = choices.write(tiny_run, tmp_path, workers=1).read_text()
    assert len(re.findall(r"^\| B .* \| (?:median|variance|columns) \|", text, re.M)) == 9
    for variant in some:
        assert text.count(f"| {variant.name} |") == 2
    own = choices.on_run(tiny_run, steps=60)
    config: RunConfig = tiny_run.config()
    defaults, standard = own[some[0].name], own[some[1].name]
    for side in ("A", "B"):
        assert 0 < defaults[f"FVE {side}"] < 1
        assert defaults[f"L0 {side}"] == pytest.approx(0.1 * config.crosscoder.k, rel=0.6)
        assert standard[f"L0 {side}"] == standard[f"adds {side}"] == 0
        assert math.isnan(standard[f"alive {side}"])
