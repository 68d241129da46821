"""A text of one's own, read by both models and coloured by the feature; the text stands in the address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from dfc.config import SIDES, UserError
from dfc.report.heatmap import context_html
from dfc.report.words import percent
from dfc.store.reader import FeatureRow
from dfc.ui.shell import address, readers, turns
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import side_name
from dfc.ui.shell.readers import Prompt
from dfc.ui.shell.text import number

if TYPE_CHECKING:
    from dfc.features.live import Reading

_KEPT, _SEEN, _TYPED = "try_kept", "try_seen", "try_text"


def show(view: View, feature: FeatureRow) -> None:
    """Draw the text box, folded until there is a text, and what came of it."""
    text, state = _chosen(), st.session_state
    if state.get(_SEEN) != text or _TYPED not in state:  # it came with the address, or the page was left meanwhile
        state[_SEEN] = state[_TYPED] = text
    with st.expander("Test a text of your own", icon=":material/edit_note:", expanded=bool(text)):
        with st.form("try", border=False, enter_to_submit=True):
            st.text_area(
                "Text",
                key=_TYPED,
                height=100,
                label_visibility="collapsed",
                placeholder="Type or paste a text; Ctrl + Enter reads it",
            )
            st.form_submit_button(
                "Read it with both models",
                icon=":material/visibility:",
                type="primary",
                key="try_read",
                on_click=_choose,
            )
        if text.strip():
            _result(view, feature, text)
        else:
            st.caption(f"Whether it fires on it, token by token. {readers.COST}")


def _result(view: View, feature: FeatureRow, text: str) -> None:
    status = st.empty()
    try:
        reading = readers.read(view, Prompt((("text", text),)), status)
    except UserError as error:
        status.empty()
        readers.cannot(error)
        return
    names = model_names(view.config)
    readers.notices(reading, names)
    context = reading.context(feature.feature_id)
    strips = "".join(
        f'<div class="dfc-small">{side_name(side, names)}</div><div class="dfc-text">'
        f"{context_html(context, side, feature.max, feature.partition, notes=readers.notes(reading, side))}</div>"
        for side in SIDES
    )
    st.html(f'<div class="dfc-small">{_said(reading, feature)}</div>{strips}')
    fits = turns.fits(text)
    with st.container(horizontal=True, vertical_alignment="center"):
        if fits:
            st.page_link(
                address.PROMPT_PAGE,
                label="All that fires on it",
                icon=":material/edit_note:",
                query_params=address.text_params(view.run.name, text, feature.feature_id),
            )
        st.button("Clear", icon=":material/close:", key="try_clear", on_click=_clear)
    if not fits:
        st.caption("This text is too long for the address: it is kept in this session alone.")


def _said(reading: Reading, feature: FeatureRow) -> str:
    """How the feature fires on the text, in words."""
    values = reading.activations(feature.feature_id)
    fires, top = int(np.nansum(values > 0)), float(np.nan_to_num(values).max(initial=0.0))
    count = f"{int(reading.kept.sum()):,} pairs of tokens that count"
    if not fires:
        return f"It never fires on this text, of {count}."
    share = f", {percent(top / feature.max, 2)} of its strongest on the corpus" if feature.max > 0 else ""
    return f"It fires on {fires:,} of {count}, up to {number(top)}{share}. Grey: what does not count; hover to see why."


def _chosen() -> str:
    """The text in the address, or the one that was too long for it."""
    kept: str = st.session_state.get(_KEPT, "")
    return address.get("text") or kept


def _choose() -> None:
    _clear()
    text = st.session_state[_TYPED] or ""
    st.session_state[_SEEN] = text
    if turns.fits(text):
        st.query_params["text"] = text
    else:
        st.session_state[_KEPT] = text


def _clear() -> None:
    st.query_params.pop("text", None)
    st.session_state.pop(_KEPT, None)
