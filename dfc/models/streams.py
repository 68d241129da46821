"""What a block gives, as one residual stream.

Most blocks give their stream alone, or first of several values. Some models carry several streams beside each other and
make one of them before their final norm; what the model itself makes of a block's streams is its stream here.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

_ROUNDS = 24  # of coming closer to what is wanted of several streams
_REMEMBERED = 8  # of these
_NEAR = 1e-5  # how near they come before it is enough, as a share of the first
_PROBED = 0.5  # size of an edit, as a share of the stream, that must be possible
CLOSE = 0.01
"""How near an edit must come to what is added, as a share of it, to count as carried out."""
_LOST = 0.1  # of a projection's usual size: what it makes smaller than this is not undone
_NEARLY = 0.95  # of the positions
_MOST = 10.0  # how much may be written, in multiples of what is there


def stream_of(output: Tensor | Sequence[Any]) -> Tensor:
    """The residual stream in what a block returns: alone, or the first of several."""
    return output if isinstance(output, Tensor) else output[0]


@dataclass(frozen=True, eq=False)
class Several:
    """Several residual streams, of which the model itself makes one.

    Attributes:
        words: how, for people.
        collapse: makes one stream, (batch, length, width), of what a block gives; as the model does it.
        exact: the same in float32.
        spread: writes one into all, as the model does with the embeddings of its tokens; linear.
        batch: the axis of the batch in what a block gives.
    """

    words: str
    collapse: Callable[[Tensor], Tensor]
    exact: Callable[[Tensor], Tensor]
    spread: Callable[[Tensor], Tensor]
    batch: int = 0

    def step(self, held: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
        """What is written into all, (batch, length, width), so that the stream made of them moves by `added`.

        And how far that misses, (batch, length), as a share of the length of `added`; 0 where nothing is added.

        The streams' shares depend on what they hold, in few directions: so each position comes closer by Anderson's
        acceleration, which fits the differences of the steps before (Walker and Ni 2011).
        """
        held, wanted = held.float(), added.float()
        before = self.exact(held)
        moved = self.exact(held + self.spread(wanted)) - before
        size = (wanted * wanted).sum(dim=-1, keepdim=True)
        gain = torch.where(size > 0, (moved * wanted).sum(dim=-1, keepdim=True) / size, 1.0).clamp(min=0.1)
        steps, misses = [(wanted / gain).double()], list[Tensor]()
        best, least = steps[0], torch.full_like(size, torch.inf, dtype=torch.float64)
        for _ in range(_ROUNDS):
            made = self.exact(held + self.spread(steps[-1].float()))
            misses.append((made - before - wanted).double() / gain)
            missed = misses[-1].norm(dim=-1, keepdim=True)
            best, least = torch.where(missed < least, steps[-1], best), torch.minimum(missed, least)
            if bool((least <= _NEAR * steps[0].norm(dim=-1, keepdim=True)).all()):
                break
            steps, misses = steps[-_REMEMBERED:], misses[-_REMEMBERED:]
            step = steps[-1] - misses[-1]
            if len(misses) > 1:
                change = torch.stack([b - a for a, b in pairwise(misses)], dim=-1)
                walked = torch.stack([b - a for a, b in pairwise(steps)], dim=-1)
                square = change.mT @ change
                ridge = 1e-9 * square.diagonal(dim1=-2, dim2=-1).sum(dim=-1)[..., None, None] + 1e-30
                square = square + ridge * torch.eye(square.shape[-1], dtype=square.dtype, device=square.device)
                fitted = torch.linalg.solve(square, change.mT @ misses[-1][..., None])
                step = step - ((walked - change) @ fitted)[..., 0]
            steps.append(step)
        off = torch.where(size > 0, least * gain / size.sqrt(), 0.0)[..., 0]
        return best.to(wanted.dtype), off.to(wanted.dtype)


@dataclass(frozen=True, eq=False)
class Form:
    """How a block's output holds its stream: as it is, or as several from which it is made."""

    several: Several | None = None

    @property
    def words(self) -> str:
        """For people."""
        return "its stream" if self.several is None else self.several.words

    def read(self, output: Any) -> Tensor:
        """The stream in what a block gives, (batch, length, width)."""
        held = stream_of(output)
        return held if self.several is None else self.several.collapse(held)

    def add(self, output: Any, row: int, added: Tensor) -> Tensor:
        """Add to the stream of one row, (length, width), in place; how far that misses: see `Several.step`."""
        held = stream_of(output)
        if self.several is None:
            held[row] += added.to(held.dtype)
            return torch.zeros(len(added), device=added.device)
        own = held.narrow(self.several.batch, row, 1)
        step, off = self.several.step(own, added[None])
        own += self.several.spread(step).to(held.dtype)
        return off[0]

    def holding(self, stream: Tensor, like: Any) -> Any:
        """What a block would give that holds this stream, (batch, length, width), with all else as it is in `like`."""
        held = stream if self.several is None else self.several.spread(stream)
        return held if isinstance(like, Tensor) else type(like)((held, *like[1:]))

    def takes_edits(self, output: Any) -> bool:
        """Whether edits of the stream can be carried into what this block gave, (1, length, …), nearly everywhere."""
        if self.several is None:
            return True
        held = stream_of(output).float()
        before = self.several.exact(held)
        direction = torch.randn(before.shape, generator=torch.Generator().manual_seed(0)).to(before.device)
        wanted = _PROBED * before.norm(dim=-1, keepdim=True) * direction / direction.norm(dim=-1, keepdim=True)
        step, off = self.several.step(held, wanted)
        written = self.several.spread(step)
        return bool((off <= CLOSE).float().mean() >= _NEARLY and written.norm() <= _MOST * held.norm())


def several(model: nn.Module, path: str, held: Tensor, width: int, entered: Sequence[nn.Module]) -> Several | None:
    """How a model makes one stream of several; None where its code has no way that is known.

    Args:
        model: whose streams they are.
        path: of its list of blocks.
        held: what the last block gives.
        width: of one stream.
        entered: the modules that the model gives just that.
    """
    batch, length = held.shape[0], held.shape[1]
    for module in entered:
        made = module(held)
        if not isinstance(made, Tensor) or made.shape != (batch, length, width):
            continue
        count = held[0, 0].numel() // width
        exact = copy.deepcopy(module).float()
        words = f"{count} streams, as `{type(module).__name__}` makes one of them"
        if held.shape == (batch, length, count, width):
            return Several(words, module, exact, partial(_stacked, count))
        if held.shape == (batch, length, count * width):
            return Several(words, module, exact, partial(_in_a_row, count))
    beside = model.get_submodule(path.rpartition(".")[0])
    projections = getattr(beside, "altup_unembed_projections", None)
    if isinstance(projections, nn.ModuleList) and len(projections) == len(held) - 1:
        words = f"{len(held)} streams, of which the model takes the mean (AltUp)"
        undone = [_undone(cast(Tensor, projection.weight).float()) for projection in projections]
        mean = partial(_altup_mean, projections)  # which computes in what it is given
        return Several(words, mean, mean, partial(_altup_spread, undone), batch=1)
    return None


def _stacked(count: int, stream: Tensor) -> Tensor:
    return stream.unsqueeze(2).repeat(1, 1, count, 1)


def _in_a_row(count: int, stream: Tensor) -> Tensor:
    return stream.repeat(1, 1, count)


def _altup_mean(projections: nn.ModuleList, streams: Tensor) -> Tensor:
    """The mean of AltUp's streams, each but the first projected and brought to the first one's root mean square.

    As in the forward pass of `Gemma3nTextModel`, after its last block.
    """
    first = streams[0]
    size = first.pow(2).mean(dim=-1, keepdim=True).sqrt()
    made = [first]
    for projection, stream in zip(projections, streams[1:], strict=True):
        turned = stream @ cast(Tensor, projection.weight).to(stream.dtype).T
        made.append(turned * size / turned.pow(2).mean(dim=-1, keepdim=True).clamp(min=1e-5).sqrt())
    return torch.stack(made).mean(dim=0)


def _altup_spread(undone: Sequence[Tensor], stream: Tensor) -> Tensor:
    """What each of AltUp's streams must hold so that its projection gives nearly this stream."""
    return torch.stack([stream, *((stream.float() @ matrix.T).to(stream.dtype) for matrix in undone)])


def _undone(weight: Tensor) -> Tensor:
    """The inverse of a projection, (width, width), but for directions that it nearly loses (by a ridge)."""
    square = weight.T @ weight
    ridge = _LOST**2 * square.diagonal().mean() * torch.eye(len(square), device=square.device)
    return torch.cholesky_solve(weight.T, torch.linalg.cholesky(square + ridge))
