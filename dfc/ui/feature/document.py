"""A whole document, with the stretch in it that a feature's context shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import streamlit as st

from dfc.report.heatmap import token_html
from dfc.store.reader import Context, DocumentRow, FeatureRow
from dfc.ui.shell import address
from dfc.ui.shell.frame import View

SPEAKERS = {
    "text": "",
    "system": "System",
    "user": "User",
    "assistant": "Assistant",
    "reasoning": "Assistant, thinking",
}


def offer(contexts: Sequence[Context]) -> None:
    """A choice of the documents that a feature's contexts are cut from."""
    st.selectbox(
        "Whole document",
        [str(number) for number in _first(contexts)],
        index=None,
        placeholder="read one whole",
        key="document",
        width=180,
        bind="query-params",
        help="The whole text that a context is cut from, with the context marked in it.",
    )


def show(view: View, feature: FeatureRow, contexts: Sequence[Context]) -> None:
    """The document that was chosen, if one was."""
    context = _first(contexts).get(int(st.session_state.get("document") or -1))
    if context is None:
        return
    st.html(html(view.store.document(context.document), context.start, context.stop, feature.partition))
    st.page_link(
        address.PROMPT_PAGE,
        label="Read it with both models, token by token",
        icon=":material/edit_note:",
        query_params=address.prompt_params(view.run.name, context.document, feature.feature_id),
    )


def html(document: DocumentRow, start: int, stop: int, tone: str) -> str:
    """The document as escaped HTML, a turn under the other, characters from `start` to `stop` of its content marked.

    Args:
        document: as the store keeps it.
        start, stop: of the turns' contents, one after the other.
        tone: the partition in whose colour the stretch is marked.
    """
    turns, begin = [], 0
    for role, content in zip(document.roles, document.contents, strict=True):
        low, high = (min(len(content), max(0, place - begin)) for place in (start, stop))
        marked = f"<mark>{token_html(content[low:high])}</mark>" if low < high else ""
        speaker = SPEAKERS.get(role, role)
        named = f'<div class="dfc-small">{escape(speaker)}</div>' if speaker else ""
        before, after = (token_html(part) if part else "" for part in (content[:low], content[high:]))
        turns.append(f'{named}<div class="dfc-context">{before}{marked}{after}</div>')
        begin += len(content)
    return f'<div class="dfc-document dfc-{tone}">{"".join(turns)}</div>'


def _first(contexts: Sequence[Context]) -> dict[int, Context]:
    """The first context of each document, in the order of the contexts."""
    by_document: dict[int, Context] = {}
    for context in contexts:
        by_document.setdefault(context.document, context)
    return by_document
