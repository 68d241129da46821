"""The benchmark of the index: what it measures, not how fast."""

from __future__ import annotations

import pytest

from dfc.bench import index


def test_figures_of_a_small_dictionary() -> None:
    found = {figure.name: figure for figure in index.measure(features=128, k=8, pairs=2_048, shard_pairs=1_024)}
    whole = found["the whole pass"]
    assert whole.target == 1.5
    assert whole.ratio == pytest.approx(whole.value / found["encoding alone"].value)
    written = found["writing the store"]
    assert written.ratio == pytest.approx(written.value / whole.value)
    assert written.value > 0
    assert 4 < found["activations a pair"].value < 16
