"""The whole line on the two real models of the demo, at small scale."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dfc import models
from dfc.activations import documents as stored
from dfc.activations.loader import kept_rows
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, Side
from dfc.features import live
from dfc.features.encoding import encode_shard
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.steering import edits
from dfc.steering.generation import stream
from dfc.store.reader import FeatureQuery, Store


def test_every_stage_left_its_result(real_run: Run) -> None:
    assert all(real_run.done().values())
    assert set(json.loads(real_run.provenance.read_text())) == {"pair", "harvest", "train", "encode", "index"}


def test_the_crosscoder_explains_most_of_both_models(real_run: Run) -> None:
    facts = Store(real_run.store).facts()
    assert facts["fve_a"] > 0.5
    assert facts["fve_b"] > 0.5
    assert facts["alive_a"] > 0.3
    assert facts["alive_b"] > 0.3
    assert facts["l0"] == pytest.approx(16, rel=0.15)


def test_live_figures_equal_the_stored_ones(real_run: Run) -> None:
    """Documents read alone fire as they are stored, though harvesting read them in batches."""
    opened, store = live.open_run(real_run), ActivationStore(real_run.activations)
    rows = store.rows(0)
    codes = encode_shard(opened.crosscoder, kept_rows(store, 0), 2_048)
    dense = np.zeros((len(rows), opened.crosscoder.config.features), dtype=np.float32)
    dense[codes.rows, codes.features] = codes.values
    dense[~store.keep(0, rows)] = np.nan
    apart = []
    for number in np.unique(rows.document)[:8].tolist():
        reading = live.read(opened, stored.find(real_run, number))
        found = np.stack([reading.activations(feature) for feature in range(dense.shape[1])], axis=1)
        expected = dense[rows.document == number]
        np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
        fires = np.nan_to_num(np.maximum(found, expected)) > 0
        off = np.abs(found - expected)[fires]
        apart.append(np.minimum(off, off / expected[fires].clip(1e-9)))
    # A coordinate that is rounded the other way moves by 2⁻⁸ of itself: of the largest ones, that can be seen.
    assert np.quantile(np.concatenate(apart), 0.999) < 1e-3
    assert np.concatenate(apart).max() < 1e-2


def test_a_context_s_peak_is_found_live(real_run: Run) -> None:
    opened, store = live.open_run(real_run), Store(real_run.store)
    features = store.features(FeatureQuery(partitions=("a", "b"), order="max", limit=4))["feature_id"]
    for context in (store.contexts(int(feature))[0] for feature in features):
        reading = live.read(opened, stored.find(real_run, context.document))
        assert reading.context(context.feature_id).peak == pytest.approx(context.peak, rel=1e-3)


def test_exclusive_features_exist_in_one_model_only(real_run: Run) -> None:
    features = Store(real_run.store).features(FeatureQuery(alive_only=False, limit=512, order="feature_id"))
    for partition, own, other in (("a", "norm_a", "norm_b"), ("b", "norm_b", "norm_a")):
        rows = features[features["partition"] == partition]
        assert len(rows) == round(0.05 * 512)
        assert np.all(rows[other] == 0)
        assert np.all(rows[own] > 0)


@pytest.mark.parametrize("side", SIDES)
def test_steering_a_real_model_changes_what_it_says(real_run: Run, side: Side) -> None:
    store = Store(real_run.store)
    feature = int(store.features(FeatureQuery(partitions=(side,), order="max", limit=1))["feature_id"][0])
    model = models.shared(real_run.config().models.side(side))
    sampling = Sampling(max_new_tokens=12)

    def text(strength: float) -> str:
        program = edits.program(real_run, [Edit(side, feature, strength=strength)], side)
        return "".join(stream(model, Prompt("I think that"), sampling, program))

    baseline = "".join(stream(model, Prompt("I think that"), sampling))
    assert text(0.0) == baseline
    assert text(4.0) != baseline
