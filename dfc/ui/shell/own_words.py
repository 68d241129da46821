"""In how many texts that the models wrote themselves a feature fires: a line, with the way to these."""

from __future__ import annotations

from html import escape

import streamlit as st

from dfc.config import Side
from dfc.report import words
from dfc.store.own_words import OwnWords
from dfc.ui.shell import address
from dfc.ui.shell.frame import View, model_names


def show(view: View, feature: int, side: Side) -> None:
    """Draw it; nothing where the models have written nothing.

    Args:
        view: the page.
        feature: which.
        side: the model that is its own.
    """
    seen = OwnWords(view.store.path).seen([(feature, side)]).get(feature)
    if seen is None:
        return
    said = words.in_own_words(seen, side, model_names(view.config))
    st.html(
        '<div class="dfc-small" title="However weakly it fires; what counts is the difference between the models.">'
        f"{escape(words.capital(said))}.</div>"
    )
    st.page_link(
        address.OWN_WORDS_PAGE,
        label="What the models say themselves",
        icon=":material/forum:",
        query_params={"run": view.run.name, "whose": side},
    )
