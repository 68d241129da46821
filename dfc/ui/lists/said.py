"""What people wrote of features and decided of findings, the latest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from html import escape
from typing import TypeVar

import pandas as pd
import streamlit as st

from dfc.report import tables, words
from dfc.store.book import Decision, Note, latest
from dfc.ui.shell import downloads, links, notebook, paging
from dfc.ui.shell.frame import View

Said = TypeVar("Said", Note, Decision)


def notes(view: View, written: Sequence[Note]) -> None:
    """All notes of a run."""
    if not written:
        st.html(
            '<p class="dfc-muted">No note was written in this run yet; every feature\'s page has a place for them.</p>'
        )
        return
    _page(view, written, notebook.note_html)


def latest_note(written: Sequence[Note], fingerprint: str) -> None:
    """The last note of one feature, and that there are more."""
    if not written:
        return
    st.html(notebook.note_html(written[0], fingerprint))
    if (more := len(written) - 1) > 0:
        st.caption(f"{more} older {'note' if more == 1 else 'notes'} on its page.")


def decisions(view: View, made: Sequence[Decision]) -> None:
    """What holds of what people decided in a run."""
    if not made:
        st.html(
            '<p class="dfc-muted">Nothing was decided in this run yet; the page Screen has the findings to decide on.'
            "</p>"
        )
        return
    holding = latest(made)
    downloads.button(
        "CSV of all decisions",
        lambda: tables.csv(pd.DataFrame([asdict(one) for one in holding])),
        f"{view.run.name}-decisions.csv",
        "text/csv",
        icon=":material/download:",
        key="decisions_csv",
        help="Of each person and finding the last decision, with when and why.",
    )
    _page(view, holding, _decision_html)


def _decision_html(one: Decision, fingerprint: str) -> str:
    """A decision in words, flagged if it was made about another version of the feature."""
    told, flag = words.decision(one), "" if one.fingerprint == fingerprint else notebook.EARLIER
    return f'<div class="dfc-said">{escape(words.capital(told))}{flag}</div>'


def _page(view: View, said: Sequence[Said], html: Callable[[Said, str], str]) -> None:
    """Draw a page of what was said, each under a link to its feature; `html` takes the feature's fingerprint, too."""
    listed = st.container()
    offset = (paging.choose(len(said), paging.MARKED_ROWS) - 1) * paging.MARKED_ROWS
    shown = said[offset : offset + paging.MARKED_ROWS]
    fingerprints = view.store.fingerprints([one.feature_id for one in shown])
    for place, one in enumerate(shown):
        with listed.container(key=f"written_{place}"):
            if one.feature_id in fingerprints:
                links.feature(view.run.name, one.feature_id)
            else:
                st.html(f'<span class="dfc-small">Feature {one.feature_id}, no longer in this run</span>')
            st.html(html(one, fingerprints.get(one.feature_id, "")))
