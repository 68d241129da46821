"""The two models of a planted world: of different family, width, depth and tokenizer, trained from nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from dfc.config import Side
from dfc.machine import disk, locks, progress
from dfc.worlds.planted_texts import PlantedWorld, training_documents

_TOKENIZER_DOCUMENTS = 1_000
_CONTEXT = 192
_IGNORED = -100  # what transformers leaves out of the loss


@dataclass(frozen=True)
class ModelTraining:
    """How a model of a planted world is trained.

    Attributes:
        share: of the documents it is trained on, those that it alone is given.
        width_a, width_b: of the residual streams.
    """

    steps: int = 400
    batch: int = 16
    learning_rate: float = 3e-3
    warmup_steps: int = 50
    share: float = 0.3
    width_a: int = 96
    width_b: int = 96
    layers: int = 4


def make(world: PlantedWorld, side: Side, training: ModelTraining, folder: Path, seed: int = 0) -> None:
    """Train a model and write it with its tokenizer; a folder that exists is whole, and is left.

    With another `seed`, its weights begin elsewhere and it is given other texts of the same kinds; its tokenizer is
    the same.
    """
    with locks.alone(folder):
        if folder.exists():
            progress.say(f"{folder}: trained already")
            return
        with torch.random.fork_rng():
            torch.manual_seed(world.seed * 2 + (side == "b") + 1_000 * seed)
            tokenizer = _tokenizer(world, side, training)
            model = _model(side, tokenizer, training)
            documents = training_documents(world, side, training.share, seed=2 * seed)  # the tokenizer's are of seed 1
            loss = _train(model, tokenizer, documents, training, folder)
        with disk.replacing(folder) as temporary:
            temporary.mkdir(parents=True)
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            disk.write_json(temporary / "training.json", {"steps": training.steps, "loss": loss})


@torch.no_grad()
def surprise(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> float:
    """Mean negative log likelihood of a document, nats a character: models of any tokenizer are compared by it."""
    ids, labels = _encode(tokenizer, documents)
    logits = model(input_ids=ids, attention_mask=(labels != _IGNORED).long()).logits[:, :-1]
    lost = torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), labels[:, 1:].flatten(), reduction="sum")
    return float(lost) / sum(map(len, documents))


def _tokenizer(world: PlantedWorld, side: Side, training: ModelTraining) -> PreTrainedTokenizerFast:
    texts = list(islice(training_documents(world, side, training.share, seed=1), _TOKENIZER_DOCUMENTS))
    return _byte_level(texts) if side == "a" else _metaspace(texts)


def _byte_level(texts: list[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE, as GPT-2's, in which almost every word of the world is one token."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    _train_bpe(tokenizer, texts, 1_500, ["<|endoftext|>"], pre_tokenizers.ByteLevel.alphabet())
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>", bos_token="<|endoftext|>"
    )


def _metaspace(texts: list[str]) -> PreTrainedTokenizerFast:
    """BPE over ▁-marked words, as SentencePiece's, so small that many words are several tokens; with a <s>."""
    tokenizer = Tokenizer(tokenizer_models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    _train_bpe(tokenizer, texts, 600, ["<pad>", "<s>", "</s>", "<unk>"])
    start = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", start)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def _train_bpe(
    tokenizer: Tokenizer, texts: list[str], vocabulary: int, special: list[str], alphabet: Sequence[str] = ()
) -> None:
    trainer = BpeTrainer(
        vocab_size=vocabulary, special_tokens=special, initial_alphabet=list(alphabet), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)


def _model(side: Side, tokenizer: PreTrainedTokenizerFast, training: ModelTraining) -> PreTrainedModel:
    tokens = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    if side == "a":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=training.width_a,
                intermediate_size=3 * training.width_a,
                num_hidden_layers=training.layers,
                num_attention_heads=4,
                num_key_value_heads=4,
                max_position_embeddings=_CONTEXT,
                pad_token_id=tokenizer.pad_token_id,
                **tokens,
            )
        )
    return GPTNeoXForCausalLM(
        GPTNeoXConfig(
            vocab_size=len(tokenizer),
            hidden_size=training.width_b,
            intermediate_size=3 * training.width_b,
            num_hidden_layers=training.layers,
            num_attention_heads=4,
            max_position_embeddings=_CONTEXT,
            **tokens,
        )
    )


def _train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    documents: Iterator[str],
    training: ModelTraining,
    folder: Path,
) -> float:
    """AdamW with a cosine; the mean loss of the last tenth."""
    steps = training.steps
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training.learning_rate, betas=(0.9, 0.98), weight_decay=0.05, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, training))
    losses: list[float] = []
    model.train()
    with progress.bar(f"training {folder.parent.name[-9:]}/{folder.name}"[:22], steps, "steps") as bar:
        for _ in range(steps):
            ids, labels = _encode(tokenizer, list(islice(documents, training.batch)))
            mask = (labels != _IGNORED).long()
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            bar.set_postfix({"loss": f"{losses[-1]:.2f}"}, refresh=False)
            bar.update()
    model.eval()
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)


def _rate(step: int, steps: int, training: ModelTraining) -> float:
    warm = min(1.0, (step + 1) / training.warmup_steps)
    return warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def _encode(tokenizer: PreTrainedTokenizerFast, documents: list[str]) -> tuple[Tensor, Tensor]:
    """Ids and labels, (documents, longest): each document from its beginning, as it is read later, and its end."""
    rows = [[*tokenizer(text)["input_ids"][: _CONTEXT - 1], tokenizer.eos_token_id] for text in documents]
    ids = torch.full((len(rows), max(map(len, rows))), tokenizer.pad_token_id)
    labels = torch.full_like(ids, _IGNORED)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = labels[place, : len(row)] = torch.tensor(row)
    return ids, labels
