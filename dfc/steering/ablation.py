"""What a model says next without a feature: its decoder vector, times its activation, is taken off where it fires.

The activations are those that the crosscoder gives from both models' streams, so that nothing is guessed, as a gauge
that reads one model alone must. Both models lose what they had of the feature at the same places of the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from dfc.activations import batches
from dfc.machine import devices
from dfc.models import LoadedModel

_TOKENS = 4_096
"""Of one forward pass, padding and all versions of a text included."""


@dataclass(frozen=True, eq=False)
class Passage:
    """A text in which something is taken away.

    Attributes:
        ids: its tokens, up to the last whose prediction is compared.
        at: tokens at which something is taken away, increasing; from the first on predictions are compared.
        taken: what is taken off the stream there, for each version of the text, (versions, len(at), width).
    """

    ids: list[int]
    at: list[int]
    taken: Tensor

    @property
    def positions(self) -> int:
        """Over which is averaged."""
        return len(self.ids) - self.at[0]


def divergences(model: LoadedModel, passages: Sequence[Passage]) -> Iterator[tuple[int, list[float]]]:
    """KL(version ‖ left alone) of the next token, in nats a token, of each version of each passage, by its place.

    They come as they are read, the longest first. The model runs over a passage and its versions side by side, to its
    last block; only at the positions that are compared the stream is turned into logits.

    Args:
        model: others wait until it is free.
        passages: all with as many versions.

    Raises:
        UserError: if the stream cannot be edited, or a device has no memory for one passage.
    """
    model.check_edits()
    left = sorted(range(len(passages)), key=lambda place: -len(passages[place].ids))
    for _, alike in groupby(left, lambda place: model.company(len(passages[place].ids))):
        places = list(alike)
        while places:
            rows = 1 + len(passages[places[0]].taken)
            size = max(1, _TOKENS // (rows * len(passages[places[0]].ids)))
            batch = [passages[place] for place in places[:size]]
            streams = [
                stream
                for _, part in devices.in_halves(lambda some: _streams(model, some), batch, model.device, _too_long)
                for stream in part
            ]
            for place, stream in zip(places[:size], streams, strict=True):
                yield place, _divergence(model, stream)
            places = places[size:]


def _too_long(passage: Passage) -> str:
    return f"a text of {len(passage.ids)} tokens, thrice; lower max_tokens"


@torch.no_grad()
def _streams(model: LoadedModel, passages: Sequence[Passage]) -> list[Tensor]:
    """What the last block gives for a passage left alone and its versions, where they are compared.

    Each (1 + versions, positions, width).
    """
    versions = 1 + len(passages[0].taken)
    ids, mask = batches.pad([passage.ids for passage in passages for _ in range(versions)], model.device)

    def take(module: Any, inputs: Any, output: Any) -> None:
        length, width = ids.shape[1], passages[0].taken.shape[-1]
        for number, passage in enumerate(passages):
            for version, taken in enumerate(passage.taken, 1):
                added = torch.zeros(length, width, device=model.device)
                added[passage.at] = -taken.to(added)
                model.form.add(output, number * versions + version, added)

    with model.lock:
        handle = model.site.register_forward_hook(take)  # before what reads, where both are at one block
        try:
            [stream] = model.streams([len(model.blocks) - 1], ids, mask)
        finally:
            handle.remove()
    return [
        stream[number * versions : (number + 1) * versions, passage.at[0] : len(passage.ids)]
        for number, passage in enumerate(passages)
    ]


@torch.no_grad()
def _divergence(model: LoadedModel, stream: Tensor) -> list[float]:
    """Of each version from the first row, (1 + versions, positions, width), a mean over positions."""
    logs = log_softmax(model.unembed(stream).float(), dim=-1)
    alone = logs[0]
    return [max(0.0, float((one.exp() * (one - alone)).sum(dim=-1).mean())) for one in logs[1:]]
