"""The notebook's file: many write it at once, other files are refused, those of before are read and lose nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from dfc.config import UserError
from dfc.store import book_file
from dfc.store.book import LAST, Mark, NamedList
from dfc.store.notes import Notebook


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "data" / "notes.duckdb")


def test_a_file_that_is_no_notebook(notebook: Notebook) -> None:
    notebook.path.parent.mkdir()
    notebook.path.write_bytes(b"this is no database" * 1_000)
    for use in (lambda: notebook.read().feature("demo", 1), lambda: notebook.mark("demo", {1: "f"}, "favourite")):
        with pytest.raises(UserError, match="is not a readable notebook"):
            use()
    assert notebook.path.read_bytes().startswith(b"this is no database")


def test_a_later_version_is_left_alone(notebook: Notebook) -> None:
    notebook.write("demo", 1, "f", "x")
    with duckdb.connect(str(notebook.path)) as connection:
        connection.execute("UPDATE book SET version = 9")
    with pytest.raises(UserError, match="written as version 9, this program reads 1"):
        notebook.write("demo", 1, "f", "y")


def test_many_threads_lose_nothing(notebook: Notebook) -> None:
    def work(number: int) -> None:
        notebook.mark("demo", {number: "f"}, "list", "all", note=str(number))
        notebook.mark("demo", {number: "f"}, "list", "all")
        assert notebook.read().feature("demo", number).marks

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(12)))
    assert sorted((mark.note for mark in notebook.read().marks), key=int) == [str(number) for number in range(12)]


_WRITER = """
import sys
from pathlib import Path
from typing import get_args
from dfc.store.notes import Notebook
for number in range(8):
    Notebook(Path(sys.argv[1]), 60).write("demo", number, "f", f"{sys.argv[2]} {number}")
"""


def test_several_processes_lose_nothing(notebook: Notebook) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(notebook.path), name], stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for number in range(8):
        notebook.write("demo", number, "f", f"here {number}")
    for writer in writers:
        assert writer.wait() == 0, writer.stderr and writer.stderr.read().decode()
    expected = {f"{name} {number}" for name in ("one", "two", "here") for number in range(8)}
    assert {note.text for note in notebook.read().notes} == expected


_HOLDER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read(1)
"""


def test_waits_for_another_program_and_says_so_when_it_takes_too_long(notebook: Notebook) -> None:
    notebook.write("demo", 1, "f", "before")
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(notebook.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    with pytest.raises(UserError, match="another program keeps the notebook open"):
        Notebook(notebook.path, wait_seconds=0.1).read()
    waiting = threading.Thread(target=lambda: notebook.write("demo", 1, "f", "after"))
    waiting.start()
    holder.communicate("x")
    waiting.join()
    assert [note.text for note in notebook.read().notes] == ["after", "before"]


def test_a_notebook_from_before_is_read_and_loses_nothing(notebook: Notebook) -> None:
    moment = "2026-11-01T10:00:00+00:00"
    notebook.path.parent.mkdir(parents=True)
    with duckdb.connect(str(notebook.path)) as connection:
        connection.execute("CREATE TABLE book AS SELECT 1 AS version")
        connection.execute("CREATE TABLE lists (name VARCHAR PRIMARY KEY, added VARCHAR NOT NULL)")
        connection.execute(
            """CREATE TABLE marks (run VARCHAR NOT NULL, feature_id INTEGER NOT NULL, kind VARCHAR NOT NULL,
               name VARCHAR NOT NULL, fingerprint VARCHAR NOT NULL, added VARCHAR NOT NULL, note VARCHAR NOT NULL,
               PRIMARY KEY (run, feature_id, kind, name))"""
        )
        connection.execute(
            """CREATE TABLE notes (run VARCHAR NOT NULL, feature_id INTEGER NOT NULL, fingerprint VARCHAR NOT NULL,
               written VARCHAR NOT NULL, text VARCHAR NOT NULL)"""
        )
        connection.execute("INSERT INTO lists VALUES ('report', ?)", [moment])
        connection.execute("INSERT INTO marks VALUES ('demo', 3, 'list', 'report', 'f', ?, 'why')", [moment])
    [mark] = notebook.read().feature("demo", 3).marks
    assert mark == Mark("demo", 3, "list", "report", "f", moment, "why")
    assert notebook.read().cover("report") == NamedList("report", moment)


def test_a_list_of_before_keeps_its_order_whatever_is_said_of_it(notebook: Notebook) -> None:
    """Its marks have no `said`; some were given places, the last one none."""
    notebook.path.parent.mkdir(parents=True)
    with duckdb.connect(str(notebook.path)) as connection:
        connection.execute((Path(book_file.__file__).parent / "notes.sql").read_text(encoding="utf-8"))
        connection.execute("ALTER TABLE marks DROP COLUMN said")
        connection.execute("INSERT INTO lists (name, added) VALUES ('report', '2026-11-01T10:00:00+00:00')")
        for feature, hour, place in ((5, 12, 0), (3, 11, 1), (9, 10, LAST)):
            connection.execute(
                "INSERT INTO marks VALUES ('demo', ?, 'list', 'report', 'f', ?, 'why', ?, [2])",
                [feature, f"2026-11-01T{hour}:00:00+00:00", place],
            )
    assert [one.feature_id for one in notebook.read().of("demo").marks] == [5, 3, 9]
    [before] = notebook.read().feature("demo", 9).marks
    assert before == Mark("demo", 9, "list", "report", "f", "2026-11-01T10:00:00+00:00", "why", LAST, (2,))
    exported = notebook.export()
    notebook.mark("demo", {9: "f", 7: "f"}, "list", "report", "another")
    assert [one.feature_id for one in notebook.read().of("demo").marks] == [5, 3, 9, 7]
    old = json.loads(exported)
    for mark in old["marks"]:
        del mark["said"]
    notebook.merge(json.dumps(old))  # as an earlier version wrote it
    assert [mark.note for number in (5, 9) for mark in notebook.read().feature("demo", number).marks] == [
        "why",
        "another",
    ]
    assert [one.feature_id for one in notebook.read().of("demo").marks] == [5, 3, 9, 7]
