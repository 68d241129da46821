"""What a block gives, as one residual stream.

Most blocks give their stream alone, or first of several values. Some models carry several streams beside each other and
make one of them before their final norm; what the model itself makes of a block's streams is its stream here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

_ROUNDS = 12  # of getting closer to what is wanted of several streams; four suffice for steps below half the stream


def stream_of(output: Tensor | Sequence[Any]) -> Tensor:
    """The residual stream in what a block returns: alone, or the first of several."""
    return output if isinstance(output, Tensor) else output[0]


@dataclass(frozen=True, eq=False)
class Form:
    """How a block's output holds its stream.

    Attributes:
        words: the same, for people.
        collapse: makes one stream, (batch, length, width), of several; None where there is one.
        axis: where the several stand, 0 in (streams, batch, length, width) or 2 in (batch, length, streams, width).
    """

    words: str = "its stream"
    collapse: Callable[[Tensor], Tensor] | None = None
    axis: int = 0

    def read(self, output: Any) -> Tensor:
        """The stream in what a block gives, (batch, length, width)."""
        held = stream_of(output)
        return held if self.collapse is None else self.collapse(held)

    def add(self, output: Any, row: int, added: Tensor) -> None:
        """Add to the stream of one row of a batch, (length, width), in place."""
        held = stream_of(output)
        if self.collapse is None:
            held[row] += added.to(held.dtype)
        else:
            own = held[:, row : row + 1] if self.axis == 0 else held[row : row + 1]
            own += self._alike(self._step(own, added[None])).to(held.dtype)

    def holding(self, stream: Tensor, like: Any) -> Any:
        """What a block would give that holds this stream, (batch, length, width), with all else as it is in `like`."""
        held = stream if self.collapse is None else self._alike(stream).expand(self._shape(stream, stream_of(like)))
        return held if isinstance(like, Tensor) else type(like)((held, *like[1:]))

    def _alike(self, stream: Tensor) -> Tensor:
        return stream.unsqueeze(self.axis)

    def _shape(self, stream: Tensor, like: Tensor) -> list[int]:
        shape = list(stream.shape)
        shape.insert(self.axis, like.shape[self.axis])
        return shape

    def _step(self, streams: Tensor, added: Tensor) -> Tensor:
        """What is added to each of several streams alike, so that the one made of them moves by `added`.

        The streams' shares depend on what they hold, so that the step is found by coming closer. Writing to all alike
        is what these models do with the embedding of a token.
        """
        assert self.collapse is not None
        streams, step = streams.float(), added.float()
        before = self.collapse(streams)
        moved = self.collapse(streams + self._alike(step)) - before
        size = (step * step).sum(dim=-1, keepdim=True)
        gain = torch.where(size > 0, (moved * step).sum(dim=-1, keepdim=True) / size, 1.0).clamp(min=0.1)
        step = step / gain
        for _ in range(_ROUNDS):
            step = step + (added + before - self.collapse(streams + self._alike(step))) / gain
        return step


def several(model: nn.Module, path: str, output: Any, width: int, entered: Sequence[nn.Module]) -> Form | None:
    """The form of a block that gives several streams; None where the model's code has no collapse that is known.

    Args:
        model: whose block it is.
        path: of its list of blocks.
        output: what the last block gives.
        width: of one stream.
        entered: the modules that the model calls with just that output.
    """
    held = stream_of(output)
    if held.ndim != 4 or held.shape[-1] != width:
        return None
    for module in entered:
        made = module(held)
        if isinstance(made, Tensor) and made.shape == (*held.shape[:2], width):
            return Form(f"{held.shape[2]} streams, as `{type(module).__name__}` makes one of them", module, axis=2)
    beside = model.get_submodule(path.rpartition(".")[0])
    projections = getattr(beside, "altup_unembed_projections", None)
    if isinstance(projections, nn.ModuleList) and len(projections) == held.shape[0] - 1:
        return Form(
            f"{held.shape[0]} streams, as the model means them (AltUp)", lambda streams: _altup(projections, streams)
        )
    return None


def _altup(projections: nn.ModuleList, streams: Tensor) -> Tensor:
    """The mean of AltUp's streams, each but the first projected and brought to the first one's root mean square.

    As in the forward pass of `Gemma3nTextModel`, after its last block.
    """
    first = streams[0]
    size = first.pow(2).mean(dim=-1, keepdim=True).sqrt()
    made = [first]
    for projection, stream in zip(projections, streams[1:], strict=True):
        turned = projection(stream.to(next(projection.parameters()).dtype)).to(first.dtype)
        made.append(turned * size / turned.pow(2).mean(dim=-1, keepdim=True).clamp(min=1e-5).sqrt())
    return torch.stack(made).mean(dim=0)
