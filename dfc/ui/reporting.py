"""The button that makes a report of features: one HTML file, made when it is clicked."""

from __future__ import annotations

import re
from html import escape

import streamlit as st

from dfc.config import UserError
from dfc.report.document import MOST, Chosen, report_html
from dfc.runs import Run
from dfc.store.notes import Notebook
from dfc.ui import notebook
from dfc.ui.frame import View
from dfc.ui.text import sentence
from dfc.worlds import null_result


def button(view: View, chosen: Chosen) -> None:
    """Draw it; pale where there is nothing to report, or too much for one report."""
    run, book, size = view.run, notebook.book(), len(chosen.features)
    st.download_button(
        "Report",
        data=lambda: made(run, chosen, book).encode("utf-8"),
        on_click="ignore",
        file_name=f"{run.name}-{file_name(chosen.title)}.html",
        mime="text/html",
        icon=":material/description:",
        key="report",
        disabled=not 0 < size <= MOST,
        help=f"A report holds at most {MOST} features; choose fewer."
        if size > MOST
        else "One HTML file to send or to print: each feature with its verdict, its evidence, its contexts, what "
        "readers said of it, and what steering with it gave.",
    )


def made(run: Run, chosen: Chosen, book: Notebook) -> str:
    """The report; if there can be none, a page that says why: a download has no other place for it."""
    try:
        return report_html(run, chosen, book, null_result.read(run))
    except UserError as error:
        return f'<!doctype html><meta charset="utf-8"><title>No report</title><p>{escape(sentence(str(error)))}</p>'


def file_name(title: str) -> str:
    """A title as a part of a file's name, letters of every script kept."""
    return re.sub(r"[^\w.-]+", "-", title).strip("-.") or "report"
