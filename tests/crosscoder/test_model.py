"""The partition holds by construction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from dfc.config import CrosscoderConfig, DamagedError, TrainingConfig, UserError
from dfc.crosscoder import model
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.crosscoder.training import fit, new_state
from dfc.machine import disk
from tests.crosscoder import reference

WIDTHS = (6, 10)


def make(kind: str = "dfc", widths: tuple[int, int] = WIDTHS, **choices: object) -> Crosscoder:
    choices = {"exclusive_reads": "stream", **choices}
    config = CrosscoderConfig(features=60, k=4, kind=kind, **choices)  # type: ignore[arg-type]
    crosscoder = Crosscoder(config, widths, torch.linspace(0.5, 2.0, sum(widths)))
    crosscoder.initialise(0, torch.zeros(sum(widths)))
    return crosscoder


def trained(crosscoder: Crosscoder, steps: int = 30) -> Crosscoder:
    """A few real steps, with weight decay's nearest relative: dead features revived by AuxK."""
    training = TrainingConfig(steps=steps, batch=32, learning_rate=1e-2, k_start=8, k_anneal_steps=5, aux_k=4)
    training = training.model_copy(update={"dead_after_pairs": 64, "threshold_start": 5, "warmup_steps": 0})
    torch.manual_seed(0)
    batches = iter([torch.randn(32, sum(crosscoder.widths)) for _ in range(steps)])
    assert len(list(fit(crosscoder, new_state(crosscoder, training), batches, training))) == steps
    return crosscoder


def test_forbidden_blocks_have_no_parameters(tmp_path: Path) -> None:
    expected = {"a": (3, 6), "b": (3, 10), "shared": (54, 16)}
    model.save(trained(make()), tmp_path)
    for state in (make().state_dict(), load_file(tmp_path / "model.safetensors"), model.load(tmp_path).state_dict()):
        for name, shape in expected.items():
            assert state[f"dictionaries.{name}.encoder"].shape == shape
            assert state[f"dictionaries.{name}.decoder_weight"].shape == shape
        matrices = [tensor for tensor in state.values() if tensor.ndim == 2]
        assert sum(tensor.numel() for tensor in matrices) == 2 * (3 * 6 + 3 * 10 + 54 * 16)


def test_exclusive_features_neither_see_nor_write_the_other_model() -> None:
    crosscoder = trained(make())
    x = torch.randn(40, 16)
    changed = torch.cat([x[:, :6], torch.randn(40, 10)], dim=1)

    def own(codes: Codes) -> list[tuple[int, int, float]]:
        mine = codes.features < 3
        return list(
            zip(codes.rows[mine].tolist(), codes.features[mine].tolist(), codes.values[mine].tolist(), strict=True)
        )

    assert own(crosscoder.encode(x)) == own(crosscoder.encode(changed)) != []
    only_b = Codes(torch.tensor([0, 0]), torch.tensor([3, 5]), torch.tensor([2.0, 1.0]))
    difference = crosscoder.decode(only_b, 1) - crosscoder.decoder_bias
    assert torch.all(difference[:, :6] == 0)
    assert torch.all(difference[:, 6:] != 0)


def test_exclusive_features_that_read_what_is_unpredicted_have_what_they_read_with(tmp_path: Path) -> None:
    """A stream that the other one gives away whole leaves them nothing to fire on but its mean, whatever it says."""
    crosscoder = make(exclusive_reads="unpredicted")
    shared = torch.randn(400, 6)
    x = torch.cat([shared, shared @ torch.randn(6, 10)], dim=1)
    assert crosscoder.prediction is not None
    crosscoder.prediction.fit([x])
    assert (crosscoder.seen(x)[:, 16:].std(dim=0) < 0.05 * x.std(dim=0)).all()
    model.save(trained(crosscoder), tmp_path)
    again = model.load(tmp_path)
    assert all(
        torch.equal(left, right)
        for left, right in zip(crosscoder.encode(x).__dict__.values(), again.encode(x).__dict__.values(), strict=True)
    )
    assert make("standard", exclusive_reads="unpredicted").prediction is None


def test_one_from_before_exclusive_features_could_read_less(tmp_path: Path) -> None:
    model.save(make(), tmp_path)
    content = disk.read_json(tmp_path / "config.json")
    del content["crosscoder"]["exclusive_reads"]
    disk.write_json(tmp_path / "config.json", content)
    assert model.load(tmp_path).config.exclusive_reads == "stream"


@pytest.mark.parametrize("kind", ["dfc", "standard"])
@pytest.mark.parametrize("rank_by", ["value", "norm_sum"])
def test_encode_and_decode_equal_dense_arithmetic(kind: str, rank_by: str) -> None:
    crosscoder = trained(make(kind, rank_by=rank_by))
    x = torch.randn(50, 16)
    codes = crosscoder.encode(x)
    found = torch.zeros(50, 60)
    found[codes.rows, codes.features] = codes.values
    with torch.no_grad():
        dense = reference.activations(crosscoder, x)
        ranked = reference.scores(crosscoder, dense)
        kept = [
            values * (score >= part.threshold)
            for values, score, part in zip(dense, ranked, crosscoder.parts, strict=True)
        ]
        torch.testing.assert_close(found, torch.cat(kept, dim=1))
        expected = reference.decode(crosscoder, kept) + crosscoder.decoder_bias
    torch.testing.assert_close(crosscoder.decode(codes, 50), expected, atol=1e-5, rtol=1e-5)
    assert 0 < len(codes.rows) < 50 * 60


def test_initial_norms_are_as_configured_in_each_model() -> None:
    crosscoder = make(decoder_norm=0.7)
    for side, count in (("a", 57), ("b", 57)):
        ids, vectors = crosscoder.decoder_vectors(side)  # type: ignore[arg-type]
        torch.testing.assert_close(vectors.norm(dim=1), torch.full((count,), 0.7))
        assert ids.tolist() == sorted(set(range(60)) - set(range(3, 6) if side == "a" else range(3)))
    assert crosscoder.partitions() == ["a"] * 3 + ["b"] * 3 + ["shared"] * 54


def test_designated_features_keep_one_decoder_for_both_models() -> None:
    crosscoder = trained(make("dsf", widths=(8, 8)))
    (ids_a, in_a), (ids_b, in_b) = crosscoder.decoder_vectors("a"), crosscoder.decoder_vectors("b")
    assert torch.equal(ids_a, ids_b)
    assert torch.equal(in_a[:6], in_b[:6])
    assert not torch.equal(in_a[6:], in_b[6:])
    with pytest.raises(UserError, match="whose widths differ"):
        make("dsf")


def test_save_and_load(tmp_path: Path) -> None:
    crosscoder = trained(make())
    model.save(crosscoder, tmp_path)
    again = model.load(tmp_path)
    assert again.config == crosscoder.config
    for name, tensor in crosscoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    assert again.scale.tolist() == torch.linspace(0.5, 2.0, 16).tolist()


def test_each_column_is_scaled_and_scaled_back() -> None:
    crosscoder, raw = make(), torch.randn(5, 16, dtype=torch.bfloat16)
    expected = raw.float().numpy() * np.linspace(0.5, 2.0, 16, dtype=np.float32)
    np.testing.assert_allclose(crosscoder.scaled(raw).numpy(), expected, rtol=1e-6)
    for side, columns in (("a", slice(0, 6)), ("b", slice(6, 16))):
        ids, vectors = crosscoder.raw_vectors(side)  # type: ignore[arg-type]
        scaled_ids, scaled = crosscoder.decoder_vectors(side)  # type: ignore[arg-type]
        assert torch.equal(ids, scaled_ids)
        torch.testing.assert_close(vectors * crosscoder.scale[columns], scaled)


def test_a_model_with_a_scale_for_each_stream_is_read(tmp_path: Path) -> None:
    """As files were written before each column had its own."""
    crosscoder = trained(make())
    model.save(crosscoder, tmp_path)
    older = load_file(tmp_path / "model.safetensors") | {"scale": torch.tensor([0.5, 2.0])}
    save_file(older, tmp_path / "model.safetensors")
    again = model.load(tmp_path)
    assert again.scale.tolist() == [0.5] * 6 + [2.0] * 10
    raw = torch.randn(5, 16)
    expected = torch.cat([0.5 * raw[:, :6], 2.0 * raw[:, 6:]], dim=1)
    assert torch.equal(again.scaled(raw), expected)
    assert torch.equal(again.parts[0].encoder, crosscoder.parts[0].encoder)
    for wrong in (torch.ones(3), torch.ones(17)):
        save_file(older | {"scale": wrong}, tmp_path / "model.safetensors")
        with pytest.raises(DamagedError, match=r"does not belong to config\.json .*`scale` is"):
            model.load(tmp_path)


def test_loading_what_is_not_there_or_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no trained crosscoder; train it"):
        model.load(tmp_path)
    model.save(make(), tmp_path)
    (tmp_path / "config.json").write_text(
        (tmp_path / "config.json").read_text().replace('"features": 60', '"features": 80')
    )
    with pytest.raises(
        DamagedError, match=r"model\.safetensors: does not belong to config\.json .*; put back"
    ) as error:
        model.load(tmp_path)
    assert "delete" not in str(error.value)
