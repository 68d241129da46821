"""A tiny random model of any type, made of its settings' own class.

A setting that a type has is set to what is listed here; what a type wants otherwise stands in `OTHERWISE`.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokenizer_models
from tokenizers.trainers import BpeTrainer
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from dfc.config import UserError

LAYERS, WIDTH, VOCABULARY = 4, 32, 384
_PAD, _BOS, _EOS = 0, 1, 2
_LARGEST = 30_000_000  # parameters
_BLOCK_SETTINGS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers")
_TINY: dict[str, Any] = {
    **dict.fromkeys(_BLOCK_SETTINGS, LAYERS),
    **dict.fromkeys(("hidden_size", "n_embd", "d_model", "dim", "emb_dim", "lru_width", "embedding_size"), WIDTH),
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), VOCABULARY),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_global_key_value_heads"), 2),
    **dict.fromkeys(("head_dim", "attention_head_dim", "v_head_dim", "global_head_dim", "index_head_dim"), 8),
    **dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "rotary_dim"), 8),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_head_dim", "index_topk"), 16),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim"), 64),
    **dict.fromkeys(("ffn_hidden_size", "shared_intermediate_size", "mamba_d_ssm"), 64),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 16),
    "moe_shared_expert_intermediate_size": 16,
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "index_n_heads"), 2),
    **dict.fromkeys(("n_shared_experts", "n_group", "topk_group", "num_expert_groups"), 1),
    **dict.fromkeys(("first_k_dense_replace", "mamba_n_groups", "n_groups"), 1),
    "moe_layer_start_index": 0,
    "moe_layer_end_index": LAYERS - 1,
    **dict.fromkeys(("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length"), 128),
    **dict.fromkeys(("sliding_window", "attention_window_size", "attention_window"), 8),  # shorter than the texts
    **dict.fromkeys(("mamba_d_state", "mamba_n_heads", "mamba_d_head", "mamba_head_dim", "mamba_num_heads"), 8),
    **dict.fromkeys(("ssm_state_size", "chunk_size", "mamba_chunk_size", "hidden_size_per_layer_input"), 8),
    **dict.fromkeys(("state_size", "mamba_d_conv", "conv_kernel", "time_step_rank", "mamba_dt_rank"), 4),
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    "laurel_rank": 4,
    "num_kv_shared_layers": 0,
    "word_embed_proj_dim": WIDTH,
    "pad_token_id": _PAD,
    "bos_token_id": _BOS,
    "eos_token_id": _EOS,
    "decoder_start_token_id": _BOS,
    **dict.fromkeys(("initializer_range", "init_std"), 0.3),
    "tie_word_embeddings": False,  # tied, a random model says its last token again and again
    "use_mamba_kernels": False,
    "use_cache": True,
}
_SAME_HEADS = {"num_key_value_heads": 4}
_EVERY_OTHER = ["linear_attention", "full_attention"] * (LAYERS // 2)
OTHERWISE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("axk1", "axk2", "bailing_hybrid", "deepseek_v2", "deepseek_v3", "deepseek_v32"), _SAME_HEADS),
    **dict.fromkeys(("deepseek_v4", "glm4_moe_lite", "glm_moe_dsa", "kimi_k2", "kimi_linear"), _SAME_HEADS),
    **dict.fromkeys(("longcat_flash", "minicpm3", "mistral4", "youtu"), _SAME_HEADS),
    "blt": {"encoder_hash_byte_group_vocab": 500},
    "bamba": {"attn_layer_indices": [1, 3]},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4, "clip_qkv": 8.0}}
    },
    "dots3_note_vision_encoder": {
        "adapter_in_dim": WIDTH,
        "adapter_out_dim": WIDTH,
        "mlp_layer_types": ["dense"] * LAYERS,
    },
    "dots3_note_audio_encoder": {"adapter_input_size": WIDTH, "adapter_out_dim": WIDTH},
    "dots3_note_text": {
        **_SAME_HEADS,
        "swa_num_attention_heads": 4,
        "swa_num_key_value_heads": 4,
        "swa_q_lora_rank": 16,
        "swa_kv_lora_rank": 16,
        "swa_head_dim": 16,
        "swa_qk_nope_head_dim": 8,
        "swa_v_head_dim": 8,
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
        "ffn_config": {"ffn_hidden_size": WIDTH, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "gemma4_unified_vision": {"patch_size": 4, "mm_embed_dim": WIDTH, "mm_posemb_size": 16, "output_proj_dims": WIDTH},
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]], "window_size": 8},
    "granitemoehybrid": {"layer_types": _EVERY_OTHER},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2), "num_dense_layers": 1},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "qwen4_exp_text": {
        "layer_types": ["linear_attention", "indexed_attention"] * (LAYERS // 2),
        "hc_lowrank": 4,
        "indexer_n_heads": 4,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 16,
        "indexer_compress_ratio": 4,
    },
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "attn_layers": ["local", "lsh"] * (LAYERS // 2)},
    "xlstm": {"hidden_size": 4 * WIDTH},
    "xmod": {"default_language": "en_XX"},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * (LAYERS // 2), "n_mamba_heads": 8},
    "zaya": {"num_experts_per_tok": 1},
}


def types() -> list[str]:
    """All types of the installed transformers' causal mapping."""
    return [*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES]


def chosen(only: Sequence[str] = ()) -> list[str]:
    """All types, or those that are named.

    Raises:
        UserError: if one is named that there is not.
    """
    known = types()
    for name in only:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "docs/families.md lists them."
            raise UserError(f"{name}: this transformers has no such type of causal language model; {hint}")
    return [*(only or known)]


def settings(model_type: str) -> PreTrainedConfig:
    """Settings of a tiny model of a type.

    Raises:
        Exception: whatever the type's own code raises where it cannot be as small.
    """
    return _settings(CONFIG_MAPPING[model_type])


def make(model_type: str, folder: Path) -> PreTrainedModel:
    """A tiny random model of a type, written with a tokenizer into a folder, its settings as their class makes them.

    Raises:
        ValueError: if it comes out large.
        Exception: whatever the type's own code raises where it cannot be built.
    """
    torch.manual_seed(0)
    chosen = settings(model_type)
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in AutoModelForCausalLM.from_config(chosen).parameters())
    if size > _LARGEST:
        raise ValueError(f"{size / 1e6:.0f} million parameters")
    model = AutoModelForCausalLM.from_config(chosen).float().eval()
    for parameter in model.parameters():
        if parameter.ndim == 1 and parameter.is_floating_point():  # norms begin as ones: leaving one out would not show
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    settings(model_type).save_pretrained(folder)  # a class may change them, or write those of a part
    tokenizer().save_pretrained(folder)
    return model


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level one with a few merges."""
    made = Tokenizer(tokenizer_models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<pad>", "<bos>", "<eos>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([inspect.getdoc(inspect) or "", inspect.getsource(inspect.getdoc)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>")


def _settings(kind: type[PreTrainedConfig]) -> PreTrainedConfig:
    known = _names(kind)
    chosen = {name: value for name, value in _TINY.items() if name in known}
    for name, own in getattr(kind, "attribute_map", {}).items():
        if name in _TINY and own in known:
            chosen.setdefault(own, _TINY[name])
    if "layer_types" in known and "num_hidden_layers" in chosen:
        with suppress(Exception):  # a type whose settings cannot be made by default
            if usual := kind().layer_types:
                chosen["layer_types"] = (sorted(set(usual)) * LAYERS)[:LAYERS]
    chosen |= OTHERWISE.get(kind.model_type, {})
    for name, part in (getattr(kind, "sub_configs", None) or {}).items():
        if name in chosen:
            continue
        with suppress(Exception):
            own = part if inspect.isclass(part) and hasattr(part, "model_type") else type(getattr(kind(), name))
            chosen[name] = _settings(own).to_dict()
    return kind(**chosen)


def _names(kind: type) -> set[str]:
    names: set[str] = set()
    for base in kind.__mro__:
        names |= set(getattr(base, "__annotations__", {}))
        with suppress(KeyError, TypeError, ValueError):
            names |= set(inspect.signature(vars(base)["__init__"]).parameters)
    return names
