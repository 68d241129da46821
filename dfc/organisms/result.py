"""What came of each organism and of each null, as it is kept: one JSON file each, beside the page that is made of them.

A study takes hours; one that was begun on another machine is gone on with from these alone.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from dfc.machine import disk
from dfc.organisms.steered import Steered

LISTS = {
    "findings": "findings",
    "queue": "queue of Screen",
    "perplexities": "perplexity differencing",
    "means": "mean activations",
    "norms": "relative norms",
    "dedicated": "dedicated features",
}
"""What is read, and what it is called."""
FIRST = (10, 25)
"""Entries of a list that are read."""
TWINS, GENERIC = "twins", "generic"
"""The nulls: two seeds of a planted model, and a generic fine-tune."""
Result = TypeVar("Result")


@dataclass(frozen=True)
class Line:
    """One of the first findings of model A.

    Attributes:
        feature_id, partition, label, source: of its best feature.
        gap, error: nats a character beyond matched places.
        members: its features.
        shows: by quirk, in how many of the texts that are read it shows.
        quote: a stretch of its strongest context.
    """

    feature_id: int
    partition: str
    label: str
    source: str
    gap: float
    error: float
    members: int
    shows: dict[str, int]
    quote: str


@dataclass(frozen=True)
class Compared:
    """What was found of a model beside model B.

    Attributes:
        pairs: of its corpus.
        share: by quirk, of these, those in texts on which it could show.
        found: findings of model A.
        ranks: by list and quirk, the place of the first entry that is of the quirk; None if none is.
        chance: by list of texts and quirk, how probable it is to be among the first if texts are read at random.
        first: findings that are read.
        steered: with the best feature of its own quirk's first finding; None where there is none.
    """

    pairs: int
    share: dict[str, float]
    found: int
    ranks: dict[str, dict[str, int | None]]
    chance: dict[str, dict[str, list[float]]]
    first: list[Line]
    steered: Steered | None = None


@dataclass(frozen=True)
class Null:
    """Two models between which there is little to be found, judged as any pair.

    Attributes:
        tested: features tested for a gap.
        passing: features that pass.
        nominal: of the features tested, those whose p-value is 5 % at most: 5 % of them may be expected.
        found: findings of both models.
        real: findings of a pair that does differ, of which it is a null.
        rate: the false discovery rate that was asked for.
        first: the first findings in words, each with a stretch of its strongest context.
    """

    tested: int
    passing: int
    nominal: float
    found: dict[str, int]
    real: dict[str, int]
    rate: float
    first: tuple[str, ...] = ()


def check_of(name: str) -> str:
    """What is called what an organism's training came to."""
    return f"{name}-check"


def write(folder: Path, name: str, result: object) -> None:
    """Keep a result in a folder."""
    disk.write_json(_path(folder, name), asdict(result))  # type: ignore[call-overload]


def read(folder: Path, name: str, kind: type[Result]) -> Result | None:
    """A result by its name; None if there is none yet.

    Raises:
        UserError: if the file is damaged, or another version of dfc made it.
    """
    path = _path(folder, name)
    if not path.exists():
        return None
    with disk.reading(path, "delete it and run `python -m dfc organisms` again"):
        return TypeAdapter(kind).validate_python(disk.read_json(path))


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
