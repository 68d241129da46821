"""The button that makes a report of features: one HTML file, made when it is clicked."""

from __future__ import annotations

import re

from dfc.report.document import MOST, Chosen, report_html
from dfc.ui.shell import downloads, notebook
from dfc.ui.shell.frame import View
from dfc.worlds import null_result


def button(view: View, chosen: Chosen) -> None:
    """Draw it; pale where there is nothing to report, or too much for one report."""
    run, book, size = view.run, notebook.book(), len(chosen.features)
    downloads.button(
        "Report",
        lambda: report_html(run, chosen, book, null_result.read(run)).encode("utf-8"),
        f"{run.name}-{file_name(chosen.title)}.html",
        "text/html",
        icon=":material/description:",
        key="report",
        disabled=not 0 < size <= MOST,
        help=f"A report holds at most {MOST} features; choose fewer."
        if size > MOST
        else "One HTML file to send or to print: each feature with its verdict, its evidence, its contexts, what "
        "readers said of it, and what steering with it gave.",
    )


def file_name(title: str) -> str:
    """A title as a part of a file's name, letters of every script kept."""
    return re.sub(r"[^\w.-]+", "-", title).strip("-.") or "report"
