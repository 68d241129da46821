"""The notebook, data/notes.duckdb: notes, tags, favourites, named lists of features, decisions, labels and flags.

It lies outside every run, so that nothing is lost when a run is indexed again; each entry keeps the
fingerprint of the decoder that it was written about. DuckDB lets one process at a time open a file
for writing: every operation opens the file, does its work in one transaction and closes it, and waits
while somebody else has it open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from dfc.config import UserError
from dfc.store.book import (
    LAST,
    Book,
    Choice,
    Decision,
    FlagSaid,
    Kind,
    Label,
    Mark,
    NamedList,
    Note,
    clean_line,
    clean_name,
    clean_text,
    parse,
)
from dfc.store.book_file import COLUMNS, WAIT_SECONDS, BookFile, insert, table

_ORDERS = {
    "lists": "lower(name), name",
    "marks": "kind, lower(name), name, place, added, feature_id, run",
    "notes": "written DESC, feature_id, text, run",
    "decisions": "decided DESC, feature_id, who, run",
    "labels": "written, feature_id, who, run",
    "flags": "written, feature_id, who, flag, run",
}
"""Of each table, the order in which `Book` has it."""


class Notebook:
    """The notebook in one file, made when something is first written.

    Features are given as a run's name and a mapping from their ids to their fingerprints (`Store.fingerprints`).

    Raises:
        UserError: from every method, if the file is no notebook, or another program keeps it open for too long.
    """

    def __init__(self, path: Path, wait_seconds: float = WAIT_SECONDS) -> None:
        self.path = path
        self._file = BookFile(path, wait_seconds)

    def read(self) -> Book:
        """All of it, in the order that `Book` says."""
        lists, marks, notes, decisions, labels, flags = self._file.read(
            *(f"SELECT {', '.join(COLUMNS[name])} FROM {name} ORDER BY {order}" for name, order in _ORDERS.items())
        )
        return Book.model_construct(
            lists=tuple(NamedList(*row) for row in lists),
            marks=tuple(map(_mark, marks)),
            notes=tuple(Note(*row) for row in notes),
            decisions=tuple(Decision(*row) for row in decisions),
            labels=tuple(Label(*row) for row in labels),
            flags=tuple(FlagSaid(*row) for row in flags),
        )

    # -- writing

    def mark(self, run: str, features: Mapping[int, str], kind: Kind, name: str = "", note: str | None = None) -> None:
        """Mark features; one that is marked already is said again, of the version that stands there now.

        Args:
            run: name of the run.
            features: fingerprint of each feature.
            kind: what it becomes: a favourite, tagged, or put on a list, which is begun if it is new.
            name: of the tag or the list.
            note: why it is on the list; None leaves what is there.

        Raises:
            UserError: if the name is empty or too long.
        """
        name = "" if kind == "favourite" else clean_name(name)
        text = None if note is None else clean_text(note)
        if not features:
            return
        now = _now()
        rows = table(
            Mark(run, feature, kind, name, fingerprint, now, text or "") for feature, fingerprint in features.items()
        )
        kept = "" if text is None else ", note = excluded.note"

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            if kind == "list":
                connection.execute("INSERT INTO lists (name, added) VALUES (?, ?) ON CONFLICT DO NOTHING", [name, now])
            insert(
                connection,
                "marks",
                rows,
                "ON CONFLICT DO UPDATE SET contexts = CASE WHEN marks.fingerprint = excluded.fingerprint "
                f"THEN marks.contexts ELSE [] END, fingerprint = excluded.fingerprint, said = excluded.added{kept}",
            )

        self._file.write(write)

    def unmark(self, run: str, feature_ids: Iterable[int], kind: Kind, name: str = "") -> None:
        """Take marks away."""
        values = [run, [int(feature) for feature in feature_ids], kind, name]
        self._file.write(
            lambda connection: connection.execute(
                "DELETE FROM marks WHERE run = ? AND list_contains(?, feature_id) AND kind = ? AND name = ?", values
            )
        )

    def confirm(self, run: str, feature_id: int, fingerprint: str) -> None:
        """Let a feature's marks hold of the version that stands there now; its notes keep theirs, as history."""
        values = [fingerprint, run, feature_id]
        self._file.write(
            lambda connection: connection.execute(
                "UPDATE marks SET fingerprint = ? WHERE run = ? AND feature_id = ?", values
            )
        )

    def write(self, run: str, feature_id: int, fingerprint: str, text: str, before: Note | None = None) -> Note:
        """Add a note; what it was `before`, while it is still being written, goes.

        Raises:
            UserError: if it is empty or too long.
        """
        note = Note(run, feature_id, fingerprint, _now(), clean_text(text))
        if not note.text:
            raise UserError("The note is empty; write something.")

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            if before is not None:
                _erase(connection, before)
            insert(connection, "notes", table([note]))

        self._file.write(write)
        return note

    def erase(self, note: Note) -> None:
        """Take a note away."""
        self._file.write(lambda connection: _erase(connection, note))

    def decide(
        self, run: str, feature_id: int, fingerprint: str, who: str, choice: Choice, reason: str = ""
    ) -> Decision:
        """Add what somebody decides of a finding, by its best feature; what was decided before stays as history.

        Raises:
            UserError: if the name is empty or too long, or the reason too long.
        """
        decision = Decision(run, feature_id, fingerprint, _now(), clean_name(who), choice, clean_text(reason))
        self._file.write(lambda connection: insert(connection, "decisions", table([decision])))
        return decision

    def take_back(self, decision: Decision) -> None:
        """Take one decision away: what the same person decided before holds again."""
        where = " AND ".join(f"{column} = ?" for column in COLUMNS["decisions"])
        self._file.write(
            lambda connection: connection.execute(
                f"DELETE FROM decisions WHERE {where}", list(asdict(decision).values())
            )
        )

    def keep(self, labels: Iterable[Label], flags: Iterable[FlagSaid]) -> None:
        """Add what people say of features, as it stands in a run; what is there already is not added again."""
        labelled, flagged = set(labels), set(flags)

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            _add(connection, "labels", labelled)
            _add(connection, "flags", flagged)

        self._file.write(write)

    def begin_list(self, name: str) -> str:
        """A list, empty if it is new; returns its name without needless spaces.

        Raises:
            UserError: if the name is empty or too long.
        """
        name = clean_name(name)
        self._file.write(
            lambda connection: connection.execute(
                "INSERT INTO lists (name, added) VALUES (?, ?) ON CONFLICT DO NOTHING", [name, _now()]
            )
        )
        return name

    def describe_list(self, name: str, title: str, author: str, summary: str) -> None:
        """What stands above the report of a list.

        Raises:
            UserError: if one of these is too long.
        """
        values = [clean_line(title), clean_line(author), clean_text(summary), name]
        self._file.write(
            lambda connection: connection.execute(
                "UPDATE lists SET title = ?, author = ?, summary = ? WHERE name = ?", values
            )
        )

    def put_in_order(self, run: str, name: str, feature_ids: Sequence[int]) -> None:
        """The order of a run's features on a list; those that are not given come after them, as they were added."""
        places = {int(identity): place for place, identity in enumerate(feature_ids)}

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            where = "WHERE run = ? AND kind = 'list' AND name = ?"
            connection.execute(f"UPDATE marks SET place = {LAST} {where}", [run, name])
            for identity, place in places.items():
                connection.execute(
                    f"UPDATE marks SET place = ? {where} AND feature_id = ?", [place, run, name, identity]
                )

        self._file.write(write)

    def show_contexts(self, run: str, feature_id: int, fingerprint: str, name: str, contexts: Sequence[int]) -> None:
        """Which contexts of a feature the report of a list shows, by `Context.number`; none: the strongest.

        The feature stands on the list as the version that they were chosen of.
        """
        values = [[int(number) for number in contexts], fingerprint, run, feature_id, name]
        self._file.write(
            lambda connection: connection.execute(
                "UPDATE marks SET contexts = ?, fingerprint = ? WHERE run = ? AND feature_id = ? AND kind = 'list' "
                "AND name = ?",
                values,
            )
        )

    def rename_list(self, name: str, new: str) -> str:
        """Another name for a list; returns it without needless spaces.

        Raises:
            UserError: if the name is empty, too long or taken.
        """
        new = clean_name(new)
        if new == name:
            return new
        if new in self.read().list_names:
            raise UserError(f"There is a list called “{new}” already; choose another name.")

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute("UPDATE lists SET name = ? WHERE name = ?", [new, name])
            connection.execute("UPDATE marks SET name = ? WHERE kind = 'list' AND name = ?", [new, name])

        self._file.write(write)
        return new

    def delete_list(self, name: str) -> None:
        """Take a list and its notes away; what else is said of its features stays."""

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            connection.execute("DELETE FROM lists WHERE name = ?", [name])
            connection.execute("DELETE FROM marks WHERE kind = 'list' AND name = ?", [name])

        self._file.write(write)

    # -- as JSON

    def export(self) -> str:
        """The whole notebook as JSON, which `merge` takes."""
        return self.read().model_dump_json(indent=1)

    def merge(self, text: str) -> Book:
        """Add what `export` wrote, here or elsewhere; what is there stays, and of two like marks the later wins.

        Returns:
            What the text held.

        Raises:
            UserError: if it is no exported notebook.
        """
        book = parse(text)
        lists = {entry.name: entry for entry in book.lists}
        for mark in book.marks:
            if mark.kind == "list" and mark.name not in lists:
                lists[mark.name] = NamedList(mark.name, mark.added)
        marks: dict[tuple[str, int, str, str], Mark] = {}
        for mark in sorted(book.marks, key=lambda mark: max(mark.added, mark.said)):
            marks[mark.run, mark.feature_id, mark.kind, mark.name] = mark

        def write(connection: duckdb.DuckDBPyConnection) -> None:
            described = ", ".join(
                f"{name} = CASE WHEN lists.{name} = '' THEN excluded.{name} ELSE lists.{name} END"
                for name in COLUMNS["lists"][2:]
            )
            insert(connection, "lists", table(lists.values()), f"ON CONFLICT DO UPDATE SET {described}")
            insert(
                connection,
                "marks",
                table(marks.values()),
                "ON CONFLICT DO UPDATE SET fingerprint = excluded.fingerprint, added = excluded.added, "
                "note = excluded.note, place = excluded.place, contexts = excluded.contexts, said = excluded.said "
                "WHERE greatest(excluded.added, excluded.said) > greatest(marks.added, marks.said)",
            )
            for name in ("notes", "decisions", "labels", "flags"):
                _add(connection, name, set(getattr(book, name)))

        self._file.write(write)
        return book


def _mark(row: Sequence[Any]) -> Mark:
    values: dict[str, Any] = dict(zip(COLUMNS["marks"], row, strict=True))
    return Mark(**values | {"contexts": tuple(values["contexts"])})


def _add(connection: duckdb.DuckDBPyConnection, name: str, entries: set[Any]) -> None:
    """Those that are not there yet."""
    insert(connection, name, table(entries), f"EXCEPT SELECT {', '.join(COLUMNS[name])} FROM {name}")


def _erase(connection: duckdb.DuckDBPyConnection, note: Note) -> None:
    where = " AND ".join(f"{column} = ?" for column in COLUMNS["notes"])
    connection.execute(f"DELETE FROM notes WHERE {where}", list(asdict(note).values()))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
