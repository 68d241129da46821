"""What a model loses on each token of a text, in nats: how surprised it is.

Where the model's earlier blocks have been run already, only the later ones are. And the logits of all words are never
there at once: of a vocabulary of 262,144 they are a megabyte a token, which takes longer to write and to read again
than to compute. Both want a model that hands on nothing but its stream, and whose words have their logits each by
itself; whether it is one, is tried on a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import PreTrainedModel

from dfc.models import positions, sites, streams, unembedding
from dfc.models.loaded import LoadedModel

_TRIED = 64  # tokens of a text, on which it is tried how losses can be computed
_PLAIN_LOGITS = 1 << 26  # in one plain pass, 256 MB, unless a single document has more
_CPU_LOGITS = 1 << 22  # at once: 16 MB, of which a cache holds much
_GPU_LOGITS = 1 << 28
_PARTS = 3  # of a vocabulary, at least, so that a short text shows whether it can be taken apart
_CLOSE = {torch.float32: 1e-3}  # nats on a token, within which two ways of computing are one, by the model's dtype
_COARSE = 0.1  # of other dtypes
_MOSTLY = 0.9  # of the tokens; in half precision a mixture of experts may send a single one elsewhere


@torch.inference_mode()
def plain(model: LoadedModel, ids: Tensor, mask: Tensor) -> Tensor:
    """Nats lost on each token, (batch, length) float32, 0 on the first; by a whole forward pass with all its logits.

    Args:
        model: its lock is held.
        ids, mask: tokens and attention mask, each (batch, length), padded on the right.
    """
    logits = model.model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float()
    lost = logits.logsumexp(-1) - logits.gather(-1, ids[:, 1:, None])[..., 0]
    return nn.functional.pad(lost, (1, 0))


def plain_tokens(model: LoadedModel) -> int:
    """How many tokens a plain pass may have, all of whose logits are there at once."""
    return max(1, _PLAIN_LOGITS // model.model.config.get_text_config().vocab_size)


@torch.inference_mode()
def by_words(model: LoadedModel, ids: Tensor, mask: Tensor, layer: int = -1, given: Any = None) -> Tensor:
    """The same, some words of the vocabulary at a time, and 0 on padding; for models of which `agree` says so.

    Args:
        model, ids, mask: as of `plain`.
        layer, given: a block and what it gave of these tokens, whole; it and the blocks before it are not run again.
    """
    begun: dict[nn.Module, Callable[..., Any]] = {block: lambda *_, **__: given for block in model.blocks[: layer + 1]}
    with unembedding.running(begun):
        gave = model.model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)
    told = mask[:, 1:].bool()
    gave.last_hidden_state = gave.last_hidden_state[:, :-1][told][:, None]
    lost = torch.zeros(ids.shape, device=ids.device)
    lost[:, 1:][told] = _lost(model.model, gave, ids[:, 1:][told])
    return lost


@torch.inference_mode()
def streams_and_losses(
    model: LoadedModel, layers: Sequence[int], ids: Tensor, mask: Tensor, begin: Tensor
) -> list[Tensor]:
    """Streams of some blocks, and what has been lost up to each of the first tokens, (batch, length, 1).

    For models of which `agree` says that they go on behind the last of these blocks.

    Args:
        model: its lock is held.
        layers: the blocks.
        ids, mask: tokens and attention mask, each (batch, length), padded on the right.
        begin: how many tokens of each text are first ones, (batch,); what stands at the others means nothing.
    """
    found, given = sites.read_streams(model.model, model.blocks, layers, model.form, ids, mask)
    lost = torch.zeros(*ids.shape, 1, device=ids.device)
    rows, length = begin.nonzero()[:, 0], int(begin.max())
    if length:
        first = (torch.arange(length, device=ids.device) < begin[rows, None]).to(mask.dtype)
        held = streams.stream_of(given)[rows, :length]
        given = model.form.holding(held, given)
        lost[rows, :length, 0] = by_words(model, ids[rows, :length], first, max(layers), given).cumsum(1)
    return [*found, lost]


def agree(model: LoadedModel, ids: list[int], layer: int = -1) -> bool:
    """Whether a text's losses `by_words` are the plain ones; also where it is gone on behind a block with some texts.

    Args:
        model: its lock is held.
        ids: a text, of which the beginning is tried.
        layer: the block; -1: none.
    """
    if not isinstance(model.model.get_output_embeddings(), nn.Linear) or len(ids) < 2:
        return False
    if layer >= 0 and positions.changes(model.model.config):  # the beginning alone may be read otherwise
        return False
    ids = ids[:_TRIED]
    text = torch.tensor([ids], device=model.device)
    mask = torch.ones_like(text)
    try:
        if layer < 0:
            found = by_words(model, text, mask)
        else:
            begin = torch.tensor([0, len(ids) - 1], device=model.device)
            both = streams_and_losses(model, [layer], text.repeat(2, 1), mask.repeat(2, 1), begin)[-1][1:, :-1, 0]
            found = both.diff(prepend=torch.zeros_like(both[:, :1]))
    except Exception:  # whatever a model's own code raises where its blocks were left out
        return False
    apart = (found - plain(model, text, mask)[:, : found.shape[1]])[0, 1:].abs()
    return bool((apart < _CLOSE.get(model.model.dtype, _COARSE)).float().mean() > _MOSTLY)


def _lost(model: PreTrainedModel, gave: Any, ids: Tensor) -> Tensor:
    """Nats lost on tokens, (rows,), where the model without its unembedding gave (rows, 1, width) on those before them.

    Its own forward pass is run with some rows of the unembedding after others: factors and caps of logits are its own.
    """
    head, base = model.get_output_embeddings(), model.base_model
    room = (_CPU_LOGITS if ids.device.type == "cpu" else _GPU_LOGITS) // max(1, len(ids))
    words = max(1, min(room, len(head.weight) // _PARTS))
    total = torch.full((len(ids),), -torch.inf, device=ids.device)
    own = torch.empty_like(total)
    for first in range(0, len(head.weight), words):
        weight = head.weight[first : first + words]
        bias = None if head.bias is None else head.bias[first : first + words]
        some = partial(linear, weight=weight, bias=bias)
        with unembedding.running({base: lambda *_, **__: gave, head: some}):
            logits = model(input_ids=ids[:, None], use_cache=False).logits[:, 0].float()
        total = torch.logaddexp(total, logits.logsumexp(-1))
        here = (ids >= first) & (ids < first + words)
        own[here] = logits[here].gather(-1, (ids[here] - first)[:, None])[:, 0]
    return total - own
