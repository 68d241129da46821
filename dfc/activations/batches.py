"""Documents of like length are read together, and what is read of their paired tokens becomes rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from dfc.config import HarvestConfig
from dfc.machine import devices
from dfc.models import LoadedModel

_CPU_TOKENS = 2_048  # in one pass; more does not make a CPU faster
_GPU_TOKENS = 65_536  # where to begin; halved until it fits
Reader = Callable[..., list[Tensor]]
"""Streams (batch, length, width) of tokens and mask, (batch, length), and of `begin`, (batch,), where there is one."""


def paired_rows(
    ids: list[list[int]],
    paired: list[list[int]],
    read: Reader,
    limit: Limit,
    model: LoadedModel,
    report: Callable[[int], object],
    begin: Sequence[int] | None = None,
) -> list[Tensor]:
    """For each stream that is read, its rows on the paired tokens of all documents, (pairs, width) float32.

    Args:
        ids, paired: token ids of each document, and which of these are paired.
        read: gives the streams of a batch.
        limit: tokens in a batch.
        model: that is read; its device takes the batches.
        report: told how many tokens were read.
        begin: what `read` is told of each document beside its tokens.
    """
    index = [torch.tensor(places, dtype=torch.long) for places in paired]
    first_row = np.concatenate([[0], np.cumsum([len(places) for places in index])]).tolist()
    rows_by_stream: list[Tensor] = []
    for batch, streams in _streams(ids, begin, read, limit, model.device):
        rows_by_stream = rows_by_stream or [torch.empty(first_row[-1], stream.shape[-1]) for stream in streams]
        length = streams[0].shape[1]
        chosen = torch.cat([index[document] + place * length for place, document in enumerate(batch)])
        where = torch.cat([torch.arange(first_row[document], first_row[document + 1]) for document in batch])
        for rows, stream in zip(rows_by_stream, streams, strict=True):  # one copy from the device for all documents
            rows[where] = stream.flatten(0, 1)[chosen.to(stream.device)].float().cpu()
        report(sum(len(ids[document]) for document in batch))
    return rows_by_stream


class Limit:
    """What goes into one forward pass.

    Attributes:
        tokens: padding included: as configured, or as many as the memory takes.
        company: of a text's length, what texts must have alike to be read together.
    """

    def __init__(self, config: HarvestConfig, model: LoadedModel) -> None:
        automatic = _GPU_TOKENS if model.device.type == "cuda" else _CPU_TOKENS
        self.tokens = config.batch_tokens or automatic
        self.company: Callable[[int], tuple[int, ...]] = model.company


def _streams(
    ids: list[list[int]], begin: Sequence[int] | None, read: Reader, limit: Limit, device: torch.device
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Batches of documents of like length, longest first, and their streams, each (documents, length, width).

    Documents that the model would read otherwise together are apart (`Limit.company`). A batch for which the memory is
    too small is read in halves, and later ones are made smaller.
    """

    def work(batch: Sequence[int]) -> list[Tensor]:
        padded = pad([ids[i] for i in batch], device)
        return read(*padded) if begin is None else read(*padded, torch.tensor([begin[i] for i in batch], device=device))

    def too_long(i: int) -> str:
        return f"a document of {len(ids[i])} tokens; lower max_tokens"

    left = sorted((i for i, sequence in enumerate(ids) if len(sequence)), key=lambda i: -len(ids[i]))
    while left:
        longest = len(ids[left[0]])
        _, alike = next(groupby(left[: max(1, limit.tokens // longest)], lambda i: limit.company(len(ids[i]))))
        batch = list(alike)
        for part, streams in devices.in_halves(work, batch, device, too_long):
            if part[0] == batch[0] and len(part) < len(batch):
                limit.tokens = len(part) * longest
            yield list(part), streams
        left = left[len(batch) :]


def pad(sequences: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Right-padded ids and their mask; padding on the left gives some models other positions."""
    length = max(len(sequence) for sequence in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids.to(device), mask.to(device)
