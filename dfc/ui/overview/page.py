"""The front page of a run, told as a story: what was compared, whether to trust it, what was found."""

from __future__ import annotations

from html import escape
from typing import Any

import streamlit as st

from dfc import corpus
from dfc.config import PARTITIONS, SIDES, Side, opposite
from dfc.report.words import numeral, percent, whose
from dfc.store.reader import FeatureQuery
from dfc.ui.overview import findings, verdicts
from dfc.ui.shell import address, charts, data, empty, feature_list, meaning
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import section, side_name
from dfc.ui.shell.text import count, number, plain, sentence

FOUND, FEW = 10, 3
"""Exclusive features that are shown of each model: without findings, and below them."""
LOPSIDED = 3.0
"""How many times one model's variance exceeds the other's where the page says so."""
_FIRST = {
    (True, True): "and that the evidence calls exclusive, the surest first",
    (False, True): "those first for which the evidence is best",
    (False, False): "those first that keep most to one kind of text",
}
"""Which findings are shown: by whether the evidence calls any exclusive, and whether there is evidence."""


def show(view: View) -> None:
    """Draw the page."""
    facts, names = data.facts(view.store), model_names(view.config)
    _hero(view, facts, names)
    empty.verifying(view.run)
    found = findings.show(view, names)
    _models(view, names)
    _corpus(view, facts)
    _health(view, facts, names)
    if data.partitions(view.store).index.isin(SIDES).any():
        verdicts.overview(view, names)
        for side in SIDES:
            _found(view, side, names, FEW if found else FOUND)
    else:
        section(
            "What only one of them may use",
            "This crosscoder has no dedicated partitions: every feature may serve both.",
        )
        st.page_link(
            address.NORMS_PAGE,
            label="See which model uses which feature",
            icon=":material/scatter_plot:",
            query_params={"run": view.run.name},
        )


def _hero(view: View, facts: dict[str, Any], names: dict[Side, str]) -> None:
    partitions = data.partitions(view.store)["features"]
    only = {side: int(partitions.get(side, 0)) for side in SIDES}
    what = "a crosscoder"
    if only["a"] or only["b"]:
        rest = (
            f"{count(only['a'])} of them may be used by {side_name('a', names)} alone and {count(only['b'])} by "
            f"{side_name('b', names)} alone."
        )
    else:
        rest = "All of them may be used by both models; decoder norms tell which one each of them moves."
    if facts.get("kind") == "dfc":
        what = "a dedicated feature crosscoder"
    st.html(
        f'<div class="dfc-hero"><div class="dfc-eyebrow">Run {escape(view.run.name)}</div>'
        f"<h1>{side_name('a', names)} <small>against</small> {side_name('b', names)}</h1>"
        f"<p>Both models read the same texts. From {count(facts.get('kept_pairs'))} pairs of their tokens {what} "
        f"learned {count(facts.get('features'))} features. {rest}</p></div>"
    )


def _models(view: View, names: dict[Side, str]) -> None:
    models = data.models(view.store)
    for column, side in zip(st.columns(2), SIDES, strict=True):
        row: Any = models.loc[side]
        figures = (
            ("Layer", f"{int(row['layer'])} of {int(row['layers'])}", "The block whose output was read."),
            ("Width", f"{int(row['width']):,}", "Numbers in the residual stream at each token."),
            ("Explained", percent(float(row["fve"])), meaning.RUN["fve"]),
        )
        cells = "".join(
            f'<div><dt title="{escape(help_text)}">{label}</dt><dd>{value}</dd></div>'
            for label, value, help_text in figures
        )
        column.html(
            f'<div class="dfc-model dfc-{side}"><div class="dfc-eyebrow">Model {side.upper()}</div>'
            f'<h3>{escape(names[side])}</h3><div class="dfc-small">{escape(str(row["source"]))}</div>'
            f"<dl>{cells}</dl></div>"
        )


def _corpus(view: View, facts: dict[str, Any]) -> None:
    section("What they read", "The texts decide what can be found: a difference that no text shows stays unseen.")
    sources: dict[str, int] = facts.get("source_pairs") or {}
    columns = st.columns(4)
    pairs, dropped = facts.get("pairs") or 0, facts.get("dropped_pairs") or 0
    held_out = f"Texts that both models read; {count(facts.get('held_out_documents'))} of them kept out of training."
    columns[0].metric("Documents", count(facts.get("documents")), border=True, help=held_out)
    columns[1].metric("Sources", count(len(sources)), border=True, help="Kinds of text, each under a name of its own.")
    columns[2].metric("Token pairs", count(facts.get("kept_pairs")), border=True, help=meaning.RUN["pairs"])
    columns[3].metric(
        "Left out", percent(dropped / pairs if pairs else None, 2), border=True, help=meaning.RUN["dropped"]
    )
    top = max(sources.values(), default=0)
    bars = "".join(
        f'<span class="dfc-word">{escape(name)}</span>'
        f'<span class="dfc-bar"><i style="width:{100 * pairs / top if top else 0:.1f}%"></i></span>'
        f'<span class="dfc-value">{count(pairs)} pairs</span>'
        for name, pairs in sorted(sources.items(), key=lambda item: -item[1])
    )
    if bars:
        st.html(f'<div class="dfc-bars">{bars}</div>')
    if remarks := corpus.remarks(facts.get("remarks") or {}, view.config):
        with st.expander("Not read, or not read as it stands there", icon=":material/rule:"):
            st.html("".join(f'<p class="dfc-small">{escape(sentence(remark))}</p>' for remark in remarks))


def _health(view: View, facts: dict[str, Any], names: dict[Side, str]) -> None:
    section(
        "Whether to trust it",
        "A dictionary that explains little, or whose exclusive features are dead or fire everywhere, says little "
        "about the models.",
    )
    columns = st.columns(4)
    for column, side in zip(columns, SIDES, strict=False):
        column.metric(
            f"Explained, {side.upper()}", percent(facts.get(f"fve_{side}")), border=True, help=meaning.RUN["fve"]
        )
    columns[2].metric("Active at once", number(facts.get("l0"), 1), border=True, help=meaning.RUN["l0"])
    alive = data.partitions(view.store)
    share = alive["alive"].sum() / max(1, alive["features"].sum())
    columns[3].metric("Alive", percent(float(share)), border=True, help=meaning.RUN["alive"])
    if warning := _lopsided(facts, names):
        st.warning(warning, icon=":material/balance:")
    st.html(_partition_table(view, facts, names))
    st.caption(_why_added(view, facts, names))
    lines = data.metric_lines(view.run)
    if lines:
        left, right = st.columns([3, 2], gap="medium")
        with left:
            held_out = "Lines: training batches. Rings: documents kept out of training."
            st.markdown("**Variance explained while training**", help=f"{meaning.RUN['fve']} {held_out}")
            charts.show(charts.training(lines, names, view.theme), "training", "Variance explained over training steps")
        with right:
            st.markdown("**Loss while training**", help="Squared error of both models' activations; lower is better.")
            charts.show(charts.curve(lines, {"loss": "loss"}, view.theme, "loss"), "loss", "Loss over training steps")


def _partition_table(view: View, facts: dict[str, Any], names: dict[Side, str]) -> str:
    table: Any = data.partitions(view.store)
    total = float(facts.get("l0") or 0)
    heads = (
        ("", ""),
        ("features", ""),
        ("alive", meaning.RUN["alive"]),
        ("active at once", meaning.RUN["l0"]),
        ("share of active", meaning.RUN["share"]),
        ("median density", meaning.RUN["density"]),
        *((f"adds to {side.upper()}", meaning.RUN["added"].format(model=names[side])) for side in SIDES),
    )
    added: dict[str, dict[str, float]] = facts.get("fve_added") or {}
    head = "".join(f'<th title="{escape(help_text)}">{escape(title)}</th>' for title, help_text in heads)
    rows = "".join(
        f'<tr><td><i class="dfc-dot dfc-{partition}"></i>{escape(whose(partition, names))}</td>'
        f"<td>{count(table.loc[partition, 'features'])}</td>"
        f"<td>{percent(facts.get(f'alive_{partition}'))}</td>"
        f"<td>{number(facts.get(f'l0_{partition}'), 1)}</td>"
        f"<td>{percent(float(facts.get(f'l0_{partition}') or 0) / total if total else None)}</td>"
        f"<td>{percent(table.loc[partition, 'median_density'], 2)}</td>"
        + "".join(f"<td>{_points(added.get(partition, {}).get(side))}</td>" for side in SIDES)
        + "</tr>"
        for partition in PARTITIONS
        if partition in table.index
    )
    return f'<table class="dfc-table"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _why_added(view: View, facts: dict[str, Any], names: dict[Side, str]) -> str:
    """How the last columns of the table are to be read, as Markdown; where few features add more than many, that too.

    Args:
        view: the page.
        facts: of the run.
        names: of both models.
    """
    table: Any = data.partitions(view.store)["features"]
    added: dict[str, dict[str, float]] = facts.get("fve_added") or {}
    general = (
        "Adds: what is lost when the features of one row are left out and all others stay as they are. The rows need "
        "not add up to what is explained"
    )
    few = [
        f"{count(table[side])} may add more to {plain(names[side])} than {count(table['shared'])} shared ones"
        for side in SIDES
        if added.get(side, {}).get(side, 0) > added.get("shared", {}).get(side, 0) and table[side] < table["shared"]
    ]
    several = f", and {' and '.join(few)}" if few else ""
    return f"{general}{several}: what counts is how much features write, and how often, not how many they are."


def _lopsided(facts: dict[str, Any], names: dict[Side, str]) -> str:
    """One sentence, as Markdown, if a model weighs much more in the loss than the other; empty if not, or not known."""
    a, b = (float(facts.get(f"variance_{side}") or 0) for side in SIDES)
    most, least = max(a, b), min(a, b)
    if not least or not most >= LOPSIDED * least:
        return ""
    heavy, light = (plain(names[side]) for side in (SIDES if a > b else reversed(SIDES)))
    return (
        f"The loss looks at {heavy} {most / least:.1f} times as much as at {light}: the variances of their scaled "
        f"streams are {number(most, 1)} and {number(least, 1)}, so that less is found of what {light} has; a run under "
        f"another `name` with `harvest.scale: variance` or `columns` weighs both alike."
    )


def _points(share: float | None) -> str:
    """A difference of two shares in percentage points; a dash for none at all, as of a model without the features."""
    return f"{numeral(100 * share, '+.1f')} points" if share else "–"


def _found(view: View, side: Side, names: dict[Side, str], number_shown: int) -> None:
    verdicts_here: Any = data.verdicts(view.store)
    judged = not verdicts_here.empty
    standing = judged and bool(verdicts_here.get("exclusive", {}).get(side, 0))
    query = FeatureQuery(
        partitions=(side,),
        limit=number_shown,
        order="confidence" if judged else "specificity",
        verdicts=("exclusive",) if standing else (),
    )
    table = data.features(view.store, query)
    other = names[opposite(side)]
    section(
        f"What only {names[side]} may use",
        f"Features that the dictionary lets {side_name(side, names)} use and {escape(other)} not, "
        f"{_FIRST[standing, judged]}, each where it fires most strongly. They are leads: the dictionary's design "
        f"keeps them out of {escape(other)}, so read the contexts and steer before you believe one.",
    )
    if table.empty:
        st.html('<p class="dfc-muted">No feature of this partition is alive.</p>')
        return
    contexts = view.store.strongest_contexts([int(identity) for identity in table["feature_id"]])
    rows: Any = table.itertuples()
    for position, row in enumerate(rows):
        place = address.Place(query, position)
        feature_list.row(view, row, contexts.get(int(row.feature_id)), side, place)
    total = data.count(view.store, FeatureQuery(partitions=(side,)))
    st.page_link(
        address.TABLE_PAGE,
        label=f"All {total:,} in the table",
        icon=":material/arrow_forward:",
        icon_position="right",
        query_params={"run": view.run.name, "show": side},
    )
