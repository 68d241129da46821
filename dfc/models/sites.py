"""Sites: the list of a model's blocks, and the residual stream that a block gives.

Everything that can be wrong about a site (the block whose output is read) is found when the model is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dfc.config import ModelConfig, UserError
from dfc.models.streams import Form


def layer_index(layer: int | float, count: int) -> int:
    """The block that is meant, of `count`; a fraction is taken as it is written: 0.29 of 100 is block 29."""
    return layer if isinstance(layer, int) else math.floor(Fraction(str(layer)) * count)


def check_layer(config: ModelConfig, layer: int, count: int) -> None:
    """See that a model of `count` blocks has the one that is asked for.

    Raises:
        UserError: if it has not.
    """
    if layer >= count:
        raise UserError(
            f"{config.source}: there is no layer {layer}; its {count} blocks are 0 to {count - 1} "
            f"(half way is {count // 2}): set `layer` to one of them."
        )


def all_lists(model: nn.Module) -> dict[str, nn.ModuleList]:
    """All lists of modules, by their paths."""
    return {path: module for path, module in model.named_modules() if isinstance(module, nn.ModuleList) and len(module)}


def lists_of_blocks(model: nn.Module, config: ModelConfig, layers: int) -> dict[str, nn.ModuleList]:
    """The lists that may hold the blocks: the one that is named, or the outermost ones with so many modules.

    Where no list has as many, all outermost ones.

    Raises:
        UserError: if a list is named that is not there.
    """
    lists = all_lists(model)
    if config.blocks is not None:
        if config.blocks in lists:
            return {config.blocks: lists[config.blocks]}
        listed = ", ".join(f"{path} ({len(module)})" for path, module in lists.items()) or "none"
        raise UserError(
            f"{config.source} ({type(model).__name__}): `blocks: {config.blocks}` is not one of them; lists of "
            f"modules found: {listed}; name one with the key `blocks` of this model."
        )
    outermost = {
        path: module for path, module in lists.items() if not any(path.startswith(f"{other}.") for other in lists)
    }
    return {path: module for path, module in outermost.items() if len(module) == layers} or outermost


@torch.inference_mode()
def read_streams(
    model: PreTrainedModel, blocks: nn.ModuleList, layers: Sequence[int], form: Form, ids: Tensor, mask: Tensor
) -> tuple[list[Tensor], Any]:
    """The streams (batch, length, width) that some blocks give, in their order, and what the last of them gave, whole.

    The forward pass ends there: later blocks and the unembedding are not run.

    Args:
        model: whose blocks these are.
        blocks: all of them.
        layers: which are read.
        form: how a block's output holds its stream.
        ids, mask: tokens and attention mask, each (batch, length).
    """
    caught: dict[int, Tensor] = {}
    ended: list[Any] = []

    def catch(layer: int, module: nn.Module, inputs: Any, output: Any) -> None:
        caught[layer] = form.read(output)
        if layer == max(layers):
            ended.append(output)
            raise _StopForwardError

    handles = [blocks[layer].register_forward_hook(partial(catch, layer)) for layer in set(layers)]
    try:
        with suppress(_StopForwardError):
            model(input_ids=ids, attention_mask=mask, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [caught[layer] for layer in layers], ended[0]


class _StopForwardError(Exception):
    """Ends a forward pass at the site."""
