"""What a run's null run came to, on pages that can do without it."""

from __future__ import annotations

import streamlit as st

from dfc.config import UserError
from dfc.runs import Run
from dfc.ui.shell.text import plain, sentence
from dfc.worlds import null_result
from dfc.worlds.null_result import NullResult


def read(run: Run) -> NullResult | None:
    """Its result; None if there is none, or if it cannot be read, which is then said on the page."""
    try:
        return null_result.read(run)
    except UserError as error:
        st.warning(plain(sentence(str(error))), icon=":material/error:")
        return None
