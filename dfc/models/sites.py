"""Sites: the list of a model's blocks, and the residual stream that a block gives.

Everything that can be wrong about a site (the block whose output is read) is found when the model is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from dfc.config import ModelConfig, UserError

KNOWN_BLOCKS = ("model.layers", "model.language_model.layers", "transformer.h", "gpt_neox.layers", "backbone.layers")


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


def find_blocks(model: PreTrainedModel, config: ModelConfig) -> str:
    """Module path of the list of blocks: the one configured, a known one, or the only long list of equal modules.

    Raises:
        UserError: if none is found, or it is not clear which holds the blocks.
    """
    lists = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) and len({type(block) for block in module}) == 1
    }
    if config.blocks is not None:
        if config.blocks in lists:
            return config.blocks
    else:
        for path in KNOWN_BLOCKS:
            if path in lists:
                return path
        outermost = [path for path in lists if not any(path.startswith(f"{other}.") for other in lists)]
        if len(outermost) == 1:
            return outermost[0]
    listed = ", ".join(f"{path} ({len(module)})" for path, module in lists.items()) or "none"
    wanted = (
        f"`blocks: {config.blocks}` is not one of them" if config.blocks else "it is not clear which holds the blocks"
    )
    raise UserError(
        f"{config.source} ({type(model).__name__}): {wanted}; lists of modules found: {listed}; "
        f"name one with the key `blocks` of this model."
    )


def stream_of(output: Tensor | tuple[Any, ...]) -> Tensor:
    """The residual stream in what a block returns: alone, or the first of several."""
    return output[0] if isinstance(output, tuple) else output


@contextmanager
def streams_reader(
    model: PreTrainedModel, blocks: nn.ModuleList, layers: Sequence[int]
) -> Iterator[Callable[[Tensor, Tensor], list[Tensor]]]:
    """A function (ids, attention mask), each (batch, length), to the streams (batch, length, width) that blocks give.

    The forward pass ends at the last of `layers`: later blocks and the unembedding are not run.

    Args:
        model: whose blocks these are.
        blocks: all of them.
        layers: which are read; the streams come in this order.
    """
    caught: dict[int, Tensor] = {}

    def catch(layer: int, module: nn.Module, inputs: Any, output: Any) -> None:
        caught[layer] = stream_of(output)
        if layer == max(layers):
            raise _StopForwardError

    def read(ids: Tensor, mask: Tensor) -> list[Tensor]:
        with torch.inference_mode(), suppress(_StopForwardError):
            model(input_ids=ids, attention_mask=mask, use_cache=False)
        return [caught[layer] for layer in layers]

    handles = [blocks[layer].register_forward_hook(partial(catch, layer)) for layer in set(layers)]
    try:
        yield read
    finally:
        for handle in handles:
            handle.remove()


class _StopForwardError(Exception):
    """Ends a forward pass at the site."""
