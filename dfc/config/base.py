"""Names that every room uses, the error that a user can mend, and the base of all settings."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Side = Literal["a", "b"]
Partition = Literal["a", "b", "shared"]
Verdict = Literal["exclusive", "mirrored", "shared-like", "unclear", "dead"]
SIDES: tuple[Side, Side] = ("a", "b")
# Parts of a dictionary; designated features are shared ones whose decoders are tied (kind: dsf).
Part = Literal["a", "b", "designated", "shared"]
PARTITIONS: tuple[Partition, Partition, Partition] = ("a", "b", "shared")
VERDICTS: tuple[Verdict, ...] = ("exclusive", "mirrored", "shared-like", "unclear", "dead")


class UserError(Exception):
    """Something the user can mend; its text is one sentence with what, where and the remedy.

    Attributes:
        problem: what and where without the remedy, if whoever raised it told them apart; else the whole sentence.
    """

    def __init__(self, sentence: str, problem: str | None = None) -> None:
        super().__init__(sentence)
        self.problem = sentence if problem is None else problem


class NotLoadedError(UserError):
    """A model or its tokenizer cannot be loaded on this machine."""


class Section(BaseModel):
    """Base of all configuration: immutable, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
