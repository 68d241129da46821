"""A feature's direction and gauge in each model's own space, against the crosscoder itself."""

from __future__ import annotations

import shutil

import duckdb
import pytest
import torch
from safetensors.torch import load_file, save_file

from dfc import config, pipeline
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, Side, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.machine import disk
from dfc.runs import Run
from dfc.steering import stitch_file
from dfc.steering.vectors import gauge, random_like, random_pairs, steering_vector
from dfc.store.reader import FeatureQuery, Store

_NAMES = ("encoder", "decoder_weight", "bias")


def alive(run: Run, partition: str) -> int:
    query = FeatureQuery(partitions=(partition,), limit=1, order="max")  # type: ignore[arg-type]
    return int(Store(run.store).features(query)["feature_id"][0])


@pytest.mark.parametrize("side", SIDES)
def test_vectors_are_in_the_models_own_space(tiny_run: Run, side: Side) -> None:
    """In the scaled space, the vector is s_max times the decoder vector."""
    crosscoder = crosscoder_model.load(tiny_run.crosscoder)
    ids, vectors = crosscoder.decoder_vectors(side)
    scale = crosscoder.scale[slice(0, 32) if side == "a" else slice(32, None)]
    for feature in (alive(tiny_run, side), alive(tiny_run, "shared")):
        found = steering_vector(tiny_run, feature, side)
        expected = Store(tiny_run.store).feature(feature).max * vectors[ids == feature][0]
        torch.testing.assert_close(scale * found.vector, expected)
        assert found.transfer is None


def test_random_pairs_are_carried_over_and_as_long_as_the_features_vectors(tiny_copy: Run) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(32, 40)
    stitch_file.save(tiny_copy, torch.randn(40, 32), matrix, {"r2_a_to_b": 0.5, "r2_b_to_a": 0.25})
    crosscoder, feature = crosscoder_model.load(tiny_copy.crosscoder), alive(tiny_copy, "b")
    draw = random_pairs(tiny_copy, feature, crosscoder)
    pair, among = draw(3), crosscoder.decoder_vectors("b")[1]
    for side in SIDES:
        own = steering_vector(tiny_copy, feature, side)
        torch.testing.assert_close(pair[side].vector.norm(), own.vector.norm())
        assert (pair[side].transfer, pair[side].s_max) == (own.transfer, own.s_max)
        torch.testing.assert_close(draw(3)[side].vector, pair[side].vector)
        assert abs(cosine(draw(4)[side].vector, pair[side].vector)) < 0.99
    scaled = pair["b"].vector * crosscoder.scale[32:]
    assert cosine(scaled, random_like(among[0], 3, among)) == pytest.approx(1, abs=1e-5)
    assert cosine(pair["a"].vector * crosscoder.scale[:32], matrix @ scaled) == pytest.approx(1, abs=1e-5)


def cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0))


def _read_whole_streams(run: Run) -> None:
    """Train a run anew whose exclusive features are encoded from all of their model's stream."""
    shutil.rmtree(run.crosscoder)
    run.store.unlink()
    settings = run.config()
    changed = settings.crosscoder.model_copy(update={"exclusive_reads": "stream"})
    disk.write_text(run.path / "run.yaml", config.dump(settings.model_copy(update={"crosscoder": changed})))
    pipeline.run_stages(run)


@pytest.mark.parametrize("side", SIDES)
def test_an_exclusive_feature_is_read_as_the_crosscoder_reads_it(tiny_copy: Run, side: Side) -> None:
    _read_whole_streams(tiny_copy)
    crosscoder = crosscoder_model.load(tiny_copy.crosscoder)
    store, feature = ActivationStore(tiny_copy.activations), alive(tiny_copy, side)
    raw = torch.cat([store.raw(shard) for shard in range(len(store))])
    codes = crosscoder.encode(crosscoder.scaled(raw))
    chosen = codes.features == feature
    expected = torch.zeros(len(raw)).index_put((codes.rows[chosen],), codes.values[chosen])
    reader = gauge(tiny_copy, feature, side)
    stream = raw.float()[:, slice(0, 32) if side == "a" else slice(32, None)]
    expected[stream.norm(dim=1) > reader.limit] = 0
    assert reader.exact
    assert (expected > 0).any()
    torch.testing.assert_close(reader(stream), expected, atol=1e-4, rtol=1e-4)


def test_one_that_reads_what_is_unpredicted_is_read_as_if_the_other_model_said_what_is_expected(tiny_run: Run) -> None:
    """Exact where the other stream is what this one predicts of it."""
    crosscoder = crosscoder_model.load(tiny_run.crosscoder)
    prediction = crosscoder.prediction
    assert prediction is not None
    feature, part = alive(tiny_run, "a"), crosscoder.parts[0]
    x = crosscoder.scaled(ActivationStore(tiny_run.activations).raw(0))
    x[:, 32:] = prediction.mean[32:] + (x[:, :32] - prediction.mean[:32]) @ prediction.of_b
    seen = crosscoder.seen(x)[:, part.reads] - crosscoder.decoder_bias[:32]
    expected = seen @ part.encoder[feature] + part.bias[feature]
    reader = gauge(tiny_run, feature, "a")
    assert not reader.exact
    torch.testing.assert_close(
        x[:, :32] / crosscoder.scale[:32] @ reader.weight + reader.bias, expected.detach(), atol=1e-3, rtol=1e-3
    )


def test_a_shared_feature_is_read_as_if_the_other_model_agreed(tiny_run: Run) -> None:
    """Each model's reading is the pre-activation with its own half counted twice; their mean is the crosscoder's."""
    crosscoder = crosscoder_model.load(tiny_run.crosscoder)
    store, feature = ActivationStore(tiny_run.activations), alive(tiny_run, "shared")
    x = crosscoder.scaled(store.raw(0))
    [part] = (part for part in crosscoder.parts if part.name == "shared")
    row = feature - part.first_id
    whole = part.gain * (x - crosscoder.decoder_bias) @ part.encoder[row] + part.bias[row]
    halves = []
    for side, columns in (("a", slice(0, 32)), ("b", slice(32, None))):
        reader = gauge(tiny_run, feature, side)
        assert not reader.exact
        scale = crosscoder.scale[columns]
        halves.append(x[:, columns] / scale @ reader.weight + reader.bias)
    torch.testing.assert_close((halves[0] + halves[1]) / 2, whole.detach(), atol=1e-3, rtol=1e-4)


def test_with_a_stitch_the_other_half_is_guessed_from_this_one(tiny_copy: Run) -> None:
    """Encoded on the centred streams x_a and M x_a, side by side."""
    b_from_a = torch.randn(40, 32)
    stitch_file.save(tiny_copy, b_from_a, torch.zeros(32, 40), {"r2_a_to_b": 0.5, "r2_b_to_a": 0.5})
    crosscoder = crosscoder_model.load(tiny_copy.crosscoder)
    feature = alive(tiny_copy, "shared")
    [part] = (part for part in crosscoder.parts if part.name == "shared")
    row = feature - part.first_id
    centred = crosscoder.scaled(ActivationStore(tiny_copy.activations).raw(0))[:, :32] - crosscoder.decoder_bias[:32]
    both = torch.cat([centred, centred @ b_from_a.T], dim=1)
    expected = part.gain * both @ part.encoder[row] + part.bias[row]
    reader = gauge(tiny_copy, feature, "a")
    raw = (centred + crosscoder.decoder_bias[:32]) / crosscoder.scale[:32]
    torch.testing.assert_close(raw @ reader.weight + reader.bias, expected.detach(), atol=1e-2, rtol=1e-3)


def test_an_exclusive_feature_steers_the_other_model_through_the_stitch(tiny_copy: Run) -> None:
    feature = alive(tiny_copy, "a")
    with pytest.raises(UserError, match=r"this run has no stitch yet.*python -m dfc verify"):
        steering_vector(tiny_copy, feature, "b")
    a_to_b = torch.randn(40, 32)
    quality = {"r2_a_to_b": 0.25, "r2_b_to_a": 0.5}
    stitch_file.save(tiny_copy, a_to_b.double(), torch.randn(32, 40), quality)
    found = steering_vector(tiny_copy, feature, "b")
    scale = crosscoder_model.load(tiny_copy.crosscoder).scale
    own = steering_vector(tiny_copy, feature, "a").vector
    torch.testing.assert_close(found.vector, a_to_b @ (own * scale[:32]) / scale[32:], atol=1e-4, rtol=1e-4)
    assert (found.transfer, steering_vector(tiny_copy, alive(tiny_copy, "b"), "a").transfer) == (0.25, 0.5)
    with pytest.raises(UserError, match="is exclusive to model A and cannot be read in model B"):
        gauge(tiny_copy, feature, "b")


def test_a_damaged_stitch_is_one_sentence(tiny_copy: Run) -> None:
    tiny_copy.stitch.write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"stitch.safetensors: is damaged .*python -m dfc verify"):
        steering_vector(tiny_copy, alive(tiny_copy, "a"), "b")


def test_a_feature_that_does_not_exist(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="feature 64 does not exist in this run; its features are 0 to 63"):
        steering_vector(tiny_run, 64, "a")


def test_a_dead_feature(tiny_copy: Run) -> None:
    with duckdb.connect(str(tiny_copy.store)) as connection:
        connection.execute("UPDATE features SET max = 0 WHERE feature_id = 2")
    with pytest.raises(UserError, match="feature 2 is dead: it never fires on this run's texts; choose one"):
        steering_vector(tiny_copy, 2, "a")


def test_the_gauge_reads_as_the_crosscoder_was_made_whatever_became_of_the_runs_settings(tiny_copy: Run) -> None:
    feature = alive(tiny_copy, "a")
    before = gauge(tiny_copy, feature, "a")
    settings = tiny_copy.config()
    assert settings.crosscoder.rank_by != "value"
    changed = settings.crosscoder.model_copy(update={"rank_by": "value"})
    (tiny_copy.path / "run.yaml").write_text(config.dump(settings.model_copy(update={"crosscoder": changed})))
    assert gauge(tiny_copy, feature, "a").least == before.least


def with_column_scales(run: Run) -> torch.Tensor:
    """Give the run's crosscoder a scale for each column, as `harvest.scale: columns` does; these."""
    scale = torch.exp(torch.randn(72, generator=torch.Generator().manual_seed(5)))
    weights = run.crosscoder / "model.safetensors"
    save_file(load_file(weights) | {"scale": scale}, weights)
    return scale


@pytest.mark.parametrize("side", SIDES)
def test_a_scale_for_each_column_is_taken_out_of_vectors_and_gauges(tiny_copy: Run, side: Side) -> None:
    """By hand: the decoder over the scale, and the encoder on the stream times the scale, column by column."""
    _read_whole_streams(tiny_copy)
    columns = slice(0, 32) if side == "a" else slice(32, 72)
    scale = with_column_scales(tiny_copy)[columns]
    feature, weights = alive(tiny_copy, side), load_file(tiny_copy.crosscoder / "model.safetensors")
    row = feature - (0 if side == "a" else len(weights["dictionaries.a.bias"]))
    encoder, decoder, bias = (weights[f"dictionaries.{side}.{name}"][row] for name in _NAMES)
    found = steering_vector(tiny_copy, feature, side)
    torch.testing.assert_close(found.vector, Store(tiny_copy.store).feature(feature).max * decoder / scale)

    stream, reader = ActivationStore(tiny_copy.activations).raw(0)[:, columns].float(), gauge(tiny_copy, feature, side)
    expected = (stream * scale - weights["decoder_bias"][columns]) @ encoder + bias
    torch.testing.assert_close(stream @ reader.weight + reader.bias, expected, atol=1e-3, rtol=1e-4)

    codes = crosscoder_model.load(tiny_copy.crosscoder)
    raw = ActivationStore(tiny_copy.activations).raw(0)
    encoded = codes.encode(codes.scaled(raw))
    mine = encoded.features == feature
    dense = torch.zeros(len(raw)).index_put((encoded.rows[mine],), encoded.values[mine])
    inlying = stream.norm(dim=1) <= reader.limit
    assert (dense > 0).any()
    torch.testing.assert_close(reader(stream)[inlying], dense[inlying], atol=1e-3, rtol=1e-4)


def test_a_model_with_a_scale_for_each_stream_steers_as_before(tiny_copy: Run) -> None:
    feature, weights = alive(tiny_copy, "shared"), tiny_copy.crosscoder / "model.safetensors"
    tensors = load_file(weights)
    factors, widths = tensors["scale"][[0, -1]], torch.tensor([32, 40])
    save_file(tensors | {"scale": factors.repeat_interleave(widths)}, weights)
    before = {side: (steering_vector(tiny_copy, feature, side), gauge(tiny_copy, feature, side)) for side in SIDES}
    save_file(tensors | {"scale": factors}, weights)
    for side, (vector, reader) in before.items():
        assert torch.equal(steering_vector(tiny_copy, feature, side).vector, vector.vector)
        assert torch.equal(gauge(tiny_copy, feature, side).weight, reader.weight)
