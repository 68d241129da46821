"""Tiny random models as GGUF files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from dfc.config import ModelConfig
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


def config(file: Path, **keys: Any) -> ModelConfig:
    return ModelConfig.model_validate({"source": str(file), "layer": 1, **keys})
