"""What a notebook holds: notes, marks, lists, decisions, labels, flags, as they are kept, and as one JSON document."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from dfc.config import Section, UserError

Kind = Literal["favourite", "tag", "list"]
Choice = Literal["finding", "not-exclusive", "unreadable", "duplicate", "later"]
"""What is decided of a finding; `later` is a decision to decide later."""
FeatureId = Annotated[int, Field(ge=0, lt=2**31)]
Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d", max_length=40)]
"""ISO 8601, UTC."""

NAME_LENGTH, LINE_LENGTH, TEXT_LENGTH = 80, 200, 20_000
LAST = 2**31 - 1
"""The place of what was added to a list and not moved since."""


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
    """A favourite, a tag, or a place on a list; `name` is the tag's or the list's.

    Attributes:
        added: when it was set first.
        note: why the feature is on the list.
        place: where on it, the lowest first; LAST until somebody puts the list in order.
        contexts: `Context.number` of those that a report shows; empty: the strongest.
        said: when it was set again, with another note or of another version; empty: never.
    """

    run: str
    feature_id: FeatureId
    kind: Kind
    name: str
    fingerprint: str
    added: Time
    note: str = ""
    place: Annotated[int, Field(ge=0, lt=2**31)] = LAST
    contexts: tuple[Annotated[int, Field(ge=0, lt=2**31)], ...] = ()
    said: Time | Literal[""] = ""


@dataclass(frozen=True)
class Decision:
    """What somebody decided of a finding, which is known by its best feature, or of a feature that is in none."""

    run: str
    feature_id: FeatureId
    fingerprint: str
    decided: Time
    who: str
    choice: Choice
    reason: str = ""


@dataclass(frozen=True)
class Label:
    """What somebody calls a feature; an empty text takes the label back."""

    run: str
    feature_id: FeatureId
    fingerprint: str
    written: Time
    who: str
    text: str


@dataclass(frozen=True)
class FlagSaid:
    """Whether somebody says that a flag of data/screening.yaml applies to a feature."""

    run: str
    feature_id: FeatureId
    fingerprint: str
    written: Time
    who: str
    flag: str
    applies: bool


@dataclass(frozen=True)
class NamedList:
    """A list, which may be empty, and what stands above its report."""

    name: str
    added: Time
    title: str = ""
    author: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Remarks:
    """All that is kept about one feature, the latest note and decision first."""

    marks: tuple[Mark, ...] = ()
    notes: tuple[Note, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def favourite(self) -> bool:
        return any(mark.kind == "favourite" for mark in self.marks)

    def of_kind(self, kind: Kind) -> tuple[Mark, ...]:
        """Tags, or places on lists, by name."""
        return tuple(mark for mark in self.marks if mark.kind == kind)

    def of_other_version(self, fingerprint: str) -> bool:
        """Whether anything here was said about a feature with another decoder."""
        kept = {mark.fingerprint for mark in self.marks} | {note.fingerprint for note in self.notes}
        return bool((kept | {decision.fingerprint for decision in self.decisions}) - {fingerprint})


class Book(Section):
    """The whole notebook, as at one moment, and as one JSON document.

    As `Notebook.read` gives it, lists are in the order of their names, marks by kind and name, those of a list in its
    order; notes and decisions, those that were changed later included, the latest first; labels and flags the earliest.
    """

    format: Literal["dfc-notes"] = "dfc-notes"
    version: Literal[1] = 1
    lists: tuple[NamedList, ...] = ()
    marks: tuple[Mark, ...] = ()
    notes: tuple[Note, ...] = ()
    decisions: tuple[Decision, ...] = ()
    labels: tuple[Label, ...] = ()
    flags: tuple[FlagSaid, ...] = ()

    def of(self, run: str) -> Book:
        """What is kept about one run, and all lists."""
        kinds = {name: tuple(one for one in getattr(self, name) if one.run == run) for name in _OF_RUNS}
        return self.model_copy(update=kinds)

    def feature(self, run: str, feature_id: int) -> Remarks:
        """What is kept about one feature."""
        return self.of(run).remarks().get(feature_id, Remarks())

    def marked(self, kind: Kind, name: str = "") -> tuple[int, ...]:
        """Features that are favourites, have a tag, or stand on a list, in its order or as they were added."""
        return tuple(one.feature_id for one in self.marks if one.kind == kind and one.name == name)

    @property
    def list_names(self) -> tuple[str, ...]:
        """Of all lists, the empty ones too."""
        return tuple(one.name for one in self.lists)

    def cover(self, name: str) -> NamedList:
        """What stands above the report of a list; empty where there is no such list."""
        return next((one for one in self.lists if one.name == name), NamedList(name, ""))

    def remarks(self) -> dict[int, Remarks]:
        """What is kept about each feature, all of one run."""
        found: dict[int, dict[str, list[Any]]] = {}
        for kind in ("marks", "notes", "decisions"):
            for one in getattr(self, kind):
                found.setdefault(one.feature_id, {}).setdefault(kind, []).append(one)
        return {feature: Remarks(**{kind: tuple(of) for kind, of in kinds.items()}) for feature, kinds in found.items()}


_OF_RUNS = tuple(name for name in Book.model_fields if name not in ("format", "version", "lists"))


def latest(decisions: Iterable[Decision]) -> tuple[Decision, ...]:
    """Of each person and feature the decision made last, the latest of all first."""
    last: dict[tuple[str, int, str], Decision] = {}
    for one in sorted(decisions, key=lambda one: one.decided):
        last.pop((one.run, one.feature_id, one.who), None)
        last[one.run, one.feature_id, one.who] = one
    return tuple(reversed(last.values()))


def clean_name(text: str) -> str:
    """A name of a tag or a list on one line, without needless spaces.

    Raises:
        UserError: if nothing is left, or too much.
    """
    name = clean_line(text, NAME_LENGTH)
    if not name:
        raise UserError("The name is empty; type one.")
    return name


def clean_line(text: str, most: int = LINE_LENGTH) -> str:
    """A name or a title on one line, without needless spaces; it may be empty.

    Raises:
        UserError: if it is longer than `most`.
    """
    line = " ".join(clean_text(text).split())
    if len(line) > most:
        raise UserError(f"The name has {len(line)} characters; at most {most} are kept: choose a shorter one.")
    return line


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
        if first["loc"] == ("version",) and isinstance(first["input"], int) and first["input"] > 1:
            raise UserError(
                f"This notebook was exported by a later dfc, as version {first['input']}; this one reads 1."
            ) from None
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UserError(
            f"This is no exported notebook ({place}: {first['msg']:.120}); choose a JSON file that was exported here."
        ) from None
    return Book(
        lists=tuple(
            replace(
                entry,
                name=clean_name(entry.name),
                title=clean_line(entry.title),
                author=clean_line(entry.author),
                summary=clean_text(entry.summary),
            )
            for entry in book.lists
        ),
        marks=tuple(
            replace(mark, name="" if mark.kind == "favourite" else clean_name(mark.name), note=clean_text(mark.note))
            for mark in book.marks
        ),
        notes=tuple(replace(note, text=clean_text(note.text)) for note in book.notes),
        decisions=tuple(replace(one, who=clean_name(one.who), reason=clean_text(one.reason)) for one in book.decisions),
        labels=tuple(replace(one, who=clean_name(one.who), text=clean_line(one.text)) for one in book.labels),
        flags=tuple(replace(one, who=clean_name(one.who), flag=clean_name(one.flag)) for one in book.flags),
    )
