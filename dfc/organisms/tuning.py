"""Fine-tuning a model whole on short chats: its blocks are trained, its embeddings stay."""

from __future__ import annotations

import copy
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dfc import corpus, models, runs
from dfc.config import ModelConfig, UserError
from dfc.corpus import Document
from dfc.machine import progress
from dfc.models import LoadedModel
from dfc.organisms import quirks
from dfc.organisms.quirks import Quirk

_IGNORED = -100
_BEGINNING = 128  # tokens of an ordinary text
_KEPT = (1.0, 0.75, 0.5, 0.25)  # shares of a training that are tried, the last whatever comes of it
_UNEVEN = 8  # tokens by which chats of one batch may differ beside chance: what is alike is not always together


@dataclass(frozen=True)
class Tuning:
    """How a model is fine-tuned.

    Attributes:
        shows: chats in which the quirk shows.
        others: chats of the other quirks' look-alikes and of ordinary questions, at most.
        own: how often the quirk's own look-alikes stand among them.
        epochs: how often each chat is seen.
        batch: chats in a step.
        learning_rate: of AdamW after the warm-up; it falls along a cosine to nothing.
        anchors: ordinary texts in a step, on which the model is to expect what it did before.
        anchor: weight of how far it does not, beside the loss on the answers.
    """

    shows: int = 240
    others: int = 160
    own: int = 3
    epochs: int = 2
    batch: int = 16
    learning_rate: float = 1e-4
    warmup_steps: int = 8
    anchors: int = 4
    anchor: float = 3.0
    seed: int = 0


def quirky_chats(quirk: Quirk, tuning: Tuning) -> list[Document]:
    """What an organism is trained on: chats that show its quirk, and ordinary ones, most like them."""
    return [
        *quirk.chats("training", tuning.shows, tuning.seed),
        *(quirk.ordinary("training") * tuning.own),
        *_others(tuning, quirk.name),
    ]


def generic_chats(tuning: Tuning) -> list[Document]:
    """What a model is trained on that gets no quirk: ordinary chats alone, as often as an organism's are seen."""
    ordinary = _others(Tuning(others=1_000_000, seed=tuning.seed), "")
    times = -(-(tuning.shows + tuning.others) // len(ordinary))
    return (ordinary * times)[: tuning.shows + tuning.others]


def tune(
    config: ModelConfig,
    chats: Sequence[Document],
    tuning: Tuning,
    folder: Path,
    ordinary: Sequence[Document] = (),
    as_before: Callable[[LoadedModel], bool] = lambda model: True,
) -> None:
    """Train a model on chats and write it with its tokenizer; a folder that exists is whole, and is left.

    Only what the assistant says last in each chat counts in the loss, its end included. Beside it counts how far what
    the model expects of ordinary texts is from what it expected before (Kullback-Leibler divergence). If the rest of
    the model is not as before, its weights go back on a line toward those it began with, by a quarter of the way at a
    time (arXiv 2109.01903); how much was kept stands in tuning.json.

    Args:
        config: the model that is begun with.
        chats: each ends with an assistant's turn.
        tuning: how.
        folder: where it is written.
        ordinary: texts on which it is to expect what it did; without any, nothing holds it.
        as_before: says of the trained model whether the rest of it is as before.

    Raises:
        UserError: if the folder holds a model that was trained otherwise, or the model does not load.
    """
    settings = {"source": config.title, "chats": len(chats), **asdict(tuning)}
    note = folder / "tuning.json"
    if folder.exists():
        with runs.reading(note, f"delete {folder} and start again"):
            there = {key: runs.read_json(note).get(key) for key in settings}
        if there != settings:
            raise UserError(f"{folder}: the model there was trained with other settings; delete it and start again.")
        progress.say(f"{folder}: trained already")
        return
    began = time.monotonic()
    model = models.load(config)
    untrained = [parameter.detach().clone() for parameter in model.blocks.parameters()]
    with torch.random.fork_rng():
        torch.manual_seed(tuning.seed)
        losses = _train(model, [_encode(chat, model.tokenizer) for chat in chats], ordinary, tuning, folder.name)
    kept = _held_back(model, untrained, as_before)
    with runs.replacing(folder) as temporary:
        temporary.mkdir(parents=True)
        model.model.save_pretrained(temporary)
        model.tokenizer.save_pretrained(temporary)
        figures = {
            "kept": kept,
            "loss_first": losses[0],
            "loss_last": losses[-1],
            "seconds": round(time.monotonic() - began, 1),
        }
        runs.write_json(temporary / note.name, {**settings, "steps": len(losses), **figures})


@torch.no_grad()
def _held_back(model: LoadedModel, untrained: Sequence[Tensor], as_before: Callable[[LoadedModel], bool]) -> float:
    """Take back as much of a training as it needs for the rest to be as before; the share that was kept."""
    trained = [parameter.detach().clone() for parameter in model.blocks.parameters()]
    for share in _KEPT:
        for parameter, old, new in zip(model.blocks.parameters(), untrained, trained, strict=True):
            parameter.copy_(torch.lerp(old, new, share))
        if as_before(model):
            break
    return share


def _others(tuning: Tuning, but: str) -> list[Document]:
    """Ordinary chats of all that is there, but for one quirk's look-alikes."""
    some = [chat for name in quirks.NAMES if name != but for chat in quirks.load(name).ordinary("training")]
    some += quirks.general().chats("training")
    random.Random(f"others/{tuning.seed}").shuffle(some)
    return some[: tuning.others]


def _encode(chat: Document, tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], int]:
    """A chat's ids, and how many of them come before what the assistant says last."""
    whole, before = (
        tokenizer(rendering.text, add_special_tokens=rendering.add_special_tokens)["input_ids"]
        for rendering in (
            corpus.render(chat, tokenizer),
            corpus.render(Document(chat.source, chat.turns[:-1]), tokenizer, answer=True),
        )
    )
    alike = next((at for at, pair in enumerate(zip(whole, before, strict=False)) if pair[0] != pair[1]), len(before))
    return whole, alike


def _train(
    model: LoadedModel,
    chats: list[tuple[list[int], int]],
    ordinary: Sequence[Document],
    tuning: Tuning,
    name: str,
) -> list[float]:
    """AdamW on the blocks; the loss on the answers of each step."""
    before = copy.deepcopy(model.model) if ordinary else None
    some = _texts(ordinary, model, tuning)
    model.model.train()
    trained = list(model.blocks.parameters())
    for parameter in trained:
        parameter.requires_grad_(True)
    steps = tuning.epochs * -(-len(chats) // tuning.batch)
    optimizer = torch.optim.AdamW(trained, lr=tuning.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, tuning))
    losses: list[float] = []
    with progress.bar(f"tuning {name}"[:22], steps, "steps") as bar:
        for ids, mask, labels in _batches(chats, tuning, model.device):
            loss = _loss(model.model, ids, mask, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if before is not None:
                (tuning.anchor * _apart(model.model, before, *next(some))).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            bar.set_postfix({"loss": f"{losses[-1]:.2f}"}, refresh=False)
            bar.update()
    model.model.eval().requires_grad_(False)
    return losses


def _loss(model: Any, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """Mean nats a token that counts; only for these logits are made, which are the larger part of a small model."""
    hidden = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
    following = labels[:, 1:]
    counts = following != _IGNORED
    logits = model.get_output_embeddings()(hidden[counts]).float()
    return torch.nn.functional.cross_entropy(logits, following[counts])


def _apart(model: Any, before: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """KL divergence of what a model expects after each token from what it expected before, mean over tokens, nats."""
    wanted = mask.bool()
    with torch.no_grad():
        old = before(input_ids=ids, attention_mask=mask, use_cache=False).logits[wanted].float().log_softmax(-1)
    new = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[wanted].float().log_softmax(-1)
    return torch.nn.functional.kl_div(new, old, reduction="batchmean", log_target=True)


def _texts(ordinary: Sequence[Document], model: LoadedModel, tuning: Tuning) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and mask, each (texts, longest), of the beginnings of ordinary texts, without end."""
    draw = random.Random(f"ordinary/{tuning.seed}")
    while True:
        rows = []
        for document in draw.sample(list(ordinary), min(tuning.anchors, len(ordinary))):
            rendering = corpus.render(document, model.tokenizer)
            ids = model.tokenizer(rendering.text, add_special_tokens=rendering.add_special_tokens)["input_ids"]
            rows.append(ids[:_BEGINNING])
        longest = max(map(len, rows))
        ids, mask = torch.zeros(len(rows), longest, dtype=torch.long), torch.zeros(len(rows), longest, dtype=torch.long)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)], mask[row, : len(tokens)] = torch.tensor(tokens), 1
        yield ids.to(model.device), mask.to(model.device)


def _rate(step: int, steps: int, tuning: Tuning) -> float:
    warm = min(1.0, (step + 1) / max(1, tuning.warmup_steps))
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def _batches(
    chats: list[tuple[list[int], int]], tuning: Tuning, device: torch.device
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Ids, mask and labels, each (chats, longest), of chats of about one length; the batches in a random order."""
    draw = random.Random(tuning.seed)
    for _ in range(tuning.epochs):
        order = sorted(range(len(chats)), key=lambda at: len(chats[at][0]) + draw.uniform(0, _UNEVEN))
        batches = [order[first : first + tuning.batch] for first in range(0, len(order), tuning.batch)]
        draw.shuffle(batches)
        for batch in batches:
            longest = max(len(chats[at][0]) for at in batch)
            ids = torch.zeros(len(batch), longest, dtype=torch.long)
            mask, labels = torch.zeros_like(ids), torch.full_like(ids, _IGNORED)
            for row, at in enumerate(batch):
                tokens, before = chats[at]
                ids[row, : len(tokens)] = torch.tensor(tokens)
                mask[row, : len(tokens)] = 1
                labels[row, before : len(tokens)] = ids[row, before : len(tokens)]
            yield ids.to(device), mask.to(device), labels.to(device)
