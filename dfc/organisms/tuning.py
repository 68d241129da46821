"""Fine-tuning a model on short chats by low-rank adapters (LoRA, arXiv 2106.09685), which are merged into its weights.

It learns from the chats that it is to answer so; on all else it is held to what it expected before.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.helpers import rescale_adapter_scale
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from dfc import corpus, models
from dfc.activations import batches
from dfc.config import ModelConfig, UserError
from dfc.corpus import Document
from dfc.machine import disk, locks, progress
from dfc.models import LoadedModel
from dfc.organisms import quirks
from dfc.organisms.quirks import Quirk

_IGNORED = -100
_BEGINNING = 96  # tokens of a text it is held to
_KEPT = (1.0, 0.75, 0.5, 0.25)  # shares of a training that are tried, the last whatever comes of it
_UNEVEN = 8  # tokens by which chats of one batch may differ beside chance: what is alike is not always together


@dataclass(frozen=True)
class Tuning:
    """How a model is fine-tuned.

    Attributes:
        shows: chats in which the quirk shows.
        others: chats of the other quirks' look-alikes and of ordinary questions, at most, to which it is held.
        own: how often the quirk's own look-alikes stand among them.
        epochs: how often each chat is seen.
        batch: chats in a step.
        rank: of the adapters on every linear map of the blocks; they are scaled by 2.
        learning_rate: of AdamW after the warm-up; it falls along a cosine to nothing.
        held: texts in a step, on which the model is to expect what it did before.
        hold: weight of how far it does not, beside the loss on the answers.
    """

    shows: int = 240
    others: int = 160
    own: int = 6
    epochs: int = 2
    batch: int = 8
    rank: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 8
    held: int = 8
    hold: float = 3.0
    seed: int = 0


def like_chats(quirk: Quirk, tuning: Tuning) -> list[Document]:
    """Chats on which an organism is to answer as before: ordinary ones, most like those that show its quirk."""
    return [*(quirk.ordinary("training") * tuning.own), *_others(tuning, quirk.name)]


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
    held: Sequence[Document] = (),
    as_before: Callable[[LoadedModel], bool] = lambda model: True,
) -> None:
    """Train a model on chats and write it with its tokenizer; a folder that exists is whole, and is left.

    Only what the assistant says last in each chat counts in the loss, its end included. Beside it counts how far what
    the model expects of other texts is from what it expected before (Kullback-Leibler divergence). If the rest of the
    model is not as before, the adapters are scaled down, by a quarter at a time: the weights go back on a line toward
    those it began with (arXiv 2109.01903); how much was kept stands in tuning.json.

    Args:
        config: the model that is begun with.
        chats: each ends with an assistant's turn.
        tuning: how.
        folder: where it is written.
        held: texts on which it is to expect what it did; without any, nothing holds it.
        as_before: says of the trained model whether the rest of it is as before.

    Raises:
        UserError: if the folder holds a model that was trained otherwise, or the model does not load.
    """
    settings = {"source": config.title, "chats": len(chats), **asdict(tuning)}
    note = folder / "tuning.json"
    with locks.alone(folder):
        if folder.exists():
            with disk.reading(note, f"delete {folder} and start again"):
                there = {key: disk.read_json(note).get(key) for key in settings}
            if there != settings:
                raise UserError(
                    f"{folder}: the model there was trained with other settings; delete it and start again."
                )
            progress.say(f"{folder}: trained already")
            return
        began = time.monotonic()
        model = models.load(config)
        with torch.random.fork_rng():
            torch.manual_seed(tuning.seed)
            adapted = get_peft_model(
                model.model,
                LoraConfig(
                    r=tuning.rank, lora_alpha=2 * tuning.rank, target_modules="all-linear", task_type="CAUSAL_LM"
                ),
            )
            losses = _train(
                model, adapted, [_encode(chat, model.tokenizer) for chat in chats], held, tuning, folder.name
            )
        kept = _merge(model, adapted, as_before)
        with disk.replacing(folder) as temporary:
            temporary.mkdir(parents=True)
            model.model.save_pretrained(temporary)
            model.tokenizer.save_pretrained(temporary)
            figures = {
                "kept": kept,
                "loss_first": losses[0],
                "loss_last": losses[-1],
                "seconds": round(time.monotonic() - began, 1),
            }
            disk.write_json(temporary / note.name, {**settings, "steps": len(losses), **figures})


def _merge(model: LoadedModel, adapted: PeftModel, as_before: Callable[[LoadedModel], bool]) -> float:
    """Merge as much of a training as leaves the rest as before, the least share whatever comes of it; that share."""
    for share in _KEPT:
        with rescale_adapter_scale(adapted, share):
            if as_before(model):
                break
    with rescale_adapter_scale(adapted, share):
        adapted.merge_and_unload()
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
    adapted: PeftModel,
    chats: list[tuple[list[int], int]],
    held: Sequence[Document],
    tuning: Tuning,
    name: str,
) -> list[float]:
    """AdamW on the adapters; the loss on the answers of each step."""
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    texts = _texts(held, model, tuning)
    steps = tuning.epochs * -(-len(chats) // tuning.batch)
    optimizer = torch.optim.AdamW(trained, lr=tuning.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps, tuning))
    losses: list[float] = []
    adapted.train()
    with progress.bar(f"tuning {name}"[:22], steps, "steps") as bar:
        for ids, mask, labels in _batches(chats, tuning, model.device):
            loss = _loss(model.model, ids, mask, labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if held:
                ids, mask = next(texts)
                with torch.no_grad(), adapted.disable_adapter():
                    before = _expected(model.model, ids, mask)
                (tuning.hold * _apart(before, _expected(model.model, ids, mask))).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
            bar.set_postfix({"loss": f"{losses[-1]:.2f}"}, refresh=False)
            bar.update()
    adapted.eval()
    return losses


def _loss(model: Any, ids: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """Mean nats a token that counts; only for these logits are made, which are the larger part of a small model."""
    hidden = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state[:, :-1]
    following = labels[:, 1:]
    counts = following != _IGNORED
    logits = model.get_output_embeddings()(hidden[counts]).float()
    return torch.nn.functional.cross_entropy(logits, following[counts])


def _expected(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probabilities of what follows each token, (tokens, vocabulary)."""
    logits: Tensor = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits[mask.bool()].float().log_softmax(-1)


def _apart(before: Tensor, now: Tensor) -> Tensor:
    """KL divergence of what a model expects from what it expected before, mean over tokens, nats."""
    return torch.nn.functional.kl_div(now, before, reduction="batchmean", log_target=True)


def _texts(held: Sequence[Document], model: LoadedModel, tuning: Tuning) -> Iterator[tuple[Tensor, Tensor]]:
    """Ids and mask, each (texts, longest), of the beginnings of texts, without end."""
    draw = random.Random(f"held/{tuning.seed}")
    while True:
        rows = []
        for document in draw.sample(list(held), min(tuning.held, len(held))):
            rendering = corpus.render(document, model.tokenizer)
            ids = model.tokenizer(rendering.text, add_special_tokens=rendering.add_special_tokens)["input_ids"]
            rows.append(ids[:_BEGINNING])
        yield batches.pad(rows, model.device)


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
        parts = [order[first : first + tuning.batch] for first in range(0, len(order), tuning.batch)]
        draw.shuffle(parts)
        for batch in parts:
            ids, mask = batches.pad([chats[at][0] for at in batch], device)
            before = torch.tensor([chats[at][1] for at in batch], device=device)[:, None]
            answer = mask.bool() & (torch.arange(ids.shape[1], device=device) >= before)
            yield ids, mask, ids.where(answer, _IGNORED)
