"""GGUF files: converted in the dtype that is asked for, where there is room."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dfc import models
from dfc.config import MemoryShortError, ModelConfig, UserError
from dfc.machine import memory
from dfc.models import gguf_files
from dfc.models.weights import weight_bytes
from tests import tiny

WIDTH, LAYERS, HEADS = 32, 3, 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama as a GGUF file, some of its tensors quantised."""
    path = tmp_path_factory.mktemp("gguf") / "Tiny-Q8.GGUF"
    tokenizer = tiny.byte_level_tokenizer()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokenizer))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    pieces = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_token_list([piece for piece, _ in pieces])
    writer.add_token_types([gguf.TokenType.NORMAL] * len(pieces))
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    writer.add_token_merges([" ".join(pair) for pair in described["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    random = np.random.default_rng(0)

    def add(name: str, *shape: int, quantised: bool = False) -> None:
        values = random.normal(scale=0.3, size=shape).astype(np.float32)
        kind = gguf.GGMLQuantizationType.Q8_0
        if quantised:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values)

    add("token_embd.weight", len(pieces), WIDTH, quantised=True)
    for block in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{block}.{name}.weight", WIDTH, WIDTH, quantised=True)
        for name in ("ffn_gate", "ffn_up"):
            add(f"blk.{block}.{name}.weight", 2 * WIDTH, WIDTH)
        add(f"blk.{block}.ffn_down.weight", WIDTH, 2 * WIDTH)
        for name in ("attn_norm", "ffn_norm"):
            add(f"blk.{block}.{name}.weight", WIDTH)
    add("output_norm.weight", WIDTH)
    add("output.weight", len(pieces), WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / made.name))


def config(file: Path, **keys: Any) -> ModelConfig:
    return ModelConfig.model_validate({"source": str(file), "layer": 1, **keys})


def test_it_is_converted_in_the_dtype_that_is_asked_for(file: Path) -> None:
    half = models.load(config(file, dtype="bfloat16"))
    assert half.title == "Tiny-Q8"
    assert [path.name for path in file.parent.iterdir() if path.is_dir()] == ["Tiny-Q8-bfloat16"]
    kept = load_file(file.parent / "Tiny-Q8-bfloat16" / "model.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.bfloat16}
    assert weight_bytes(half.config) == 2 * sum(tensor.numel() for tensor in kept.values())
    whole = models.load(config(file))
    assert whole.model.dtype == torch.float32
    for name, tensor in load_file(file.parent / "Tiny-Q8" / "model.safetensors").items():
        assert torch.equal(tensor.to(torch.bfloat16), kept[name])


def test_what_is_there_in_float32_serves_every_dtype(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.load(config(file))
    monkeypatch.setattr(gguf_files, "_convert", lambda *_: pytest.fail("converted again"))
    assert models.load(config(file, dtype="bfloat16")).model.dtype == torch.bfloat16


def test_disk_and_memory_are_looked_at_before_anything_is_converted(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_files.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("converted"))
    numbers = sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(file).tensors)

    class Usage(NamedTuple):
        free: int

    with monkeypatch.context() as patch:
        patch.setattr(gguf_files.shutil, "disk_usage", lambda _: Usage(4 * numbers - 1))
        with pytest.raises(UserError, match=r"its weights take .* GB as safetensors in float32, and .* on this disk"):
            models.load(config(file))
        with pytest.raises(pytest.fail.Exception, match="converted"):  # there is room for half of it
            models.load(config(file, dtype="bfloat16"))
    monkeypatch.setattr(memory, "free_bytes", lambda _: 4 * numbers)
    with pytest.raises(MemoryShortError, match=r"no memory to convert it to safetensors in float32 \(.* are needed"):
        models.load(config(file))
    assert [path.name for path in file.parent.iterdir()] == [file.name]
