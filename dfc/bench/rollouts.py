"""Rollouts of the demo's models beside bare forward passes of as many tokens, and beside one answer at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dfc.bench.figures import Figure, milliseconds
from dfc.bench.writing import bare, models_of_the_demo
from dfc.config import shipped
from dfc.corpus import Document
from dfc.models import LoadedModel, rollouts, together
from dfc.requests import RolloutSampling

_SAMPLING = RolloutSampling(tokens=32)
_PROMPTS = 64
_ALONE = 2  # answers that are given one at a time
_ROUNDS = 3


def run() -> list[Figure]:
    """Times of both models on prompts that are shipped.

    Raises:
        UserError: if the demo's models are not there.
    """
    prompts = rollouts.read_prompts(str(shipped.PROMPTS / "*.jsonl"), _PROMPTS)
    return [figure for model in models_of_the_demo() for figure in measure(model, prompts, _SAMPLING, _ROUNDS)]


def measure(model: LoadedModel, prompts: Sequence[Document], sampling: RolloutSampling, rounds: int) -> list[Figure]:
    """The first batch as `rollouts` makes it, written to the last token, so that all do as much."""
    batch = rollouts.batched(model, rollouts.planned(model, list(prompts), sampling), sampling)[0]
    asked = [answer.ids for answer in batch]
    draws = torch.rand(len(batch), sampling.tokens, generator=torch.Generator().manual_seed(0))
    few = range(min(_ALONE, len(batch)))
    times = milliseconds(
        {
            "bare": lambda: bare(model, asked, sampling.tokens),
            "together": lambda: together.write(model, asked, sampling, draws, ends=[]),
            "alone": lambda: [together.write(model, [asked[i]], sampling, draws[i, None], ends=[]) for i in few],
        },
        rounds,
    )
    rates = {
        name: 1e3 * sampling.tokens * (len(few) if name == "alone" else len(batch)) / time
        for name, time in times.items()
    }
    title = f"{model.title}, {len(batch)} rows"
    return [
        Figure(f"bare forward passes, {title}", rates["bare"], "tok/s"),
        Figure(f"one answer at a time, {model.title}", rates["alone"], "tok/s"),
        Figure(
            f"rollouts, {title}",
            rates["together"],
            "tok/s",
            "bare passes' time",
            times["together"] / times["bare"],
            1.25,
        ),
        Figure(f"a token, {title}", 1e3 / rates["together"], "ms", "one at a time", rates["alone"] / rates["together"]),
    ]
