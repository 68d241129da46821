"""What a GGUF file's header and its factors say of positions and attention, as the model then has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from dfc import models
from dfc.config import UserError
from tests.models.gguf_made import HEADS, LAYERS, WIDTH, config, write_gguf


@pytest.mark.parametrize(("layers", "scalar"), [(LAYERS, 256), (62, WIDTH // HEADS)])
def test_attention_of_the_largest_gemma_3_is_scaled_as_it_was_trained(
    layers: int, scalar: int, tmp_path: Path, tiny_models: tuple[Path, Path]
) -> None:
    """No header says it; transformers 5.23 has 256 for all (findings/gguf_gemma_27b_attends_softer.sh)."""
    file = write_gguf(tmp_path / "gemma.gguf", "gemma3", layers=layers)
    made = models.load(config(file, tokenizer=str(tiny_models[0])))
    assert made.model.model.layers[0].self_attn.scaling == scalar**-0.5


def test_the_frequencies_of_positions_are_divided_as_the_file_says(tmp_path: Path) -> None:
    """As those of Llama 3.1 are, for short texts and for texts longer than the model is said to read."""
    factors = (1.0, 2.0, 5.0, 8.0)
    plain = models.load(config(write_gguf(tmp_path / "plain.gguf"))).model
    divided = models.load(config(write_gguf(tmp_path / "divided.gguf", factors={"rope_freqs.weight": factors}))).model
    ids = torch.arange(150)[None] % plain.config.vocab_size
    with torch.inference_mode():
        before = plain(input_ids=ids).logits
        plain.model.rotary_emb.inv_freq /= torch.tensor(factors)
        for length in (20, 150):
            expected = plain(input_ids=ids[:, :length]).logits
            torch.testing.assert_close(divided(input_ids=ids[:, :length]).logits, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(before, expected, atol=1e-2)


def test_phi_turns_a_part_of_each_head_and_scales_it_by_two_tensors(tmp_path: Path) -> None:
    """As in Phi 4 mini: three quarters turn, by other factors where a text is longer than it first learned."""
    turning, short, long = 6, (1.0, 1.5, 2.0), (3.0, 4.0, 5.0)
    header = {"rope.dimension_count": turning, "rope.scaling.original_context_length": 32}
    header |= {"rope.scaling.attn_factor": 1.25}
    factors = {"rope_factors_short.weight": short, "rope_factors_long.weight": long}
    found = models.load(config(write_gguf(tmp_path / "phi.gguf", "phi3", header=header, factors=factors))).model
    expected = {
        "rope_theta": 10_000.0,
        "rope_type": "longrope",
        "partial_rotary_factor": 0.75,
        "short_factor": [*short],
        "long_factor": [*long],
        "factor": 4.0,
        "attention_factor": 1.25,
        "original_max_position_embeddings": 32,
    }
    assert {key: found.config.rope_parameters[key] for key in expected} == expected
    frequencies = 10_000.0 ** -(torch.arange(0, turning, 2) / turning)
    states, places = torch.zeros(1, 20, WIDTH), torch.arange(20)[None]
    cos, _ = found.model.rotary_emb(states, places)
    torch.testing.assert_close(cos[0, :, :3], 1.25 * torch.cos(places[0, :, None] * frequencies / torch.tensor(short)))
    cos, _ = found.model.rotary_emb(torch.zeros(1, 40, WIDTH), torch.arange(40)[None])
    torch.testing.assert_close(
        cos[0, :, :3], 1.25 * torch.cos(torch.arange(40)[:, None] * frequencies / torch.tensor(long))
    )


def test_without_factors_a_part_of_each_head_turns_all_the_same(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "phi.gguf", "phi3", header={"rope.dimension_count": 2})
    assert len(models.load(config(file)).model.model.rotary_emb.inv_freq) == 1


def scaled(folder: Path, name: str, arch: str = "llama", **said: Any) -> Any:
    header = {f"rope.scaling.{key}": value for key, value in said.items()}
    return config(write_gguf(folder / f"{name}.gguf", arch, header=header))


def test_positions_are_scaled_as_the_header_says(tmp_path: Path) -> None:
    plain = models.load(scaled(tmp_path, "plain")).model
    for name, said in (("linear", {"type": "linear", "factor": 4.0}), ("untyped", {"factor": 4.0, "finetuned": True})):
        found = models.load(scaled(tmp_path, name, **said)).model
        torch.testing.assert_close(found.model.rotary_emb.inv_freq, plain.model.rotary_emb.inv_freq / 4)
    for name, said in (("none", {"type": "none", "factor": 4.0}), ("one", {"type": "linear", "factor": 1.0})):
        assert models.load(scaled(tmp_path, name, **said)).model.config.rope_parameters["rope_type"] == "default"
    yarn = {"type": "yarn", "factor": 4.0, "original_context_length": 32, "yarn_beta_fast": 16.0}
    assert models.load(scaled(tmp_path, "yarn", **yarn)).model.config.rope_parameters == {
        "rope_theta": 10_000.0,
        "rope_type": "yarn",
        "factor": 4.0,
        "beta_fast": 16.0,
        "original_max_position_embeddings": 32,
    }


def test_gemma_3_scales_the_positions_of_its_attention_to_the_whole_text(
    tmp_path: Path, tiny_models: tuple[Path, Path]
) -> None:
    given = scaled(tmp_path, "gemma", "gemma3", type="linear", factor=8.0)
    rope = models.load(given.model_copy(update={"tokenizer": str(tiny_models[0])})).model.config.rope_parameters
    assert (rope["full_attention"]["rope_type"], rope["full_attention"]["factor"]) == ("linear", 8.0)
    assert rope["sliding_attention"]["rope_type"] == "default"


@pytest.mark.parametrize(
    "said",
    [
        {"type": "longrope", "factor": 4.0},
        {"type": "yarn"},
        {"type": "yarn", "factor": 4.0, "yarn_log_multiplier": 0.1},
        {"type": "linear", "factor": 4.0, "attn_factor": 1.2},
    ],
)
def test_a_scaling_that_is_not_carried_over_is_one_sentence(said: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scales positions .* in a way that is not carried over") as error:
        models.load(scaled(tmp_path, "tiny", **said))
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.gguf"]
