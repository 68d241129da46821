"""Texts written together: as many as memory allows, prompts padded on the left, tokens drawn from the nucleus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from dfc.machine import memory
from dfc.models.loaded import LoadedModel
from dfc.requests import RolloutSampling

_MOST = 64  # rows; on a CPU more of them write hardly more tokens a second
_UNKNOWN = 8  # rows where the system does not say how much memory is free
_SHARE = 4  # of the free memory, one part in so many
_LOGITS = 5  # copies of a row's logits while a token is drawn
_ENOUGH = 4  # one row in so many must have ended before it pays to go on without them
_LIKELIEST = 256  # tokens among which the nucleus is looked for first

Pick = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What takes a token of each row; see `choose`."""


def most_rows(model: LoadedModel, length: int, kept: int = 0) -> int:
    """How many texts are written or read at once, 1 to 64.

    Args:
        model: writes or reads them.
        length: of the longest, in tokens, when it is whole.
        kept: of each text, logits of so many tokens are kept.
    """
    free = memory.free_bytes(str(model.device))
    if free is None:
        return _UNKNOWN
    vocabulary, width = model.model.get_input_embeddings().weight.shape
    logits = 4 * vocabulary * (_LOGITS + kept)
    # Keys and values of all blocks, as wide as the stream at most, and copied where they grow.
    cache = 4 * length * model.description.layers * max(width, model.width) * model.model.dtype.itemsize
    return max(1, min(_MOST, free // _SHARE // (logits + cache)))


def write(
    model: LoadedModel,
    prompts: Sequence[Sequence[int]],
    sampling: RolloutSampling,
    draws: Tensor,
    ends: Sequence[int],
) -> list[list[int]]:
    """New tokens after each prompt, up to the first of `ends`, in one batch which rows leave when they have ended.

    Args:
        model: writes.
        prompts: token ids.
        sampling: how tokens are drawn, and how many.
        draws: random numbers of each row, (rows, tokens), each from 0 to below 1; not used at temperature 0.
        ends: tokens that end a row.
    """
    ids, mask = padded(model, prompts)
    start, last, draws = ids.shape[1], torch.tensor(ends, dtype=torch.long, device=model.device), draws.to(model.device)
    said: dict[int, list[int]] = {}
    rows, cached = torch.arange(len(prompts), device=model.device), dict[str, Any]()
    while len(rows):
        drawn = [_OwnDraws(sampling, draws[rows], start)] if sampling.temperature > 0 else []
        found: Any = model.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=start + sampling.tokens - ids.shape[1],
            do_sample=False,
            logits_processor=LogitsProcessorList(drawn),
            stopping_criteria=StoppingCriteriaList([_EnoughEnded(last, start)] if ends else []),
            eos_token_id=list(ends) or None,
            pad_token_id=model.padding,
            repetition_penalty=1.0,
            use_cache=True,  # training leaves it off in the settings of some models
            return_dict_in_generate=True,
            **cached,
        )
        ids = found.sequences
        through = torch.isin(ids[:, start:], last).any(dim=1) | (ids.shape[1] == start + sampling.tokens)
        for row, tokens in zip(rows[through].tolist(), ids[through, start:].tolist(), strict=True):
            said[row] = tokens[: next((at for at, token in enumerate(tokens) if token in ends), len(tokens))]
        left = (~through).nonzero()[:, 0]
        mask = torch.cat([mask, mask.new_ones(len(mask), ids.shape[1] - mask.shape[1])], dim=1)[left]
        ids, rows, cached = ids[left], rows[left], _cut(getattr(found, "past_key_values", None), left)
    return [said[row] for row in range(len(prompts))]


def padded(model: LoadedModel, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Prompts padded on the left, and their mask, (rows, longest); on the model's device.

    By the mask, transformers' `generate` gives tokens the positions that they have alone.
    """
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), model.padding)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return ids.to(model.device), mask.to(model.device)


def choose(scores: Tensor, top_p: float, pick: Pick) -> Tensor:
    """Scores of which the greedy choice is a token that `pick` takes from the nucleus of each row.

    The nucleus are the fewest likeliest tokens that hold `top_p` of the probability (Holtzman et al. 2020). It is the
    same as after sorting all, of which few are needed: only rows whose likeliest 256 do not hold enough look further.

    Args:
        scores: logits at the temperature that is drawn at, (rows, vocabulary), float32.
        top_p: at 1 all tokens; the likeliest one stays, whatever is asked for.
        pick: is given scores, -inf beyond the nucleus, and token ids, (some rows, candidates) each, and which rows
            these are; gives the column of the token that is taken, (some rows, 1).
    """
    chosen = torch.empty(len(scores), 1, dtype=torch.long, device=scores.device)
    rows, count, vocabulary = torch.arange(len(scores), device=scores.device), _LIKELIEST, scores.shape[1]
    left, total = scores, scores.logsumexp(dim=1, keepdim=True)
    while len(rows):
        if top_p >= 1:
            best, ids = left, torch.arange(vocabulary, device=scores.device).expand_as(left)
            found = torch.ones_like(rows, dtype=torch.bool)
        else:
            best, ids = left.topk(min(count, vocabulary), dim=1)
            shares = (best - total[rows]).double().exp()
            before = shares.cumsum(dim=1) - shares
            before[:, 0] = -1
            best = best.masked_fill(before >= top_p, -torch.inf)
            found = (before[:, -1] >= top_p) | (count >= vocabulary)
        if bool(found.any()):
            taken = pick(best[found], ids[found], rows[found])
            chosen[rows[found]] = ids[found].gather(1, taken)
        left, rows, count = left[~found], rows[~found], 16 * count
    return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


class _OwnDraws(LogitsProcessor):
    """Leaves one token of each row, drawn with numbers of its own, (rows, tokens), each between 0 and 1."""

    def __init__(self, sampling: RolloutSampling, draws: Tensor, start: int) -> None:
        self._sampling, self._draws, self._start = sampling, draws, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        draws = self._draws[:, input_ids.shape[1] - self._start, None]

        def pick(found: Tensor, ids: Tensor, rows: Tensor) -> Tensor:
            # By their ids: which of two comes first must not turn on digits that differ from batch to batch.
            order = ids.argsort(dim=1)
            reached = found.gather(1, order).double().softmax(dim=1).cumsum(dim=1)
            at = (reached <= draws[rows] * reached[:, -1:]).sum(dim=1, keepdim=True)
            return order.gather(1, at)

        return choose(scores.float() / self._sampling.temperature, self._sampling.top_p, pick)


class _EnoughEnded(StoppingCriteria):
    """Stops all rows when so many have ended that it pays to go on without them."""

    def __init__(self, ends: Tensor, start: int) -> None:
        self._ends, self._start = ends, start

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Any:
        ended = torch.isin(input_ids[:, self._start :], self._ends).any(dim=1)
        return torch.full_like(ended, bool(_ENOUGH * ended.sum() >= len(ended)))


def _cut(cache: Any, rows: Tensor) -> dict[str, Any]:
    """Some rows of what a model keeps of its text, as `generate` takes it; nothing where it is read anew."""
    kinds = {type(layer) for layer in getattr(cache, "layers", ())}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer} or not (kinds and cache.get_seq_length()):
        return {}
    cache.batch_select_indices(rows)
    return {"past_key_values": cache}
