"""What people say outlives a run's folder: between runs and the notebook, and from machine to machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dfc.runs import Run
from dfc.store import along
from dfc.store.explanations import Explanation, ExplanationStore, Said, Told
from dfc.store.notes import Notebook

PRINT, OTHER = f"{3:016x}", "another training"


def machine(folder: Path) -> tuple[Run, Notebook]:
    run = Run(folder / "runs" / "demo")
    run.path.mkdir(parents=True)
    return run, Notebook(folder / "notes.duckdb")


@pytest.fixture
def here(tmp_path: Path) -> tuple[Run, Notebook]:
    return machine(tmp_path / "here")


def told(run: Run, fingerprint: str = PRINT) -> Told:
    return ExplanationStore(run.explanations).told({3: fingerprint}).get(3, Told())


def called(run: Run, fingerprint: str = PRINT) -> dict[str, str]:
    return {one.who: one.text for one in told(run, fingerprint).explanations}


def marked(run: Run) -> dict[tuple[str, str], bool]:
    return {(one.who, one.flag): one.applies for one in told(run).flags}


def test_what_is_said_is_back_after_the_run_was_deleted(here: tuple[Run, Notebook]) -> None:
    run, book = here
    along.label(run, book, 3, PRINT, "Ada", "dates")
    along.label(run, book, 3, PRINT, "Ada", "datelines")
    along.flag(run, book, 3, PRINT, "Bo", "code", False)
    kept = book.read().of("demo")
    assert [one.text for one in kept.labels] == ["dates", "datelines"], "whatever was ever said"
    assert [(one.flag, one.applies) for one in kept.flags] == [("code", False)]
    shutil.rmtree(run.path)
    run.path.mkdir()
    assert along.exchange(book, [run]) == []
    assert (called(run), marked(run)) == ({"Ada": "datelines"}, {("Bo", "code"): False})


def test_what_was_said_before_the_notebook_kept_it_leaves_with_its_export(
    here: tuple[Run, Notebook], tmp_path: Path
) -> None:
    run, book = here
    kept = ExplanationStore(run.explanations)
    kept.label(3, PRINT, "Ada", "datelines")
    kept.flag(3, PRINT, "Ada", "code", True)
    judged = Explanation(3, PRINT, "judge", "m", "2026-11-30T10:00:00+00:00", "news", "1", "abc")
    kept.put(judged, [Said(3, PRINT, "judge", "m", "2026-11-30T10:00:00+00:00", "safety", True, "so", "1")])
    along.exchange(book, [run])
    there, theirs = machine(tmp_path / "there")
    theirs.merge(book.export())
    along.exchange(theirs, [there])
    assert (called(there), marked(there)) == ({"Ada": "datelines"}, {("Ada", "code"): True}), "and no judge's word"
    assert called(run) == {"Ada": "datelines", "m": "news"}


def test_the_later_word_of_one_person_holds_and_nobody_elses_goes(here: tuple[Run, Notebook], tmp_path: Path) -> None:
    (run, book), (there, theirs) = here, machine(tmp_path / "there")
    along.label(run, book, 3, PRINT, "Ada", "first")
    along.label(run, book, 3, PRINT, "Bo", "Bo's")
    along.flag(run, book, 3, PRINT, "Ada", "code", True)
    along.label(there, theirs, 3, PRINT, "Ada", "second")
    along.label(there, theirs, 3, OTHER, "Ada", "of another training")
    along.flag(there, theirs, 3, PRINT, "Ada", "code", False)
    for one, other in ((theirs, book), (book, theirs)):
        other.merge(one.export())
    for _ in range(2):
        along.exchange(book, [run])
        along.exchange(theirs, [there])
        for each in (run, there):
            assert called(each) == {"Ada": "second", "Bo": "Bo's"}
            assert called(each, OTHER) == {"Ada": "of another training"}
            assert marked(each) == {("Ada", "code"): False}


def test_a_label_that_was_taken_back_does_not_come_again(here: tuple[Run, Notebook], tmp_path: Path) -> None:
    (run, book), (there, theirs) = here, machine(tmp_path / "there")
    along.label(run, book, 3, PRINT, "Ada", "wrong")
    theirs.merge(book.export())
    along.exchange(theirs, [there])
    assert called(there) == {"Ada": "wrong"}
    along.label(run, book, 3, PRINT, "Ada", "")
    along.exchange(book, [run])
    theirs.merge(book.export())
    along.exchange(theirs, [there])
    assert called(run) == called(there) == {}


def test_nothing_is_written_where_nothing_is_new(here: tuple[Run, Notebook]) -> None:
    run, book = here
    assert along.exchange(book, [run]) == []
    assert not run.explanations.exists()
    along.label(run, book, 3, PRINT, "Ada", "datelines")
    times: Callable[[], list[int]] = lambda: [path.stat().st_mtime_ns for path in (run.explanations, book.path)]  # noqa: E731
    before = times()
    assert along.exchange(book, [run]) == []
    assert times() == before


def test_a_run_that_cannot_be_read_is_named_and_the_others_are_done(here: tuple[Run, Notebook]) -> None:
    run, book = here
    broken = Run(run.path.with_name("broken"))
    broken.path.mkdir()
    broken.explanations.write_bytes(b"no database" * 100)
    ExplanationStore(run.explanations).label(3, PRINT, "Ada", "datelines")
    [problem] = along.exchange(book, [broken, run])
    assert str(broken.explanations) in problem
    assert [one.text for one in book.read().of("demo").labels] == ["datelines"]
