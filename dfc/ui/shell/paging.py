"""Pages of a long list; which page is shown stands in the address."""

from __future__ import annotations

import math

import streamlit as st

from dfc.ui.shell import address

TABLE_ROWS = 50
"""Rows of one page of a table of features."""
FINDING_ROWS = 20
"""Of one page of a list of findings."""
MARKED_ROWS = 20
"""Of one page of what readers marked."""


def choose(rows: int, page_rows: int) -> int:
    """Draw the choice of a page, if there are several, and give the one that is chosen, from 1."""
    pages = math.ceil(rows / page_rows)
    address.within("page", 1, max(1, pages))
    if pages <= 1:
        return 1
    if st.session_state.get("page", 1) > pages:
        st.session_state["page"] = pages
    with st.container(horizontal_alignment="center"):
        return st.pagination(pages, key="page", bind="query-params")


def first() -> None:
    """Back to the first page: a callback for whatever changes the list."""
    if "page" in st.session_state:
        st.session_state["page"] = 1
