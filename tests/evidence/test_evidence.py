"""The evidence against brute force: everything computed densely, row by row, on a tiny run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from dfc import pipeline, runs
from dfc.activations.loader import kept_rows
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, Side, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.crosscoder.prediction import ridged
from dfc.evidence import correlation, mirror, moments, neighbours, probe, scaling, stitch
from dfc.evidence.moments import Collected, Rows
from dfc.evidence.stitch import Covariances
from dfc.features.codes import CodesOnDisk
from tests import tiny
from tests.real import data_folder

Floats = npt.NDArray[np.float64]
COLUMNS: dict[Side, slice] = {"a": slice(0, 32), "b": slice(32, 72)}
OTHER: dict[Side, Side] = {"a": "b", "b": "a"}
RIDGE = 1e-2


@dataclass(frozen=True)
class Dense:
    """Every kept pair of a run: streams less the decoder bias, reconstructions likewise, and codes."""

    encoded: CodesOnDisk
    x: Floats
    rebuilt: Floats
    z: Floats
    held_out: npt.NDArray[np.bool_]
    document: npt.NDArray[np.int64]
    partition: npt.NDArray[np.str_]

    def rows(self, batch: int) -> Rows:
        """The run's pairs, every third document from the same source."""
        return moments.stored_rows(self.encoded, self.source_of, 3, batch)

    @property
    def store(self) -> ActivationStore:
        return self.encoded.store

    @property
    def crosscoder(self) -> Crosscoder:
        return self.encoded.crosscoder

    @property
    def source_of(self) -> npt.NDArray[np.int64]:
        return np.arange(self.document.max() + 1) % 3


@pytest.fixture(scope="module")
def dense(tiny_models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Dense:
    """A run with large exclusive partitions."""
    folder = tmp_path_factory.mktemp("evidence")
    crosscoder_settings = {"exclusive_a": 0.25, "exclusive_b": 0.25, "budget_a": 0.25, "budget_b": 0.25}
    with data_folder(folder / "data"):
        run = runs.create(tiny.tiny_config(folder / "texts", tiny_models, crosscoder=crosscoder_settings))
        pipeline.run_stages(run, until="encode")
    store = ActivationStore(run.activations)
    crosscoder = crosscoder_model.load(run.crosscoder)
    rows = [kept_rows(store, shard) for shard in range(len(store))]
    raw = torch.cat([part.x for part in rows])
    found = crosscoder.encode(raw)
    z = torch.zeros(len(raw), 64)
    z[found.rows, found.features] = found.values
    bias = crosscoder.decoder_bias.detach()
    return Dense(
        CodesOnDisk(run.codes, crosscoder, store),
        (raw - bias).double().numpy(),
        (crosscoder.decode(found, len(raw)) - bias).double().numpy(),
        z.double().numpy(),
        torch.cat([part.held_out for part in rows]).numpy(),
        torch.cat([part.document for part in rows]).numpy(),
        np.array(crosscoder.partitions()),
    )


@pytest.fixture(scope="module")
def found(dense: Dense) -> Collected:
    return moments.collect(dense.crosscoder, dense.rows(100), 10_000, 10_000)


def test_moments(dense: Dense, found: Collected) -> None:
    for sums, mine in ((found.train, ~dense.held_out), (found.held_out, dense.held_out)):
        x, z = dense.x[mine], dense.z[mine]
        assert sums.rows == len(x)
        assert sums.mean.numpy() == pytest.approx(x.mean(0), abs=1e-5)
        assert sums.about(sums.mean).numpy() == pytest.approx(np.cov(x.T, bias=True), abs=1e-3)
        assert sums.firings.tolist() == (z > 0).sum(0).tolist()
        assert sums.z.numpy() == pytest.approx(z.sum(0), rel=1e-5)
        assert sums.zz.numpy() == pytest.approx((z**2).sum(0), rel=1e-5)
        assert sums.zx.numpy() == pytest.approx(z.T @ x, rel=1e-4, abs=1e-2)
    assert found.rebuilt.numpy() == pytest.approx((dense.z.T @ dense.rebuilt)[:32], rel=1e-4, abs=1e-2)
    assert found.pairs == len(dense.x)
    assert len(found.sample) == dense.held_out.sum()


def test_sources_and_documents(dense: Dense) -> None:
    for batch in (7, 100):  # batches that begin within a document, and such as hold several
        found = moments.collect(dense.crosscoder, dense.rows(batch), 10, 10)
        source = dense.source_of[dense.document]
        assert found.source_pairs.tolist() == [(source == number).sum() for number in range(3)]
        for feature in range(64):
            fires = dense.z[:, feature] > 0
            assert found.by_source[feature].tolist() == [(fires & (source == number)).sum() for number in range(3)]
            assert int(found.documents[feature]) == len(set(dense.document[fires]))


def test_samples_are_bounded_even_and_belong_to_their_codes(dense: Dense) -> None:
    few = moments.collect(dense.crosscoder, dense.rows(100), 50, 120)
    assert 25 < len(few.sample) <= 50
    assert 60 < few.pairs <= 120
    again = dense.crosscoder.encode(few.sample + dense.crosscoder.decoder_bias)
    assert _dense(few.sample_codes, len(few.sample)) == pytest.approx(_dense(again, len(few.sample)), abs=1e-4)
    step = -(-int(dense.held_out.sum()) // 50)
    assert few.sample.numpy() == pytest.approx(dense.x[dense.held_out][::step], abs=1e-5)
    distance = np.abs(_dense(few.codes, few.pairs)[:, None] - dense.z).max(axis=2)
    assert distance.min(axis=1).max() < 1e-4
    assert len(set(distance.argmin(axis=1))) > 0.8 * few.pairs  # some documents come more than once


def objective(moments: Covariances, a_to_b: torch.Tensor, b_to_a: torch.Tensor, inversion: float) -> float:
    """What is minimised, per row."""
    there, back = stitch.squared_error(moments, a_to_b), stitch.squared_error(moments.swapped(), b_to_a)
    around_a = stitch.squared_error(stitch.Covariances(moments.a, moments.a, moments.a), b_to_a @ a_to_b)
    around_b = stitch.squared_error(stitch.Covariances(moments.b, moments.b, moments.b), a_to_b @ b_to_a)
    return there + back + inversion * (around_a + around_b)


def _dense(codes: Codes, rows: int) -> npt.NDArray[np.float32]:
    result = np.zeros((rows, 64), dtype=np.float32)
    result[codes.rows, codes.features] = codes.values
    return result


def test_probes_against_normal_equations(dense: Dense, found: Collected) -> None:
    probes = probe.measure(found, RIDGE)
    z, out = dense.z[~dense.held_out], dense.z[dense.held_out]
    checked = 0
    for side in SIDES:
        x, new = (dense.x[rows][:, COLUMNS[side]] for rows in (~dense.held_out, dense.held_out))
        centred, width = x - x.mean(0), x.shape[1]
        gram = centred.T @ centred / len(x)
        weights = np.linalg.solve(gram + RIDGE * np.trace(gram) / width * np.eye(width), centred.T @ z / len(x))
        guess = z.mean(0) + (new - x.mean(0)) @ weights
        for feature in range(64):
            fired = out[:, feature] > 0
            if not fired.any():
                assert np.isnan(probes.r2[side][feature])
                assert np.isnan(probes.auroc[side][feature])
                continue
            error = ((out[:, feature] - guess[:, feature]) ** 2).sum()
            variance = ((out[:, feature] - out[:, feature].mean()) ** 2).sum()
            assert probes.r2[side][feature] == pytest.approx(1 - error / variance, abs=1e-3)
            if (z[:, feature] > 0).any() and not fired.all():
                positive, negative = guess[fired, feature], guess[~fired, feature]
                wins = (positive[:, None] > negative).mean()
                assert probes.auroc[side][feature] == pytest.approx(wins, abs=5e-3)
                checked += 1
    assert checked > 60


def test_auroc_counts_ties_half() -> None:
    scores = torch.tensor([[1.0, 2.0, 2.0, 3.0], [0.0, 0.0, 0.0, 0.0], [4.0, 3.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]])
    codes = Codes(torch.tensor([1, 3, 0, 2, 0]), torch.tensor([0, 0, 1, 1, 2]), torch.ones(5))
    assert probe.firing_auroc(scores, codes)[:3].tolist() == [0.875, 0.5, 1.0]
    assert probe.firing_auroc(scores, codes)[3].isnan()


def test_correlations_against_corrcoef(dense: Dense, found: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correlation, "_BLOCK_BYTES", 5 * 8 * 64)  # several blocks, the last one smaller
    mirrors, shared = mirror.correlations(dense.crosscoder, found.codes, found.pairs)
    with np.errstate(invalid="ignore", divide="ignore"):
        everything = np.corrcoef(dense.z.T)
    partner = {"a": "b", "b": "a"}
    defined = 0
    for feature in range(64):
        own = str(dense.partition[feature])
        for result, other in ((mirrors, partner.get(own)), (shared, "shared" if own != "shared" else None)):
            candidates = np.where(dense.partition == other, everything[feature], np.nan)
            if np.isnan(candidates).all():
                assert result.ids[feature] == -1
                assert np.isnan(result.correlations[feature])
                continue
            assert result.correlations[feature] == pytest.approx(np.nanmax(candidates), abs=1e-6)
            assert candidates[result.ids[feature]] == pytest.approx(np.nanmax(candidates), abs=1e-6)
            defined += 1
    assert defined > 40


def test_stitch_starts_as_ridge_regression_each_way(found: Collected) -> None:
    maps = stitch.fit(found.train, RIDGE, 0.1, 0)
    exact = stitch.covariances(found.train, found.train.mean)
    for matrix, source, cross in ((maps.a_to_b, exact.a, exact.ba), (maps.b_to_a, exact.b, exact.ba.T)):
        noise = RIDGE * source.trace() / len(source) * torch.eye(len(source))
        assert (matrix @ (source + noise) - cross).abs().max() < 1e-6 * cross.abs().max()


def test_each_half_step_is_the_best_there_is() -> None:
    """The closed form against the gradient of the objective, written over rows."""
    generator = torch.Generator().manual_seed(0)
    x_a = torch.randn(300, 7, generator=generator, dtype=torch.float64)
    mixing = torch.randn(7, 9, generator=generator, dtype=torch.float64)
    x_b = x_a @ mixing + torch.randn(300, 9, generator=generator, dtype=torch.float64)
    back = torch.randn(7, 9, generator=generator, dtype=torch.float64)
    rows = Covariances(x_a.T @ x_a / 300, x_b.T @ x_b / 300, x_b.T @ x_a / 300)
    for inversion in (0.0, 0.1, 3.0):
        best = stitch.best_map(rows, back, inversion).requires_grad_()
        errors = (x_b - x_a @ best.T, x_a - x_b @ back.T)
        around = (x_a - x_a @ best.T @ back.T, x_b - x_b @ back.T @ best.T)
        loss = sum(e.square().sum() for e in errors) + inversion * sum(e.square().sum() for e in around)
        assert isinstance(loss, torch.Tensor)
        loss = loss / 300
        loss.backward()
        assert best.grad is not None
        assert best.grad.abs().max() < 1e-9
        assert objective(rows, best.detach(), back, inversion) == pytest.approx(loss.item())


def test_rounds_lower_the_objective_and_mend_the_round_trip(found: Collected) -> None:
    exact = stitch.covariances(found.train, found.train.mean)
    noisy = Covariances(ridged(exact.a, RIDGE), ridged(exact.b, RIDGE), exact.ba)
    fitted = [stitch.fit(found.train, RIDGE, 0.3, rounds) for rounds in range(4)]
    losses = [objective(noisy, maps.a_to_b, maps.b_to_a, 0.3) for maps in fitted]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    first, last = (stitch.quality(maps, found.train, found.train) for maps in (fitted[0], fitted[-1]))
    assert last["r2_around_a"] > first["r2_around_a"]


def test_quality_against_rows(dense: Dense, found: Collected) -> None:
    maps = stitch.fit(found.train, RIDGE, 0.1, 2)
    train, new = dense.x[~dense.held_out], dense.x[dense.held_out]
    a, b = (new[:, COLUMNS[side]] - train[:, COLUMNS[side]].mean(0) for side in SIDES)
    ab, ba = maps.a_to_b.numpy(), maps.b_to_a.numpy()
    expected = {
        "r2_a_to_b": _r2(b, a @ ab.T),
        "r2_b_to_a": _r2(a, b @ ba.T),
        "r2_around_a": _r2(a, a @ ab.T @ ba.T),
        "r2_around_b": _r2(b, b @ ba.T @ ab.T),
    }
    assert stitch.quality(maps, found.train, found.held_out) == pytest.approx(expected, abs=1e-4)


def _r2(truth: Floats, guess: Floats) -> float:
    return float(1 - ((truth - guess) ** 2).sum() / ((truth - truth.mean(0)) ** 2).sum())


def test_latent_scaling_against_loops(dense: Dense, found: Collected) -> None:
    maps = stitch.fit(found.train, RIDGE, 0.1, 2)
    scaled = scaling.scale(dense.crosscoder, found, maps)
    assert np.isnan(scaled.epsilon[32:]).all()
    assert np.isnan(scaled.reconstruction[32:]).all()
    residual = dense.x - dense.rebuilt
    checked = 0
    for side, first in (("a", 0), ("b", 16)):
        ids, vectors = dense.crosscoder.decoder_vectors(side)
        matrix = (maps.a_to_b if side == "a" else maps.b_to_a).numpy()
        for feature in range(first, first + 16):
            activation, direction = dense.z[:, feature], vectors[ids == feature][0].double().numpy()
            if not activation.any():
                assert np.isnan(scaled.epsilon[feature])
                continue
            own, other = COLUMNS[side], COLUMNS[OTHER[side]]  # type: ignore[index]
            added_back = residual[:, own] + activation[:, None] * direction
            epsilon = _beta(residual[:, other], activation, matrix @ direction) / _beta(
                added_back, activation, direction
            )
            rebuilt = _beta(dense.rebuilt[:, other], activation, matrix @ direction) / _beta(
                dense.rebuilt[:, own], activation, direction
            )
            assert scaled.epsilon[feature] == pytest.approx(epsilon, rel=1e-3, abs=1e-4)
            assert scaled.reconstruction[feature] == pytest.approx(rebuilt, rel=1e-3, abs=1e-4)
            checked += 1
    assert checked > 20


def _beta(target: Floats, activation: Floats, direction: Floats) -> float:
    """argmin Σ‖Y − β f d‖² by a least-squares solver over the flattened rows."""
    [beta] = np.linalg.lstsq(np.outer(activation, direction).reshape(-1, 1), target.reshape(-1), rcond=None)[0]
    return float(beta)


def test_neighbours_against_all_cosines(dense: Dense, found: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "_BLOCK_BYTES", 7 * 4 * 48)
    maps = stitch.fit(found.train, RIDGE, 0.1, 2)
    alive = found.firings > 0
    table = neighbours.nearest(dense.crosscoder, maps, alive, 3).to_pandas()
    cosines = neighbours.decoder_cosine(dense.crosscoder, maps)
    matrices = {"a_to_b": maps.a_to_b.numpy(), "b_to_a": maps.b_to_a.numpy()}
    matrices |= {"a": np.eye(32), "b": np.eye(40)}
    vectors = {}
    for side in SIDES:
        ids, of_side = dense.crosscoder.decoder_vectors(side)
        vectors[side] = {int(i): v.double().numpy() for i, v in zip(ids, of_side, strict=True)}
    for kind, matrix in matrices.items():
        for feature, vector in vectors[kind[0]].items():
            mine = table[(table["feature_id"] == feature) & (table["kind"] == kind)]
            carried = matrix @ vector
            similar = {i: _cosine(carried, v) for i, v in vectors[kind[-1]].items() if i != feature and alive[i]}
            expected = sorted(similar.values(), reverse=True)[:3] if alive[feature] else []
            assert mine["similarity"].tolist() == pytest.approx(expected, abs=1e-5)
            assert [similar[i] for i in mine["other_id"]] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(cosines[:32]).all()
    read = neighbours.encoder_cosine(dense.crosscoder, maps)
    assert np.isnan(read[:32]).all()
    encoders = {side: dense.crosscoder.encoder_vectors(side)[1][-32:].double().numpy() for side in SIDES}
    for feature, a, b in zip(range(32, 64), encoders["a"], encoders["b"], strict=True):
        both = (_cosine(a, matrices["a_to_b"].T @ b) + _cosine(matrices["b_to_a"].T @ a, b)) / 2
        assert read[feature] == pytest.approx(both, abs=1e-5)
    for feature in range(32, 64):
        there = _cosine(matrices["a_to_b"] @ vectors["a"][feature], vectors["b"][feature])
        back = _cosine(vectors["a"][feature], matrices["b_to_a"] @ vectors["b"][feature])
        assert cosines[feature] == pytest.approx((there + back) / 2, abs=1e-5)


def _cosine(left: Floats, right: Floats) -> float:
    return float(left @ right / np.linalg.norm(left) / np.linalg.norm(right))


def test_evidence_needs_held_out_documents(dense: Dense, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = tuple(
        replace(shard, train=shard.train + shard.held_out, held_out=0) for shard in dense.store.manifest.shards
    )
    monkeypatch.setattr(dense.store, "manifest", replace(dense.store.manifest, shards=shards))
    with pytest.raises(
        UserError, match=f"has {len(dense.x)} pairs for training and 0 held out, and evidence needs both"
    ):
        dense.rows(100)
