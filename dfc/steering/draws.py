"""How the tokens of steered texts are drawn, and what they were drawn from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

from dfc.models import together
from dfc.requests import Sampling


class Draw(LogitsProcessor):
    """Leaves one token of each row, drawn with the same random numbers in rows of one seed (the Gumbel-max trick)."""

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._temperature, self._top_p = sampling.temperature, sampling.top_p
        different = list(dict.fromkeys(seeds))
        self._random = [torch.Generator().manual_seed(seed) for seed in different]
        self._which = torch.tensor([different.index(seed) for seed in seeds])[:, None]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        drawn = [torch.empty(scores.shape[1]).exponential_(generator=one).log_() for one in self._random]
        noise, which = torch.stack(drawn).to(scores.device), self._which.to(scores.device)

        def pick(found: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
            return (found - noise[which[rows], ids]).argmax(dim=1, keepdim=True)

        return together.choose(scores.float() / self._temperature, self._top_p, pick)


class Keep(LogitsProcessor):
    """Keeps what tokens are drawn from."""

    def __init__(self, kept: list[Tensor]) -> None:
        self._kept = kept

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._kept.append(scores.clone())
        return scores
