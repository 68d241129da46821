"""What is done to a feature in one model, and how it is done to the model's stream.

Every feature is read in the stream as the block gives it, before anything is added, so that the order of
several edits does not matter: what they add is summed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from dfc.config import SIDES, Side, UserError
from dfc.runs import Run
from dfc.steering.vectors import Gauge, SteeringVector, gauge, steering_vector

Mode = Literal["add", "clamp", "ablate", "conditional"]
Where = Literal["all", "prompt", "generated"]
MODES: tuple[Mode, ...] = get_args(Mode)
WHERES: tuple[Where, ...] = get_args(Where)


@dataclass(frozen=True)
class Edit:
    """One change of one feature in one model. With v = s_max · d / scale and the feature's activation z = a · s_max:

    add: + strength · v · clamp: + (strength − a) · v · ablate: − a · v · conditional: + strength · v where a >
    threshold (and the feature fires at all).

    Attributes:
        side: the model that is changed.
        feature: its number in the run.
        mode: what is done.
        strength: in units of the feature's largest activation; not used by ablate.
        where: at all positions, those of the prompt's tokens, or those of the generated ones.
        threshold: of conditional, in units of the feature's largest activation.

    Raises:
        UserError: if a number is not finite, or a word is none of those allowed.
    """

    side: Side
    feature: int
    mode: Mode = "add"
    strength: float = 1.0
    where: Where = "all"
    threshold: float = 0.0

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("side", self.side, SIDES),
            ("mode", self.mode, MODES),
            ("where", self.where, WHERES),
        ):
            if value not in allowed:
                raise UserError(f"{name}: {value!r:.40} is none of {', '.join(allowed)}; choose one of them.")
        for name, number in (("strength", self.strength), ("threshold", self.threshold)):
            if not math.isfinite(number):
                raise UserError(f"the {name} must be a finite number, not {number}.")

    @property
    def idle(self) -> bool:
        """Whether it adds nothing, whatever the text is."""
        return self.strength == 0 and self.mode in ("add", "conditional")


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


def apply(programs: Sequence[Program], stream: Tensor, offset: int, prompt: int) -> None:
    """Do to each row of a stream, (rows, length, width), in place, what its own program says."""
    for row, program in enumerate(programs):
        if program.actions:
            stream[row] += program.added(stream[row], offset, prompt).to(stream.dtype)


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
    found = None if edit.mode == "add" else gauge(run, edit.feature, edit.side)
    return Action(edit, steering_vector(run, edit.feature, edit.side), found)
