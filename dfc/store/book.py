"""What a notebook holds: notes, marks and lists, as they are kept, and as one JSON document."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from dfc.config import Section, UserError

Kind = Literal["favourite", "tag", "list"]
FeatureId = Annotated[int, Field(ge=0, lt=2**31)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d", max_length=40)]
"""ISO 8601, UTC."""

NAME_LENGTH, TEXT_LENGTH = 80, 20_000


@dataclass(frozen=True)
class Note:
    """What somebody wrote about a feature."""

    run: str
    feature_id: FeatureId
    fingerprint: str
    written: Time
    text: str


@dataclass(frozen=True)
class Mark:
    """A favourite, a tag, or a place on a list; `name` is the tag's or the list's, `note` is for lists."""

    run: str
    feature_id: FeatureId
    kind: Kind
    name: str
    fingerprint: str
    added: Time
    note: str = ""


@dataclass(frozen=True)
class NamedList:
    """A list, which may be empty."""

    name: str
    added: Time


@dataclass(frozen=True)
class Remarks:
    """All that is kept about one feature, the latest note first."""

    marks: tuple[Mark, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def favourite(self) -> bool:
        return any(mark.kind == "favourite" for mark in self.marks)

    def of_kind(self, kind: Kind) -> tuple[Mark, ...]:
        """Tags, or places on lists, by name."""
        return tuple(mark for mark in self.marks if mark.kind == kind)

    def of_other_version(self, fingerprint: str) -> bool:
        """Whether anything here was said about a feature with another decoder."""
        kept = {mark.fingerprint for mark in self.marks} | {note.fingerprint for note in self.notes}
        return bool(kept - {fingerprint})


class Book(Section):
    """The whole notebook as one JSON document."""

    format: Literal["dfc-notes"] = "dfc-notes"
    version: Literal[1] = 1
    lists: tuple[NamedList, ...] = ()
    marks: tuple[Mark, ...] = ()
    notes: tuple[Note, ...] = ()


def clean_name(text: str) -> str:
    """A name of a tag or a list on one line, without needless spaces.

    Raises:
        UserError: if nothing is left, or too much.
    """
    name = " ".join(clean_text(text).split())
    if not name:
        raise UserError("The name is empty; type one.")
    if len(name) > NAME_LENGTH:
        raise UserError(f"The name has {len(name)} characters; at most {NAME_LENGTH} are kept: choose a shorter one.")
    return name


def clean_text(text: str) -> str:
    """Text that can be kept: without control characters and halves of characters.

    Raises:
        UserError: if it is too long.
    """
    text = text.replace("\r\n", "\n").encode("utf-8", "ignore").decode("utf-8")
    text = "".join(mark for mark in text if mark >= " " or mark in "\n\t").strip()
    if len(text) > TEXT_LENGTH:
        raise UserError(f"The note has {len(text):,} characters; at most {TEXT_LENGTH:,} are kept: shorten it.")
    return text


def parse(text: str) -> Book:
    """An exported notebook, its names and texts cleaned.

    Raises:
        UserError: if the text is none.
    """
    try:
        book = Book.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(
            f"This is no exported notebook ({place}: {first['msg']:.120}); choose a JSON file that was exported here."
        ) from None
    return Book(
        lists=tuple(replace(entry, name=clean_name(entry.name)) for entry in book.lists),
        marks=tuple(
            replace(mark, name="" if mark.kind == "favourite" else clean_name(mark.name), note=clean_text(mark.note))
            for mark in book.marks
        ),
        notes=tuple(replace(note, text=clean_text(note.text)) for note in book.notes),
    )
