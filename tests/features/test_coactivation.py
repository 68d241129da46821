"""Partners of a feature against dense products over all pairs."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfc.activations.shards import ActivationStore
from dfc.crosscoder import model as crosscoder_model
from dfc.features import coactivation
from dfc.features.coactivation import Firings
from dfc.features.codes import CodesOnDisk
from dfc.runs import Run


def firings(dense: npt.NDArray[np.bool_]) -> Firings:
    feature, pair = dense.T.nonzero()
    return Firings(len(dense), dense.shape[1], feature, pair)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    pairs=st.integers(1, 60),
    features=st.integers(1, 12),
    density=st.floats(0.0, 1.0),
    partners=st.integers(0, 14),
    at_once=st.sampled_from([1, 3, 100]),
)
def test_against_correlations_of_dense_columns(
    seed: int, pairs: int, features: int, density: float, partners: int, at_once: int
) -> None:
    dense = np.random.default_rng(seed).random((pairs, features)) < density
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coactivation, "_BLOCK_BYTES", 8 * features * at_once)
        patch.setattr(coactivation, "_PRODUCTS_AT_ONCE", 7)
        found = coactivation.strongest(firings(dense), partners).to_pandas()
    assert found["feature_id"].is_monotonic_increasing
    for feature in range(features):
        mine = found[found["feature_id"] == feature]
        expected = {}
        for other in range(features):
            both, either = dense[:, feature] & dense[:, other], dense[:, feature] | dense[:, other]
            constant = dense[:, feature].all() or dense[:, other].all()
            if other != feature and both.sum() >= 3 and not constant:
                phi = np.corrcoef(dense[:, feature], dense[:, other])[0, 1]
                if phi > 1e-9:
                    expected[other] = (int(both.sum()), both.sum() / either.sum(), phi)
        best = sorted((phi for *_, phi in expected.values()), reverse=True)[:partners]
        assert mine["phi"].tolist() == pytest.approx(best)
        for row in mine.itertuples():
            assert (row.together, row.jaccard, row.phi) == pytest.approx(expected[row.other_id])


def test_what_meets_by_chance_is_no_partner() -> None:
    """Two dense features overlap on a third of what either has; two rare ones that go together are partners."""
    quarter = np.arange(40)
    dense = np.stack([quarter % 2 == 0, quarter % 4 < 2, quarter < 4, quarter < 3], axis=1)
    found = coactivation.strongest(firings(dense), 3).to_pandas()
    assert found[["feature_id", "other_id", "together"]].to_numpy().tolist() == [[2, 3, 3], [3, 2, 3]]
    assert found["jaccard"].tolist() == pytest.approx([0.75, 0.75])


def test_an_even_sample_of_pairs(tiny_run: Run) -> None:
    store, crosscoder = ActivationStore(tiny_run.activations), crosscoder_model.load(tiny_run.crosscoder)
    codes = CodesOnDisk(tiny_run.codes, crosscoder, store)
    kept = [np.flatnonzero(store.keep(shard, store.rows(shard))) for shard in range(len(store))]
    fired = []
    for shard, rows in enumerate(kept):
        found = codes.shard(shard)
        dense = np.zeros((int(rows.max()) + 1, codes.features), dtype=bool)
        dense[found.rows, found.features] = True
        fired.append(dense[rows])
    everything = np.concatenate(fired)
    for most in (10**6, len(everything), 700, 1):
        step = -(-len(everything) // most) if most < len(everything) else 1
        expected, got = firings(everything[::step]), coactivation.sample(codes, most)
        assert got.pairs == expected.pairs <= most
        assert np.array_equal(got.feature, expected.feature)
        assert np.array_equal(got.pair, expected.pair)
