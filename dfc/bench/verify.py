"""What `verify` asks of the models, how surprised they are, beside a plain forward pass with all its logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from dfc import models
from dfc.activations import batches, shards
from dfc.bench.figures import Figure, milliseconds
from dfc.bench.harvest import paired_prompts
from dfc.config import SIDES, HarvestConfig
from dfc.models import LoadedModel, losses

_ROUNDS = 2


def run() -> list[Figure]:
    """Tokens per second of both models of the demo, on its own prompts.

    Raises:
        UserError: if the demo's models are not there.
    """
    figures: list[Figure] = []
    with paired_prompts() as made:
        settings = made.config()
        for side in SIDES:
            ids = shards.read_tokens(made.activations, 0, [f"ids_{side}"])[f"ids_{side}"].to_pylist()
            figures += measure(models.load(settings.models.side(side)), ids, settings.harvest)
    return figures


def measure(model: LoadedModel, ids: list[list[int]], settings: HarvestConfig) -> list[Figure]:
    """The same of one model that can be gone on with, and of whole documents.

    Args:
        model: that is read.
        ids: of each document.
        settings: of the harvest.
    """
    tokens, begin = sum(map(len, ids)), list(map(len, ids))

    def whole(lose: Callable[..., torch.Tensor]) -> batches.Reader:
        return lambda rows, mask: [lose(model, rows, mask)[..., None]]

    def rows_of(read: batches.Reader, few: bool = False, begin: list[int] | None = None) -> list[torch.Tensor]:
        limit = batches.Limit(settings, model)
        if few:
            limit.tokens = losses.plain_tokens(model)
        places = [list(range(len(one))) for one in ids]
        return batches.paired_rows(ids, places, read, limit, model, lambda _: None, begin)

    times = milliseconds(
        {
            "plain": lambda: rows_of(whole(losses.plain), few=True),
            "by words": lambda: rows_of(whole(losses.by_words)),
            "read": lambda: rows_of(partial(model.streams, [model.layer])),
            "both": lambda: rows_of(partial(losses.streams_and_losses, model, [model.layer]), begin=begin),
        },
        _ROUNDS,
    )
    onward = times["both"] - times["read"]
    return [
        Figure(f"surprise in a plain pass, {model.title}", 1e3 * tokens / times["plain"], "tok/s"),
        Figure(
            f"some words at a time, {model.title}",
            1e3 * tokens / times["by words"],
            "tok/s",
            "plain pass's time",
            times["by words"] / times["plain"],
        ),
        Figure(
            f"from block {model.layer} on while it is harvested, {model.title}",
            1e3 * tokens / onward,
            "tok/s",
            "plain pass's time",
            onward / times["plain"],
            0.5,
        ),
    ]
