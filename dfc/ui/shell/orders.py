"""What features can be sorted by, in words, and what they are sorted by at first."""

from __future__ import annotations

from dfc.store import columns
from dfc.store.query import LIKENESS, RELEVANCE
from dfc.ui.shell import data
from dfc.ui.shell.frame import View


def orders(judged: bool = True, searching: bool = True, asking: bool = True) -> dict[str, str]:
    """What features can be sorted by, in words; before `verify` without what only evidence says.

    Args:
        judged: whether there is evidence.
        searching: whether a text is searched.
        asking: whether a meaning is.
    """
    matching = {RELEVANCE: "match with the search"} if searching else {}
    matching |= {LIKENESS: "nearness in meaning"} if asking else {}
    return matching | {
        one.name: one.words for one in columns.columns() if one.sorted and (judged or one.table == "features")
    }


def default_order(view: View) -> str:
    """By evidence where there is any."""
    return "specificity" if data.verdicts(view.store).empty else "confidence"
