"""What the benchmarks of written texts share: the demo's models, and the floor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from dfc import demo, models
from dfc.config import SIDES
from dfc.models import LoadedModel, together


def models_of_the_demo() -> Iterator[LoadedModel]:
    """Both, one after the other.

    Raises:
        UserError: if they are not there.
    """
    settings = demo.settings()
    return (models.load(settings.models.side(side)) for side in SIDES)


@torch.inference_mode()
def bare(model: LoadedModel, prompts: Sequence[Sequence[int]], tokens: int) -> None:
    """Forward passes over prompts and `tokens` more of each, in one batch with a cache; nothing is drawn."""
    ids, mask = together.padded(model, prompts)
    kept = None
    for _ in range(tokens):
        kept = model.model(
            input_ids=ids, attention_mask=mask, past_key_values=kept, use_cache=True, logits_to_keep=1
        ).past_key_values
        ids, mask = ids[:, -1:], torch.cat([mask, mask[:, -1:]], dim=1)
