"""The whole line on the two real models of the demo, at small scale."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from dfc import alignment, corpus, models
from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, Side
from dfc.crosscoder import model as crosscoder_model
from dfc.runs import Run
from dfc.steering.generation import Sampling, stream
from dfc.steering.vectors import steering_vector
from dfc.store.reader import FeatureQuery, Store


def test_every_stage_left_its_result(real_run: Run) -> None:
    assert all(real_run.done().values())
    assert set(json.loads(real_run.provenance.read_text())) == {"pair", "harvest", "train", "index"}


def test_the_crosscoder_explains_most_of_both_models(real_run: Run) -> None:
    facts = Store(real_run.store).facts()
    assert facts["fve_a"] > 0.5
    assert facts["fve_b"] > 0.5
    assert facts["alive_a"] > 0.3
    assert facts["alive_b"] > 0.3
    assert facts["l0"] == pytest.approx(16, rel=0.15)


def test_a_live_figure_equals_the_stored_one(real_run: Run) -> None:
    """A stored context's activation is found again by running both models on its document alone.

    On the pairs that count: first positions and outliers have huge norms, and nothing of them is stored.
    """
    manifest = ActivationStore(real_run.activations).manifest
    config, store = real_run.config(), Store(real_run.store)
    loaded = {side: models.load(config.models.side(side)) for side in SIDES}
    crosscoder = crosscoder_model.load(real_run.crosscoder)
    documents = stored.read(real_run)
    features = store.features(FeatureQuery(partitions=("a", "b"), order="max", limit=4))["feature_id"]
    for context in (store.contexts(int(feature))[0] for feature in features):
        document = stored.document(documents, context.document)
        tokens, streams = {}, {}
        for side, model in loaded.items():
            rendering = corpus.render(document, model.tokenizer)
            tokens[side] = alignment.tokenize([rendering], model.tokenizer, model.max_tokens)
            ids = torch.from_numpy(tokens[side].ids)[None]
            with model.stream_reader() as read:
                streams[side] = read(ids, torch.ones_like(ids))[0].clone()
        pairs = alignment.align(tokens["a"], tokens["b"])
        late = np.minimum(pairs.index_a, pairs.index_b) >= manifest.skip_first
        rows_a, rows_b = streams["a"][pairs.index_a[late]], streams["b"][pairs.index_b[late]]
        kept = (rows_a.norm(dim=1) <= manifest.a.norm_limit) & (rows_b.norm(dim=1) <= manifest.b.norm_limit)
        raw = torch.cat([rows_a, rows_b], dim=1)[kept]
        # The store keeps bfloat16, so the live rows are rounded alike; the batching of the forward pass is left.
        codes = crosscoder.encode(crosscoder.scaled(raw.bfloat16()))
        mine = codes.features == context.feature_id
        assert float(codes.values[mine].max()) == pytest.approx(context.peak, rel=2e-2)


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
    vector = steering_vector(real_run, feature, side)
    sampling = Sampling(max_new_tokens=12)
    baseline = "".join(stream(model, "I think that", sampling))
    assert "".join(stream(model, "I think that", sampling, vector, strength=0.0)) == baseline
    assert "".join(stream(model, "I think that", sampling, vector, strength=4.0)) != baseline
