"""How an edit of a feature is done to one model's stream.

Every feature is read in the stream as the block gives it, before anything is added, so that the order of
several edits does not matter: what they add is summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dfc.config import Side
from dfc.models.streams import Form
from dfc.requests import Edit
from dfc.runs import Run
from dfc.steering.vectors import Gauge, SteeringVector, gauge, steering_vector


@dataclass(frozen=True)
class Action:
    """An edit with the vector it adds, and the gauge it reads its feature with; None where it reads nothing."""

    edit: Edit
    vector: SteeringVector
    gauge: Gauge | None = None

    def amounts(self, stream: Tensor) -> Tensor:
        """How many times the vector is added at each position, (..., ), of a stream, (..., width)."""
        strength = torch.full(stream.shape[:-1], self.edit.strength, device=stream.device)
        if self.gauge is None:
            return strength
        share = self.gauge(stream) / self.gauge.s_max
        match self.edit.mode:
            case "clamp":
                return strength - share
            case "ablate":
                return -share
            case _:
                return strength * ((share > self.edit.threshold) & (share > 0))


@dataclass(frozen=True)
class Program:
    """All that is done to one model's stream; without actions, nothing."""

    actions: tuple[Action, ...] = ()

    def added(self, stream: Tensor, offset: int, prompt: int) -> Tensor:
        """What is added to a stream, (length, width), whose first position is number `offset` of its sequence.

        Args:
            stream: as the block gives it.
            offset: number of its first position.
            prompt: positions before this one belong to the prompt.
        """
        position = torch.arange(offset, offset + len(stream), device=stream.device)
        places = {"all": None, "prompt": position < prompt, "generated": position >= prompt}
        total = torch.zeros(stream.shape, device=stream.device)
        for action in self.actions:
            amounts, chosen = action.amounts(stream), places[action.edit.where]
            amounts = amounts if chosen is None else amounts * chosen
            total += amounts[:, None] * action.vector.vector.to(total)
        return total


def apply(
    programs: Sequence[Program], output: Any, form: Form, offset: int, prompt: int, begins: Sequence[int] = ()
) -> Tensor:
    """Do to each row of the stream in what a block gives, in place, what its own program says.

    Args:
        programs: one for each row.
        output: what the block gives.
        form: how it holds its stream.
        offset, prompt: as in `Program.added`.
        begins: the first position of each row that is none of padding; all, if nothing is said.

    Returns:
        How far what was done misses at each position, as a share of what is added, (rows, length).
    """
    stream = form.read(output)
    off = torch.zeros(stream.shape[:2], device=stream.device)
    for row, program in enumerate(programs):
        if program.actions:
            added = program.added(stream[row], offset, prompt)
            added[: max(0, begins[row] - offset) if begins else 0] = 0
            off[row] = form.add(output, row, added)
    return off


def program(run: Run, edits: Sequence[Edit], side: Side) -> Program:
    """The edits of one model, ready to be applied; those of the other model are left out.

    Raises:
        UserError: if a feature does not exist, is dead, or cannot be read in this model as its mode asks.
    """
    return Program(tuple(_action(run, edit) for edit in edits if edit.side == side and not _checked_idle(run, edit)))


def _checked_idle(run: Run, edit: Edit) -> bool:
    """Whether nothing is to be added; the feature must exist all the same."""
    if edit.idle:
        steering_vector(run, edit.feature, edit.side)
    return edit.idle


def _action(run: Run, edit: Edit) -> Action:
    own_gauge = None if edit.mode == "add" else gauge(run, edit.feature, edit.side)
    return Action(edit, steering_vector(run, edit.feature, edit.side), own_gauge)
