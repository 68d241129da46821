"""What features can be sorted by, in words, and what they are sorted by at first."""

from __future__ import annotations

from dfc.store import columns
from dfc.store.query import RELEVANCE
from dfc.ui.shell import data
from dfc.ui.shell.frame import View


def orders(judged: bool = True, searching: bool = True) -> dict[str, str]:
    """What features can be sorted by, in words; before `verify` without what only evidence says."""
    matching = {RELEVANCE: "match with the search"} if searching else {}
    return matching | {
        one.name: one.words for one in columns.columns() if one.sorted and (judged or one.table == "features")
    }


def default_order(view: View) -> str:
    """By evidence where there is any."""
    return "specificity" if data.verdicts(view.store).empty else "confidence"
