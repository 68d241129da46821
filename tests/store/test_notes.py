"""The notebook: nothing is lost, nobody is shut out, hostile text is text."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfc.config import UserError
from dfc.store.book import (
    LAST,
    Book,
    Choice,
    Decision,
    FlagSaid,
    Label,
    Mark,
    NamedList,
    Note,
    clean_line,
    clean_name,
    clean_text,
    latest,
)
from dfc.store.notes import Notebook

HOSTILE = ["'; DROP TABLE marks; --", "<script>alert(1)</script>", "=1+1", "党 & 廉", "a\x00b\u202e", "\ud800", "%_\\"]


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "data" / "notes.duckdb")


def test_before_anything_is_written_there_is_no_file(notebook: Notebook) -> None:
    assert notebook.read().feature("demo", 1).notes == ()
    assert notebook.read().marks == ()
    assert notebook.read().list_names == ()
    assert json.loads(notebook.export())["marks"] == []
    assert not notebook.path.exists()


def test_notes_are_a_history(notebook: Notebook) -> None:
    first = notebook.write("demo", 7, "f", " Xinhua datelines \r\n mostly ")
    second = notebook.write("demo", 7, "f", "and names of officials")
    notebook.write("demo", 8, "g", "another feature")
    notebook.write("other", 7, "f", "another run")
    assert notebook.read().feature("demo", 7).notes == (second, first)
    assert first.text == "Xinhua datelines \n mostly"
    assert [note.text for note in notebook.read().of("demo").notes] == ["another feature", second.text, first.text]
    notebook.erase(first)
    assert notebook.read().feature("demo", 7).notes == (second,)


def test_marks_are_set_once_and_taken_away(notebook: Notebook) -> None:
    features = {3: "c", 1: "a", 2: "b"}
    for _ in range(2):
        notebook.mark("demo", features, "favourite")
        notebook.mark("demo", features, "tag", "  the   Party ")
    notebook.mark("other", {1: "x"}, "tag", "the Party")
    marks = notebook.read().of("demo").marks
    assert sorted(mark.feature_id for mark in marks if mark.kind == "tag") == [1, 2, 3]
    assert {mark.name for mark in marks if mark.kind == "tag"} == {"the Party"}
    notebook.unmark("demo", [1, 3, 99], "tag", "the Party")
    assert [mark.kind for mark in notebook.read().feature("demo", 1).marks] == ["favourite"]
    assert [mark.name for mark in notebook.read().feature("demo", 2).of_kind("tag")] == ["the Party"]
    assert notebook.read().feature("demo", 2).favourite
    assert len(notebook.read().feature("other", 1).marks) == 1


def test_lists_are_begun_renamed_and_deleted(notebook: Notebook) -> None:
    notebook.begin_list("later")
    notebook.mark("demo", {1: "a", 2: "b"}, "list", "for the report", note="strong")
    notebook.mark("demo", {2: "b"}, "list", "for the report")  # its note stays
    notebook.mark("demo", {1: "a"}, "list", "for the report", note="weak after all")
    assert notebook.read().list_names == ("for the report", "later")
    assert [mark.note for mark in notebook.read().feature("demo", 2).marks] == ["strong"]
    assert [mark.note for mark in notebook.read().feature("demo", 1).marks] == ["weak after all"]
    with pytest.raises(UserError, match="a list called “later” already"):
        notebook.rename_list("for the report", "later")
    notebook.rename_list("for the report", "for  the   paper")
    assert notebook.read().list_names == ("for the paper", "later")
    assert {mark.name for mark in notebook.read().marks} == {"for the paper"}
    notebook.delete_list("for the paper")
    assert notebook.read().list_names == ("later",)
    assert notebook.read().marks == ()


def test_what_was_said_of_another_version_is_known(notebook: Notebook) -> None:
    notebook.write("demo", 1, "old", "fires on dates")
    notebook.mark("demo", {1: "old"}, "tag", "dates")
    assert not notebook.read().feature("demo", 1).of_other_version("old")
    assert notebook.read().feature("demo", 1).of_other_version("new")
    notebook.confirm("demo", 1, "new")
    assert [mark.fingerprint for mark in notebook.read().feature("demo", 1).marks] == ["new"]
    assert [note.fingerprint for note in notebook.read().feature("demo", 1).notes] == ["old"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_kept_as_text(notebook: Notebook, text: str) -> None:
    kept = clean_text(text)
    if not kept:
        with pytest.raises(UserError, match="note is empty"):
            notebook.write("demo", 1, "f", text)
        return
    notebook.write("demo", 1, "f", text)
    notebook.mark("demo", {1: "f"}, "tag", text)
    notebook.mark("demo", {1: "f"}, "list", text, note=text)
    found = notebook.read().feature("demo", 1)
    assert [note.text for note in found.notes] == [kept]
    assert {mark.name for mark in found.marks} == {clean_name(text)}
    copy = Notebook(notebook.path.with_name("copy.duckdb"))
    copy.merge(notebook.export())
    assert copy.read().feature("demo", 1) == found


def test_decisions_are_added_and_taken_back_and_nobodys_is_overwritten(notebook: Notebook) -> None:
    first = notebook.decide("demo", 1, "f", " Ada ", "finding", "clear\x00")
    notebook.decide("demo", 1, "f", "Bo", "unreadable")
    second = notebook.decide("demo", 1, "g", "Ada", "duplicate")
    assert (first.who, first.reason) == ("Ada", "clear")
    assert notebook.read().of("null").decisions == ()
    found = notebook.read().feature("demo", 1)
    assert [(one.who, one.choice) for one in found.decisions] == [
        ("Ada", "duplicate"),
        ("Bo", "unreadable"),
        ("Ada", "finding"),
    ]
    assert [(one.who, one.choice) for one in latest(found.decisions)] == [("Ada", "duplicate"), ("Bo", "unreadable")]
    assert found.of_other_version("f")
    copy = Notebook(notebook.path.with_name("copy.duckdb"))
    copy.decide("demo", 1, "f", "Cy", "later")
    copy.merge(notebook.export())
    copy.merge(notebook.export())
    assert len(copy.read().of("demo").decisions) == 4
    notebook.take_back(second)
    assert [(one.who, one.choice) for one in latest(notebook.read().of("demo").decisions)] == [
        ("Bo", "unreadable"),
        ("Ada", "finding"),
    ]
    for who, reason in (("", ""), ("x" * 81, ""), ("Ada", "x" * 20_001)):
        with pytest.raises(UserError):
            notebook.decide("demo", 1, "f", who, "finding", reason)


@pytest.mark.parametrize("name", ["", "   ", "\x00\n", "x" * 81])
def test_names_that_cannot_be_kept(notebook: Notebook, name: str) -> None:
    with pytest.raises(UserError, match=r"^The name (is empty|has 81 characters)"):
        notebook.mark("demo", {1: "f"}, "tag", name)
    with pytest.raises(UserError, match="The note has 20,001 characters"):
        notebook.write("demo", 1, "f", "x" * 20_001)


words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(str.strip)
times = st.datetimes().map(lambda moment: moment.isoformat(timespec="microseconds") + "+00:00")
runs, ids = st.sampled_from(["demo", "null"]), st.integers(0, 5)
marks = st.builds(
    lambda run, feature, kind, name, fingerprint, added, note: Mark(
        run,
        feature,
        kind,
        "" if kind == "favourite" else clean_name(name),
        fingerprint,
        added,
        clean_text(note) if kind == "list" else "",
    ),
    runs, ids, st.sampled_from(["favourite", "tag", "list"]), words, words, times, words,
)  # fmt: skip
books = st.builds(
    Book,
    lists=st.lists(st.builds(NamedList, words.map(clean_name), times), max_size=3, unique_by=lambda entry: entry.name),
    marks=st.lists(marks, max_size=6, unique_by=lambda mark: (mark.run, mark.feature_id, mark.kind, mark.name)),
    notes=st.lists(st.builds(Note, runs, ids, words, times, words.map(clean_text)), max_size=4, unique=True),
    decisions=st.lists(
        st.builds(Decision, runs, ids, words, times, words.map(clean_name), st.sampled_from(get_args(Choice))),
        max_size=4,
        unique=True,
    ),
    labels=st.lists(
        st.builds(Label, runs, ids, words, times, words.map(clean_name), words.map(clean_line)), max_size=4, unique=True
    ),
    flags=st.lists(
        st.builds(FlagSaid, runs, ids, words, times, words.map(clean_name), words.map(clean_name), st.booleans()),
        max_size=4,
        unique=True,
    ),
)
few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(books)
def test_export_and_import_round_trip(tmp_path: Path, book: Book) -> None:
    notebook = Notebook(tmp_path / f"{time.monotonic_ns()}.duckdb")
    notebook.merge(book.model_dump_json())
    found = Book.model_validate_json(notebook.export())
    assert set(found.marks) == set(book.marks)
    assert set(found.notes) == set(book.notes)
    assert set(found.decisions) == set(book.decisions)
    assert set(found.labels) == set(book.labels)
    assert set(found.flags) == set(book.flags)
    assert {one for run in ("demo", "null") for one in notebook.read().of(run).labels} == set(book.labels)
    listed = {mark.name for mark in book.marks if mark.kind == "list"}
    assert {entry.name for entry in found.lists} == {entry.name for entry in book.lists} | listed
    before = notebook.export()
    notebook.merge(before)
    assert notebook.export() == before


@few
@given(books, books)
def test_import_merges_and_the_later_mark_wins(tmp_path: Path, one: Book, other: Book) -> None:
    exports = []
    for pair in ((one, other), (other, one)):
        notebook = Notebook(tmp_path / f"{time.monotonic_ns()}.duckdb")
        for book in pair:
            notebook.merge(book.model_dump_json())
        exports.append(Book.model_validate_json(notebook.export()))
    found = exports[0]
    assert set(found.notes) == set(one.notes) | set(other.notes) == set(exports[1].notes)
    latest: dict[tuple[str, int, str, str], str] = {}
    for mark in (*one.marks, *other.marks):
        key = mark.run, mark.feature_id, mark.kind, mark.name
        latest[key] = max(latest.get(key, ""), mark.added)
    assert {(m.run, m.feature_id, m.kind, m.name): m.added for m in found.marks} == latest


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("not json", "the file"),
        ("[]", "the file"),
        ('{"format": "other"}', "format"),
        ('{"version": "new"}', "version"),
        ('{"marks": [{"run": "demo"}]}', r"marks\.0\.feature_id"),
        ('{"notes": [{"run": "r", "feature_id": 99999999999}]}', r"notes\.0\.feature_id"),
        ('{"decisions": [{"run": "r", "feature_id": 1, "choice": "maybe"}]}', r"decisions\.0\.\w+"),
        ('{"lists": [{"name": "x", "added": "yesterday"}]}', r"lists\.0\.added"),
    ],
)
def test_what_is_no_export_is_refused_and_changes_nothing(notebook: Notebook, text: str, place: str) -> None:
    notebook.write("demo", 1, "f", "stays")
    before = notebook.export()
    with pytest.raises(UserError, match=rf"^This is no exported notebook \({place}"):
        notebook.merge(text)
    assert notebook.export() == before


def test_an_export_of_a_later_version_says_so(notebook: Notebook) -> None:
    with pytest.raises(UserError, match="exported by a later dfc, as version 2; this one reads 1"):
        notebook.merge('{"version": 2}')


def test_a_reason_that_is_given_later_moves_nothing(notebook: Notebook) -> None:
    for feature in (5, 3, 9):
        notebook.mark("demo", {feature: "f"}, "list", "report")
    for feature in (5, 3):
        notebook.mark("demo", {feature: "f"}, "list", "report", "why")
    notebook.mark("demo", {1: "f"}, "list", "report")
    notebook.mark("demo", {9: "f"}, "list", "report", "why")
    assert [one.feature_id for one in notebook.read().of("demo").marks] == [5, 3, 9, 1]
    notebook.put_in_order("demo", "report", [9, 1])
    notebook.mark("demo", {3: "f"}, "list", "report", "another why")
    notebook.mark("demo", {7: "f"}, "list", "report")
    assert [one.feature_id for one in notebook.read().of("demo").marks] == [9, 1, 5, 3, 7]
    moved = {
        mark.feature_id: (mark.place, bool(mark.said)) for mark in Book.model_validate_json(notebook.export()).marks
    }
    assert moved == {9: (0, True), 1: (1, False), 5: (LAST, True), 3: (LAST, True), 7: (LAST, False)}


def test_of_two_notebooks_the_mark_said_last_holds_though_it_was_added_first(notebook: Notebook) -> None:
    other = Notebook(notebook.path.with_name("other.duckdb"))
    notebook.mark("demo", {3: "f", 4: "f"}, "list", "report", "early")
    other.mark("demo", {3: "f", 4: "f"}, "list", "report", "later")
    notebook.mark("demo", {3: "f"}, "list", "report", "last")
    notebook.merge(other.export())
    other.merge(notebook.export())
    for book in (notebook, other):
        assert [mark.note for number in (3, 4) for mark in book.read().feature("demo", number).marks] == [
            "last",
            "later",
        ]
    one, another = (Book.model_validate_json(book.export()).marks for book in (notebook, other))
    assert one == another


def test_a_list_is_put_in_order_described_and_given_contexts(notebook: Notebook) -> None:
    notebook.mark("demo", {1: "f", 2: "f", 3: "f"}, "list", "report")
    notebook.put_in_order("demo", "report", [3, 1])
    notebook.mark("demo", {0: "f"}, "list", "report")
    assert [one.feature_id for one in notebook.read().of("demo").marks] == [3, 1, 2, 0]
    notebook.describe_list("report", " Three   differences ", "An auditor", "One.\n\nTwo.")
    assert notebook.read().cover("report").title == "Three differences"
    notebook.rename_list("report", "paper")
    assert notebook.read().cover("paper").summary == "One.\n\nTwo."
    assert notebook.read().cover("nobody") == NamedList("nobody", "")
    notebook.show_contexts("demo", 3, "f", "paper", [2, 10_001])
    notebook.mark("demo", {3: "f"}, "list", "paper", note="why")
    [mark] = notebook.read().feature("demo", 3).marks
    assert (mark.contexts, mark.place, mark.note) == ((2, 10_001), 0, "why")
    elsewhere = Notebook(notebook.path.with_name("elsewhere.duckdb"))
    elsewhere.merge(notebook.export())
    assert elsewhere.export() == notebook.export()
    notebook.mark("demo", {3: "another"}, "list", "paper")
    [mark] = notebook.read().feature("demo", 3).marks
    assert mark.contexts == ()  # which were those of another version
    with pytest.raises(UserError, match="The name has 201 characters"):
        notebook.describe_list("paper", "x" * 201, "", "")
