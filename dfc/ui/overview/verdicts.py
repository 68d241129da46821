"""What the evidence says, in one colour for each verdict: of one feature, and of a whole run beside its null run."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import streamlit as st

from dfc.config import PARTITIONS, SIDES, VERDICTS, EvidenceConfig, Partition, Side, Verdict
from dfc.report.palette import Theme, verdict_marks
from dfc.report.words import NULL_RUN, asked, percent, unjudged, verdict_means, whose
from dfc.ui.shell import data, null_run
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import section, side_name, verdict_dot
from dfc.ui.shell.text import count
from dfc.worlds.null_result import NullResult

_LEAD = "That the dictionary lets one model alone use a feature does not make it a difference."


def overview(view: View, names: dict[Side, str]) -> None:
    """How the verdicts fall in each partition, and what the null run says of them."""
    counts: Any = data.verdicts(view.store)
    if counts.empty:
        section(
            "What the evidence says", "That a feature may be used by one model alone does not make it a difference."
        )
        st.caption(unjudged(data.facts(view.store), view.run.name))
        return
    split = {
        partition: {verdict: int(counts.loc[partition].get(verdict, 0)) for verdict in VERDICTS}
        for partition in PARTITIONS
        if partition in counts.index
    }
    held = " and ".join(
        f"{count(split[side]['exclusive'])} of {count(sum(split[side].values()))} in {side_name(side, names)}"
        for side in SIDES
        if side in split
    )
    section(
        "What the evidence says",
        f"{_LEAD} {asked(data.facts(view.store))} As exclusive stand {held}.",
    )
    result = null_run.read(view.run)
    st.html(_table(split, result, names, data.facts(view.store), view.theme))
    st.caption(_dead(view, sum(verdicts["dead"] for verdicts in split.values())))
    if "shared" in split:
        passed, judged = split["shared"]["exclusive"], sum(split["shared"].values())
        st.caption(
            f"Shared features are judged by the same rule, as a reference: {count(passed)} of {count(judged)} "
            f"({percent(passed / judged)}) pass. Each either acts in one model alone, though both may use it, or is a "
            f"mistake of the rule."
        )
    if result is None:
        st.caption(f"`python -m dfc null {view.run.name}` tells how often the rule is wrong: a model against itself.")
    else:
        st.caption(
            f"Null run, {names['a']} against itself in a rotated basis: {count(result.exclusive)} of "
            f"{count(result.dedicated)} dedicated features ({percent(result.share)}) came out exclusive; none is. "
            f"{NULL_RUN}"
        )


def _dead(view: View, dead: int) -> str:
    """What is called dead here, beside what is called alive above."""
    partitions: Any = data.partitions(view.store)
    alive, size = int(partitions["alive"].sum()), int(partitions["features"].sum())
    least = (data.facts(view.store).get("evidence") or {}).get("min_firings", EvidenceConfig().min_firings)
    return (
        f"Dead, as a verdict: fires on fewer than {least} pairs, too few to judge by ({count(dead)} features). "
        f"Alive, above: fires at all, as {count(alive)} of {count(size)} do."
    )


def _table(
    split: Mapping[Partition, Mapping[Verdict, int]],
    null: NullResult | None,
    names: dict[Side, str],
    facts: Mapping[str, Any],
    theme: Theme,
) -> str:
    """Counts and, beside them, each row's shares as one bar; the last row is the null run's."""
    head = "".join(
        f'<th title="{escape(verdict_means(verdict, facts))}">{verdict_dot(verdict, theme)}{verdict}</th>'
        for verdict in VERDICTS
    )
    coloured = {side: side_name(side, names) for side in SIDES}
    rows = "".join(
        _row(
            f'<i class="dfc-dot dfc-{partition}"></i>{whose(partition, coloured)}',
            counts,
            theme,
        )
        for partition, counts in split.items()
    )
    if null is not None:
        both = {verdict: sum(null.verdicts.get(side, {}).get(verdict, 0) for side in SIDES) for verdict in VERDICTS}
        rows += _row('<i class="dfc-dot"></i>null run, dedicated', both, theme)
    shares = '<th title="Shares of the row\'s features.">shares</th>'
    return (
        f'<div class="dfc-wide"><table class="dfc-table dfc-split"><thead><tr><th></th>{head}{shares}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _row(title: str, counts: Mapping[Verdict, int], theme: Theme) -> str:
    cells = "".join(f"<td>{count(counts[verdict])}</td>" for verdict in VERDICTS)
    return f"<tr><td>{title}</td>{cells}<td>{_stack(counts, theme)}</td></tr>"


def _stack(counts: Mapping[Verdict, int], theme: Theme) -> str:
    """The shares as one stacked bar; a verdict that nothing has takes no room."""
    total = sum(counts.values())
    colours = verdict_marks(theme)
    parts = "".join(
        f'<i style="flex:{counts[verdict]} 0 2px;background:{colours[verdict]}" '
        f'title="{verdict}: {percent(counts[verdict] / total)}"></i>'
        for verdict in VERDICTS
        if counts[verdict]
    )
    return f'<span class="dfc-stack">{parts}</span>'
