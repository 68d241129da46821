from __future__ import annotations

from pathlib import Path

from dfc.report.document import Chosen
from dfc.store.notes import Notebook
from dfc.ui import reporting
from tests.ui.folders import A_FEATURE, make_run


def test_a_report_or_a_page_that_says_why_there_is_none(tmp_path: Path) -> None:
    run, book = make_run(tmp_path / "<i>"), Notebook(tmp_path / "notes.duckdb")
    chosen = Chosen("Findings", (A_FEATURE,))
    assert f'<article id="f{A_FEATURE}"' in reporting.made(run, chosen, book)
    run.store.write_bytes(b"no database")
    page = reporting.made(run, chosen, book)
    assert "&lt;i&gt;" in page
    assert "<i>" not in page
    assert "index" in page
