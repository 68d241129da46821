"""Two tiny real models of different family, width and tokenizer, and a run on them, made from nothing in seconds."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from tokenizers.trainers import BpeTrainer
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from dfc import config
from dfc.config import RunConfig
from dfc.machine import disk
from dfc.models import LoadedModel

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are tiny.<|im_end|>\n{% endif %}"
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ENGLISH = (
    "river",
    "carried",
    "a",
    "boat",
    "under",
    "the",
    "old",
    "bridge",
    "while",
    "people",
    "watched",
    "and",
    "rain",
)
CHINESE = "北京的河流在老桥下面缓缓流过，人们站在岸边谈论着天气。今天新闻说会下雨，记者王波报道。"
CODE = "def read(path):\n    with open(path) as file:\n        return [line for line in file]\n\nx = read('a.txt')\n"


def texts(count: int = 60, seed: int = 0) -> list[tuple[str, str]]:
    """(source, text) of documents in English, Chinese and code."""
    draw = random.Random(seed)
    found = []
    for number in range(count):
        source = ("english", "chinese", "code")[number % 3]
        if source == "english":
            text = " ".join(draw.choices(ENGLISH, k=50)).capitalize() + "."
        elif source == "chinese":
            text = "".join(draw.choices(CHINESE, k=60))
        else:
            text = CODE.replace("x", draw.choice("abcxyz")) * 2
        found.append((source, text))
    return found


def byte_level_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with a chat template, as in the Llama and Qwen families."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = BpeTrainer(
        vocab_size=420,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text for _, text in texts()], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHATML,
    )


def metaspace_tokenizer() -> PreTrainedTokenizerFast:
    """BPE over ▁-marked words with byte fallback and a <bos>, as in the Gemma family; without a chat template."""
    tokenizer = Tokenizer(tokenizer_models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), "merged_with_next")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = BpeTrainer(vocab_size=700, special_tokens=special + byte_tokens, show_progress=False)
    tokenizer.train_from_iterator([text for _, text in texts(seed=1)], trainer)
    described = json.loads(tokenizer.to_str())
    described["added_tokens"] = [token for token in described["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(described))
    bos = tokenizer.token_to_id("<bos>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", bos)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>"
    )


def make_encoder(folder: Path, seed: int = 0, **prompts: str) -> Path:
    """An encoder of sentences: a random BERT of two blocks of width 32, which reads 40 tokens at once."""
    torch.manual_seed(seed)
    tokenizer = metaspace_tokenizer()
    settings = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    save(folder, BertModel(settings), tokenizer)
    disk.write_json(folder / "config_sentence_transformers.json", {"prompts": prompts})
    return folder


def save(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> Path:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_llama(folder: Path, seed: int = 0) -> Path:
    """Six blocks of width 32 with a byte-level tokenizer."""
    torch.manual_seed(seed)
    tokenizer = byte_level_tokenizer()
    settings = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )
    return save(folder, LlamaForCausalLM(settings), tokenizer)


def make_gemma(folder: Path, seed: int = 1) -> Path:
    """Four blocks of width 40 with a SentencePiece-like tokenizer."""
    torch.manual_seed(seed)
    tokenizer = metaspace_tokenizer()
    settings = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=40,
        intermediate_size=80,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=10,
        max_position_embeddings=512,
        sliding_window=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.3,
    )
    return save(folder, Gemma3ForCausalLM(settings), tokenizer)


def tiny_settings(folder: Path, models: tuple[Path, Path], name: str = "tiny", **overrides: Any) -> dict[str, Any]:
    """A run's settings on a small corpus that is written into `folder`; `overrides` replace whole sections' keys."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = texts()
    for source in ("english", "chinese", "code"):
        lines = [json.dumps({"text": text}, ensure_ascii=False) for kind, text in documents if kind == source]
        (folder / f"{source}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    answer = {"role": "assistant", "content": "今天会下雨。 " * 6}
    chat = {"messages": [{"role": "user", "content": "Will it rain?"}, answer]}
    (folder / "chats.jsonl").write_text("\n".join([json.dumps(chat, ensure_ascii=False)] * 6), encoding="utf-8")
    kinds = ("english", "chinese", "code", "chats")
    sources = [{"name": kind, "path": str(folder / f"{kind}.jsonl")} for kind in kinds]
    settings: dict[str, Any] = {
        "name": name,
        "models": {
            "a": {"source": str(models[0]), "layer": 3, "max_tokens": 256, "name": "tiny-llama"},
            "b": {"source": str(models[1]), "layer": 2, "max_tokens": 256, "name": "tiny-gemma"},
        },
        "corpus": {"pairs": 2_000, "sources": sources, "held_out": 0.2, "drop_duplicates": False},
        "harvest": {"shard_pairs": 300, "batch_tokens": 512},
        "crosscoder": {"features": 64, "k": 4},
        "training": {
            "steps": 60,
            "batch": 64,
            "learning_rate": 3e-3,
            "warmup_steps": 5,
            "k_start": 16,
            "k_anneal_steps": 10,
            "aux_k": 8,
            "dead_after_pairs": 640,
            "threshold_decay": 0.9,
            "threshold_start": 20,
            "checkpoint_every": 20,
            "log_every": 10,
        },
        "index": {"top_contexts": 6, "band_contexts": 2, "logit_tokens": 5},
    }
    for section, values in overrides.items():
        settings[section] = {**settings[section], **values}
    return settings


def tiny_config(folder: Path, models: tuple[Path, Path], name: str = "tiny", **overrides: Any) -> RunConfig:
    """The same, checked."""
    return config.parse(tiny_settings(folder, models, name, **overrides), origin="tiny")


def add_padding(folder: Path) -> None:
    """Give a saved model's tokenizer a token for padding that is none of the model's, as many do before they train."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)


def passes(model: LoadedModel) -> list[tuple[int, ...]]:
    """Rows and tokens of every pass from now on."""
    seen: list[tuple[int, ...]] = []

    def note(module: Any, given: Any, named: dict[str, Any]) -> None:
        seen.append(tuple((named["input_ids"] if "input_ids" in named else given[0]).shape))

    model.model.register_forward_pre_hook(note, with_kwargs=True)
    return seen
