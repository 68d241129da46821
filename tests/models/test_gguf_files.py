"""GGUF files: converted in the dtype that is asked for, where there is room."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GgufConfig

from dfc import models
from dfc.config import DamagedError, MemoryShortError, ModelConfig, UserError
from dfc.machine import memory
from dfc.models import gguf_files, gguf_tensors
from dfc.models.weights import weight_bytes
from tests import tiny

WIDTH, LAYERS, HEADS, EXPERTS = 32, 3, 4, 4
_ATTENTION = ("attn_q", "attn_k", "attn_v", "attn_output")
OF_EXPERTS = 768  # as transformers has it, whatever the header says


def write_gguf(
    path: Path,
    arch: str = "llama",
    blocks: int | None = None,
    layers: int = LAYERS,
    beside: tuple[str, ...] = (),
    factors: Mapping[str, Sequence[float]] | None = None,
    header: dict[str, Any] | None = None,
    of_experts: int = OF_EXPERTS,
) -> Path:
    """A tiny random model as a GGUF file, some of its tensors quantised.

    It says that it has `layers`, and holds as many `blocks` if no other number is given. `beside` names tensors that
    are surplus, `factors` are tensors by which the frequencies of positions are divided, `header` holds further
    settings of the architecture, and a mixture's experts are `of_experts` wide.
    """
    tokenizer = tiny.byte_level_tokenizer()
    writer = gguf.GGUFWriter(path, arch)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokenizer))
    for key, value in (header or {}).items():
        kind = gguf.GGUFValueType.get_type(value)
        writer.add_key_value(key if key.startswith("split.") else f"{arch}.{key}", value, kind)
    if arch != "llama":
        writer.add_key_length(WIDTH // HEADS)
    if arch == "qwen3moe":
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(2)
        writer.add_expert_feed_forward_length(of_experts)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_token_list([piece for piece, _ in pieces])
    writer.add_token_types([gguf.TokenType.NORMAL] * len(pieces))
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_token_merges([" ".join(pair) for pair in described["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.eos_token_id)
    random = np.random.default_rng(0)

    def add(name: str, *shape: int, quantised: bool = False) -> None:
        values = random.normal(scale=0.3, size=shape).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0
        if quantised:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)

    add("token_embd.weight", len(pieces), WIDTH, quantised=True)
    for block in reversed(range(blocks or layers)):  # the order is the file's own
        attention = {"attn_qkv": 3, "attn_output": 1} if arch == "phi3" else dict.fromkeys(_ATTENTION, 1)
        for name, wide in attention.items():
            add(f"blk.{block}.{name}.weight", wide * WIDTH, WIDTH, quantised=True)
        if arch == "qwen3moe":
            add(f"blk.{block}.ffn_gate_inp.weight", EXPERTS, WIDTH)
            add(f"blk.{block}.ffn_gate_exps.weight", EXPERTS, of_experts, WIDTH, quantised=True)
            add(f"blk.{block}.ffn_down_exps.weight", EXPERTS, WIDTH, of_experts, quantised=True)
            add(f"blk.{block}.ffn_up_exps.weight", EXPERTS, of_experts, WIDTH, quantised=True)
        else:
            for name, wide in ({"ffn_up": 4} if arch == "phi3" else {"ffn_gate": 2, "ffn_up": 2}).items():
                add(f"blk.{block}.{name}.weight", wide * WIDTH, WIDTH)
            add(f"blk.{block}.ffn_down.weight", WIDTH, 2 * WIDTH)
        if arch not in ("llama", "phi3"):
            for name in ("attn_q_norm", "attn_k_norm"):
                add(f"blk.{block}.{name}.weight", WIDTH // HEADS)
        for name in ("attn_norm", "ffn_norm", *(("post_attention_norm", "post_ffw_norm") if arch == "gemma3" else ())):
            add(f"blk.{block}.{name}.weight", WIDTH)
    add("output_norm.weight", WIDTH)
    add("output.weight", len(pieces), WIDTH)
    for name in beside:
        add(name, WIDTH)
    for name, values in (factors or {}).items():
        writer.add_tensor(name, np.array(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "Tiny-Q8.GGUF")


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / made.name))


def config(file: Path, **keys: Any) -> ModelConfig:
    return ModelConfig.model_validate({"source": str(file), "layer": 1, **keys})


def weights(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def refused(sentence: str, file: Path, kind: type[UserError] = UserError) -> None:
    with pytest.raises(kind, match=sentence) as error:
        models.load(config(file))
    assert "\n" not in str(error.value)


def not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_tensors, "write", lambda *_: pytest.fail("converted"))


def test_it_is_converted_in_the_dtype_that_is_asked_for(file: Path) -> None:
    half = models.load(config(file, dtype="bfloat16"))
    assert half.title == "Tiny-Q8"
    assert [path.name for path in file.parent.iterdir() if path.is_dir()] == ["Tiny-Q8.GGUF-bfloat16"]
    kept = weights(file.parent / "Tiny-Q8.GGUF-bfloat16")
    assert {tensor.dtype for tensor in kept.values()} == {torch.bfloat16}
    assert weight_bytes(half.config) == 2 * sum(tensor.numel() for tensor in kept.values())
    whole = models.load(config(file))
    assert whole.model.dtype == torch.float32
    for name, tensor in weights(file.parent / "Tiny-Q8.GGUF-float32").items():
        assert torch.equal(tensor.to(torch.bfloat16), kept[name])


@pytest.mark.parametrize(("arch", "whole"), [("llama", 1 << 33), ("llama", 0), ("qwen3moe", 0), ("gemma3", 1 << 33)])
def test_it_is_what_transformers_makes_of_it_in_files_of_a_few_tensors(
    arch: str, whole: int, tmp_path: Path, tiny_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are permuted, experts joined, one is taken off norms."""
    file = write_gguf(tmp_path / "tiny.gguf", arch)
    plain = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    monkeypatch.setattr(gguf_tensors, "SHARD", 20_000)
    monkeypatch.setattr(gguf_tensors, "WHOLE", whole)
    monkeypatch.setattr(gguf_tensors, "_PART", 100)
    made = models.load(config(file, tokenizer=str(tiny_models[0])))
    expected = plain.state_dict()
    assert made.model.state_dict().keys() == expected.keys()
    for name, tensor in made.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert made.model.generation_config.eos_token_id == plain.generation_config.eos_token_id
    files = sorted((tmp_path / "tiny.gguf-float32").glob("*.safetensors"))
    if whole:
        plain.hf_quantizer, plain.is_quantized = None, False
        plain.save_pretrained(tmp_path / "plain")
        assert [file.read_bytes() for file in files] == [(tmp_path / "plain" / "model.safetensors").read_bytes()]
    else:
        assert len(files) > 3


def test_experts_are_as_wide_as_the_header_says(tmp_path: Path, tiny_models: tuple[Path, Path]) -> None:
    """transformers 5.23 leaves `expert_feed_forward_length` out (findings/gguf_expert_width_is_left_out.sh)."""
    made = models.load(
        config(write_gguf(tmp_path / "t.gguf", "qwen3moe", of_experts=64), tokenizer=str(tiny_models[0]))
    )
    assert made.model.config.moe_intermediate_size == 64
    widths = [tensor.shape[1:] for name, tensor in made.model.state_dict().items() if name.endswith("down_proj")]
    assert widths == [(WIDTH, 64)] * LAYERS


@pytest.mark.parametrize(("layers", "scalar"), [(LAYERS, 256), (62, WIDTH // HEADS)])
def test_attention_of_the_largest_gemma_3_is_scaled_as_it_was_trained(
    layers: int, scalar: int, tmp_path: Path, tiny_models: tuple[Path, Path]
) -> None:
    """No header says it; transformers 5.23 has 256 for all (findings/gguf_gemma_27b_attends_softer.sh)."""
    file = write_gguf(tmp_path / "gemma.gguf", "gemma3", layers=layers)
    made = models.load(config(file, tokenizer=str(tiny_models[0])))
    assert made.model.model.layers[0].self_attn.scaling == scalar**-0.5


def test_a_header_without_its_lists_has_all_else(file: Path) -> None:
    whole, header = gguf.GGUFReader(file), gguf_tensors.Header(file)
    assert [tensor.name for tensor in header.tensors] == [tensor.name for tensor in whole.tensors]
    for one, other in zip(header.tensors, whole.tensors, strict=True):
        assert one.n_elements == other.n_elements
        assert np.array_equal(one.data, other.data)
    lists = {name for name, field in whole.fields.items() if gguf.GGUFValueType.ARRAY in field.types[:1]}
    assert len(lists) == 3
    assert header.fields.keys() == whole.fields.keys()
    for name in whole.fields.keys() - lists:
        assert header.fields[name].contents() == whole.fields[name].contents()


def test_tensors_are_written_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_tensors, "SHARD", 100)
    monkeypatch.setattr(gguf_tensors, "WHOLE", 100)
    there = []

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for number in range(6):
            there.append(len(list(tmp_path.iterdir())))
            yield f"t{number}", torch.full((10,), float(number))  # 40 bytes: two of them to a file

    gguf_tensors._write_shards(tmp_path, tensors())
    assert there == [0, 0, 0, 1, 1, 2]
    assert sorted(weights(tmp_path)) == [f"t{number}" for number in range(6)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"]["t5"] == "model-00003-of-00003.safetensors"
    assert index["metadata"]["total_size"] == 240


def test_what_is_there_in_float32_serves_every_dtype(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.load(config(file))
    not_converted(monkeypatch)
    assert models.load(config(file, dtype="bfloat16")).model.dtype == torch.bfloat16


class TestWhatAFolderWasMadeOf:
    def test_another_file_of_the_same_name_is_converted_anew(self, file: Path) -> None:
        before = models.load(config(file)).model.state_dict()["model.norm.weight"]
        size = file.stat().st_size
        raw = bytearray(file.read_bytes())
        raw[-4:] = b"\x00\x00\x80?"  # the last value of the last tensor is another: the size is the same
        file.write_bytes(raw)
        assert file.stat().st_size == size
        changed = models.load(config(file)).model.state_dict()
        assert changed["lm_head.weight"][-1, -1] == 1.0
        assert torch.equal(changed["model.norm.weight"], before)

    def test_a_file_that_was_only_touched_or_is_gone_is_not(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        models.load(config(file))
        not_converted(monkeypatch)
        os.utime(file, ns=(1, 1))
        models.load(config(file))
        monkeypatch.setattr(gguf_files, "_digest", lambda _: pytest.fail("hashed again"))
        models.load(config(file))
        file.unlink()
        assert weight_bytes(config(file)) > 0
        models.load(config(file))

    def test_a_model_of_somebody_else_is_neither_read_nor_written(
        self, file: Path, tiny_models: tuple[Path, Path]
    ) -> None:
        for name in ("Tiny-Q8", "Tiny-Q8.GGUF-float32"):
            shutil.copytree(tiny_models[0], file.parent / name)
        before = {path: path.stat().st_mtime_ns for path in file.parent.rglob("*")}
        refused(r"Tiny-Q8\.GGUF-float32: is where .* does not say that it was made of it; move it elsewhere", file)
        assert {path: path.stat().st_mtime_ns for path in file.parent.rglob("*")} == before
        shutil.rmtree(file.parent / "Tiny-Q8.GGUF-float32")
        assert len(models.load(config(file)).blocks) == LAYERS  # the other one has six

    def test_what_another_version_made_and_what_was_left_half_made_is_made_anew(self, file: Path) -> None:
        folder = file.parent / "Tiny-Q8.GGUF-float32"
        models.load(config(file))
        mark = json.loads((folder / "converted.json").read_text())
        (folder / "converted.json").write_text(json.dumps({**mark, "converter": mark["converter"] - 1}))
        (file.parent / "Tiny-Q8.GGUF-float32.part").mkdir()
        (file.parent / "Tiny-Q8.GGUF-float32.part" / "1.part").write_text("half")
        models.load(config(file))
        assert json.loads((folder / "converted.json").read_text()) == mark
        assert not list(file.parent.rglob("*.part"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_folder_beside_a_whole_file_is_made_anew(name: str, file: Path) -> None:
    expected = models.load(config(file)).model.state_dict()
    damaged = file.parent / "Tiny-Q8.GGUF-float32" / name
    size = damaged.stat().st_size
    (damaged.parent / "of the user's").write_text("")
    before = damaged.read_bytes()
    damaged.unlink()  # the weights above lie in it still
    damaged.write_bytes(before[: size // 2])
    found = models.load(config(file)).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert damaged.stat().st_size == size


def test_what_is_no_model_of_its_own_is_said_to(tmp_path: Path) -> None:
    part = write_gguf(tmp_path / "m-00001-of-00002.gguf", header={"split.count": 2})
    refused("is one of 2 parts of a GGUF file; join them", part)
    nope = tmp_path / "nope.gguf"
    writer = gguf.GGUFWriter(nope, "nope")
    writer.add_tensor("x", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused("architecture nope is not supported yet by transformers; give the model's safetensors", nope)


def test_a_folder_that_is_called_like_a_file(tmp_path: Path, tiny_models: tuple[Path, Path]) -> None:
    shutil.copytree(tiny_models[0], tmp_path / "m.gguf")
    assert len(models.load(config(tmp_path / "m.gguf")).blocks) == 6


def test_what_is_no_whole_gguf_file_is_one_sentence(file: Path) -> None:
    whole = file.read_bytes()
    for length in (len(whole) // 2, 5_000, 60, 10):
        file.write_bytes(whole[:length])
        refused("is not a GGUF file that can be read: it ends too soon, .* fetch it again", file, DamagedError)
    file.write_bytes(b"GGML" + whole[4:])
    refused("it does not begin as one", file, DamagedError)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    refused("is a pointer of Git LFS in place of the file itself; .* `git lfs pull`", file, DamagedError)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_tensors_that_the_model_does_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of blocks are refused, others said whenever the model is loaded."""
    refused(
        r"holds \d+ tensors of blocks .* \(blk\.3\..*of 3 blocks by its header",
        write_gguf(tmp_path / "more.gguf", blocks=LAYERS + 1),
    )
    refused(r"holds 1 tensors of blocks", write_gguf(tmp_path / "bias.gguf", beside=("blk.0.attn_q.bias",)))
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    file = write_gguf(tmp_path / "rope.gguf", beside=("rope_factors_long.weight",))
    for _ in range(2):
        models.load(config(file))
        assert (
            "rope: its GGUF file holds tensors that transformers leaves out: rope_factors_long"
            in capsys.readouterr().err
        )


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


def test_disk_and_memory_are_looked_at_before_anything_is_converted(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_converted(monkeypatch)
    numbers = sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(file).tensors)

    class Usage(NamedTuple):
        free: int

    with monkeypatch.context() as patch:
        patch.setattr(gguf_files.shutil, "disk_usage", lambda _: Usage(8 * numbers - 1))
        with pytest.raises(
            UserError, match=r"to write its weights as safetensors in float32 takes .* GB, and .* on this disk"
        ):
            models.load(config(file))
        with pytest.raises(pytest.fail.Exception, match="converted"):  # there is room for half of it
            models.load(config(file, dtype="bfloat16"))
    monkeypatch.setattr(memory, "free_bytes", lambda _: gguf_tensors.SHARD)
    with pytest.raises(MemoryShortError, match=r"no memory to convert it to safetensors in float32 \(.* are needed"):
        models.load(config(file))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_two_that_convert_a_file_at_once_get_one_whole_folder(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: gguf_files.folder_of(file, "float32"), range(4)))
    assert set(folders) == {tmp_path / "tiny.gguf-float32"}
    assert gguf_files.converted(file, "float32") == folders[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.gguf", "tiny.gguf-float32"]
