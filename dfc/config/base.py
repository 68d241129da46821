"""Names that every room uses, the error that a user can mend, and the base of all settings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict

from dfc.config import characters

Side = Literal["a", "b"]
Partition = Literal["a", "b", "shared"]
Verdict = Literal["exclusive", "mirrored", "shared-like", "unclear", "dead"]
SIDES: tuple[Side, Side] = ("a", "b")
# Parts of a dictionary; designated features are shared ones whose decoders are tied (kind: dsf).
Part = Literal["a", "b", "designated", "shared"]
PARTITIONS: tuple[Partition, Partition, Partition] = ("a", "b", "shared")
VERDICTS: tuple[Verdict, ...] = ("exclusive", "mirrored", "shared-like", "unclear", "dead")


def opposite(side: Side) -> Side:
    """The other model's side."""
    return "b" if side == "a" else "a"


class UserError(Exception):
    """Something the user can mend; its text is one sentence with what, where and the remedy.

    What has a kind is raised as that kind: the remedies differ. Only a damaged file may have to be deleted.

    Attributes:
        problem: what and where without the remedy, if whoever raised it told them apart; else the whole sentence.
    """

    def __init__(self, sentence: str, problem: str | None = None) -> None:
        super().__init__(sentence)
        self.problem = sentence if problem is None else problem


class MissingError(UserError):
    """Something is not there: a file, a run, the result of an earlier stage."""


class DamagedError(UserError):
    """A file does not hold what was written: it was cut short, overwritten, or is of another kind."""


class VersionError(UserError):
    """A file is whole, but another version of dfc made it, which this one cannot read."""


class MemoryShortError(UserError):
    """There is not enough memory, of a GPU or of the machine; nothing is wrong with any file."""


class SettingsError(UserError):
    """Settings are refused: wrong in themselves, not possible here, or other than a result was made with."""


class NotLoadedError(UserError):
    """A model or its tokenizer cannot be loaded on this machine."""


Name = Annotated[str, AfterValidator(characters.name)]
"""What is printed and drawn wherever a run, a model or a source is named: without control characters."""


class _AnyTime:
    """Marks a setting that no result depends on."""


T = TypeVar("T")
AnyTime = Annotated[T, _AnyTime()]
"""The type of a setting that may change at any time: it says how the work is done, and changes no result.

Another device or another size of a batch adds numbers up in another order; what comes of that is rounding.
"""


class Section(BaseModel):
    """Base of all configuration: immutable, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def deciding(self) -> dict[str, Any]:
        """The settings that decide a result, as plain values under their names: all but those of type AnyTime."""
        return {name: _plain(getattr(self, name)) for name in type(self).model_fields if not self.is_any_time(name)}

    @classmethod
    def is_any_time(cls, name: str) -> bool:
        """Whether this setting may change at any time."""
        return any(isinstance(mark, _AnyTime) for mark in cls.model_fields[name].metadata)


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return value.deciding()
    if isinstance(value, datetime):
        return value.isoformat()
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
