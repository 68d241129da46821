"""Contrast: two sets of prompts, and which findings and features, of either model, fire on one and not on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from dfc.ui.contrast import entry, work
from dfc.ui.contrast.work import Request
from dfc.ui.shell import address, background
from dfc.ui.shell.background import Job
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

if TYPE_CHECKING:
    from dfc.screen.reading import Contrasted


def show(view: View) -> None:
    """Draw the page."""
    st.html(
        '<div class="dfc-hero"><h1>Contrast</h1><p>Two sets of prompts: harmful ones against harmless ones, a '
        "country's politics against another's, your own files. Both models read them, and you see which findings and "
        "features, of either model, fire on one set and not on the other, and how sure that is.</p></div>"
    )
    address.come_back("", *entry.NAMES)
    sources = []
    for column, place in zip(st.columns(2, gap="large"), entry.PLACES, strict=True):
        with column:
            sources.append(entry.show(place))
    with st.container(horizontal=True, vertical_alignment="center", gap="large"):
        button = st.empty()
        answered = st.toggle(
            "read chats with their last answers, too",
            key="answered",
            bind="query-params",
            on_change=entry.forget,
            help="Of a chat, what is read ends with what the user said last; what was answered to it tells sets apart "
            "by the answers.",
        )
    first, second = sources
    ready = first is not None and second is not None
    button.button(
        "Contrast",
        icon=":material/difference:",
        type="primary",
        key="contrast",
        on_click=entry.ask,
        disabled=not ready,
    )
    if first is None or second is None:
        st.html('<p class="dfc-muted">Give both sets, then contrast them.</p>')
        return
    if entry.outside_the_address((first, second)):
        st.caption("What is uploaded, or too long for the address, is kept in this session alone.")
    weights = view.run.crosscoder / "model.safetensors"
    request = Request(view.run, weights.stat().st_mtime_ns if weights.exists() else 0, first, second, answered)
    clicked = entry.was_clicked()
    _outcome(view, work.start(request, clicked) if entry.was_asked() else work.JOBS.of(request))


def _outcome(view: View, job: Job[Contrasted] | None) -> None:
    """How far a contrast is, or what came of it."""
    if job is None:
        st.html(
            '<p class="dfc-muted">The models are loaded when they are first needed, which takes a moment; then sets of '
            "some forty prompts take less than a minute on a small machine.</p>"
        )
    elif not job.finished:
        background.progress(job)
    elif job.problem:
        st.warning(plain(job.problem), icon=":material/error:")
    elif job.result is None:
        st.info(f"Stopped after {job.done:,} of {job.total:,} prompts.", icon=":material/stop_circle:")
    else:
        from dfc.ui.contrast import lists  # loads torch, which the result has needed already

        lists.show(view, job.result)
