"""From the stream after the last block to logits: by the model's own code, or by a norm that is named.

The model's own forward pass is run with blocks that do nothing but hand on what they are given. So its final norm,
projections, factors and caps are its own, and none has to be known by name; and it costs next to nothing beside the
unembedding itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dfc.models.streams import Form

Lens = Callable[[Tensor], Tensor]
"""Logits (rows, vocabulary) of streams after the last block, (rows, width). Nobody else may run the model meanwhile."""


def own_tail(
    model: PreTrainedModel, blocks: nn.ModuleList, form: Form, like: Any, entry: nn.Module | None = None
) -> Lens:
    """The lens that runs what the model runs after its blocks.

    Args:
        model: whose blocks these are.
        blocks: all of them; none is run.
        form: how a block's output holds the stream.
        like: what the last block gave, once.
        entry: the module that is given the stream in place of what the model would give it; None: the first after the
            blocks, by what they hand on.
    """

    def logits(stream: Tensor) -> Tensor:
        stream = stream[:, None]
        output = form.holding(stream, like)
        instead: dict[nn.Module, Callable[..., Any]] = {block: lambda *_, **__: output for block in blocks}
        if entry is not None:
            enter = entry.forward
            instead[entry] = lambda *_, **__: enter(stream)
        ids = torch.zeros(len(stream), 1, dtype=torch.long, device=model.get_input_embeddings().weight.device)
        with running(instead):
            said: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        return said[:, 0]

    return logits


def norm_and_head(model: PreTrainedModel, norm: nn.Module) -> Lens:
    """The lens through a norm and the model's unembedding, for a model whose own code mixes more into its logits."""
    head = model.get_output_embeddings()
    return lambda stream: head(norm(stream))


@contextmanager
def running(instead: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """Let modules run these functions in place of their own forward pass."""
    before = {module: vars(module).get("forward") for module in instead}
    try:
        for module, function in instead.items():
            vars(module)["forward"] = function
        yield
    finally:
        for module, own in before.items():
            del vars(module)["forward"]
            if own is not None:  # a wrapper's
                vars(module)["forward"] = own
