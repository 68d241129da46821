"""The causal check on tiny models: texts, what is taken away, what is kept, and what it means."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest
import torch

from dfc.config import SIDES, UserError
from dfc.features import firings, live
from dfc.report import causal as told
from dfc.runs import Run
from dfc.screen import causal
from dfc.steering.vectors import steering_vector
from dfc.store.effects import EffectStore
from dfc.store.reader import FeatureQuery, Store


def alive(run: Run, partition: str) -> int:
    query = FeatureQuery(partitions=(partition,), limit=1, order="density")  # type: ignore[arg-type]
    return int(Store(run.store).features(query)["feature_id"][0])


def test_documents_have_every_firing_that_reading_them_gives(tiny_run: Run) -> None:
    opened, feature = live.open_run(tiny_run), alive(tiny_run, "shared")
    found = firings.documents(tiny_run, opened.crosscoder, [feature], 12)[feature]
    assert 3 <= len(found) <= 12
    assert [one.held_out for one in found] == sorted((one.held_out for one in found), reverse=True)
    assert found[0].held_out
    for one in found[:3]:
        read = live.read_stored(opened, one.document)
        values = np.nan_to_num(read.activations(feature))
        assert one.ids == read.ids
        for side in SIDES:
            assert one.at[side].tolist() == read.index[side][values > 0].tolist()
        assert one.values == pytest.approx(values[values > 0], rel=1e-2)


def test_documents_of_contexts_follow_where_held_out_ones_are_few(tiny_run: Run) -> None:
    opened, feature = live.open_run(tiny_run), alive(tiny_run, "shared")
    found = firings.documents(tiny_run, opened.crosscoder, [feature], 10_000)[feature]
    contexts = {one.document for one in Store(tiny_run.store).contexts(feature)}
    assert {one.document for one in found if not one.held_out} <= contexts
    assert contexts <= {one.document for one in found}
    assert len({one.document for one in found}) == len(found)


def test_what_is_taken_away_is_the_decoder_vector_times_the_activation(tiny_run: Run) -> None:
    opened, feature = live.open_run(tiny_run), alive(tiny_run, "shared")
    [one, *_] = firings.documents(tiny_run, opened.crosscoder, [feature], 12)[feature]
    ids, vectors = opened.crosscoder.decoder_vectors("a")
    scaled = vectors[ids == feature][0] / opened.crosscoder.scale[:32]
    passage = causal._passage(steering_vector(tiny_run, feature, "a"), vectors, one, 1_000)
    torch.testing.assert_close(passage.taken[0], torch.from_numpy(one.values)[:, None] * scaled)
    torch.testing.assert_close(passage.taken[1].norm(dim=1), passage.taken[0].norm(dim=1))
    cut = causal._passage(steering_vector(tiny_run, feature, "a"), vectors, one, 1)
    assert cut.at == [passage.at[0]]
    assert cut.positions == 1


def test_it_is_kept_goes_on_and_is_done_anew_where_more_is_asked(tiny_copy: Run) -> None:
    shared, own = alive(tiny_copy, "shared"), alive(tiny_copy, "a")
    first = causal.measure(tiny_copy, [shared, own], 6, 8)
    assert next(first) == shared
    first.close()  # interrupted
    assert list(causal.measure(tiny_copy, [shared, own], 6, 8)) == [own]
    assert list(causal.measure(tiny_copy, [shared, own], 6, 8)) == []
    store = Store(tiny_copy.store)
    found = told.kept(store, [shared, own])
    assert [one.side for one in found[shared].effects] == ["a", "b"]
    assert [one.side for one in found[own].effects] == ["a"]
    assert found[own].agreement is None
    assert (alike := found[shared].agreement) is not None
    assert alike.texts == 6
    assert all(one.own.value > 0 and one.random.value > 0 for one in found[shared].effects)
    assert list(causal.measure(tiny_copy, [own], 4, 8)) == [own]
    assert told.kept(store, [own])[own].effects[0].texts == 4


def test_of_other_features_it_counts_as_none(tiny_copy: Run) -> None:
    feature = alive(tiny_copy, "b")
    kept = EffectStore(tiny_copy.effects)
    row = {"feature_id": feature, "side": "b", "document": 1, "held_out": True, "firings": 1, "positions": 1}
    kept.add_ablation(feature, "of another training", 4, 8, [{**row, "kl": 1.0, "random": 0.5}])
    assert told.kept(Store(tiny_copy.store), [feature]) == {}
    assert list(causal.measure(tiny_copy, [feature], 4, 8)) == [feature]


def test_a_dead_feature_is_refused(tiny_copy: Run) -> None:
    with duckdb.connect(str(tiny_copy.store)) as store:
        store.execute("UPDATE features SET alive = false WHERE feature_id = 3")
    with pytest.raises(UserError, match="feature 3 is dead"):
        list(causal.measure(tiny_copy, [3], 4, 8))
