"""Exclusive features of real models move their own measure with the strength; random directions of equal norm do not.

The measure: the probability, under the edit, of the 20 tokens that the feature's vector promotes (logit lens), along
what the model wrote alone. docs/steering.md has the demo run's figures and texts.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from dfc.config import SIDES, Side
from dfc.requests import Edit, Sampling, Sweep
from dfc.runs import Run
from dfc.steering import effects, sweeps

STRENGTHS = (0.5, 1.0, 2.0, 4.0)


@pytest.mark.parametrize("side", SIDES)
def test_strength_moves_a_features_own_measure(real_run: Run, side: Side) -> None:
    settings = {"strengths": STRENGTHS, "prompts": ("I think that", "Yesterday we"), "sampling": Sampling(8, 0.7)}
    proven = []
    for feature in sweeps.exclusive_features(real_run, side, 4):
        sweep = Sweep(edits=(Edit(side, feature),), control=True, **settings)
        *_, last = sweeps.run_sweep(real_run, sweep)
        found = effects.curves(sweeps.store(real_run).outputs(last.sweep_id), "mean_promoted")
        means = {kind: found[found["direction"] == kind]["mean"].tolist() for kind in ("feature", "random")}
        assert all(len(values) == 1 + len(STRENGTHS) for values in means.values())
        proven.append(grows(means["feature"]) and not grows(means["random"]))
        if proven[-1]:
            break
    assert any(proven)


def grows(values: list[float]) -> bool:
    return all(before < after for before, after in pairwise(values))
