"""Which findings of a run come back in other runs, and where a feature stands in them."""

from __future__ import annotations

import shlex
from html import escape

import numpy as np
import pandas as pd
import streamlit as st

from dfc import runs
from dfc.config import PARTITIONS, UserError
from dfc.report.words import PARTS, percent
from dfc.runs import Run
from dfc.store.reader import FeatureQuery, FeatureRow, Store
from dfc.ui.runs.summaries import Summary
from dfc.ui.shell import address, data, feature_rows, links
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import partition_badge, section
from dfc.ui.shell.text import chips, count, number
from dfc.worlds import stability_result
from dfc.worlds.stability_result import Match, StabilityResult

COLUMNS = ("feature_id", "mark", *feature_rows.NAMES, "recurs", "again", "correlation", "density")


def show(view: View, summaries: list[Summary]) -> None:
    """Draw both sections, for the page's run; `summaries` are of the finished runs that are compared."""
    result = stability_result.read(view.run)
    section(
        "Which findings come back",
        f"A finding of {escape(view.run.name)} recurs where another run over the same pairs has a feature that fires "
        "like it, each being the other's most correlated one. What comes back from another start is no accident of "
        "training.",
    )
    if result is None:
        _how(view, summaries)
        return
    feature = _feature(view)
    _summary(result)
    _findings(view, result, feature)
    _counterparts(view, result, feature)


def _how(view: View, summaries: list[Summary]) -> None:
    others = [summary.name for summary in summaries if summary.name != view.run.name]
    if others:
        st.html('<p class="dfc-muted">These runs have not been compared yet. This does it, then reload:</p>')
        given = " ".join(map(shlex.quote, [view.run.name, *others]))
    else:
        st.html(
            '<p class="dfc-muted">There is no run to compare it with. This trains it twice more, with other seeds '
            "and on the same activations, and compares what they found; then reload:</p>"
        )
        given = f"{shlex.quote(view.run.name)} --seeds 2"
    st.code(f"python -m dfc stability {given}", language="bash")


def _summary(result: StabilityResult) -> None:
    """How many findings recur in how many runs, beside what any feature does."""
    others, findings = len(result.runs), len(result.findings)
    counts = np.bincount([len(matches) for matches in result.findings.values()], minlength=others + 1)
    bars = "".join(
        f'<span class="dfc-word">in {times} of {others}</span>'
        f'<span class="dfc-bar"><i style="width:{100 * counts[times] / max(findings, 1):.1f}%"></i></span>'
        f'<span class="dfc-value">{count(int(counts[times]))} findings</span>'
        for times in range(others, -1, -1)
    )
    st.html(f'<div class="dfc-bars">{bars}</div>')
    matched = ", ".join(
        f"{PARTS[partition]} {percent(result.matched[partition], 2)}"
        for partition in PARTITIONS
        if partition in result.matched
    )
    if not result.alike:
        st.warning(
            "These runs were judged by different rules: what is a finding in one is not to be compared with another.",
            icon=":material/balance:",
        )
    if told := stability_result.groups_in_words(result):
        st.markdown(f"As whole groups, {told}.")
    st.caption(
        f"Compared with {', '.join(map(_plain, result.runs))} over {count(result.pairs)} pairs; a match wants a "
        f"correlation of {number(result.threshold)}. Of all features, findings or not, these have one: {matched}."
    )


def _plain(name: str) -> str:
    return f"`{name.replace('`', '')}`"


def _findings(view: View, result: StabilityResult, feature: FeatureRow | None) -> None:
    if not result.findings:
        st.html('<p class="dfc-muted">The evidence calls no feature of this run exclusive.</p>')
        return
    ids = tuple(result.findings)
    query = FeatureQuery(ids=ids, alive_only=False, limit=len(ids), order="feature_id", descending=False)
    table = data.features(view.store, query)
    matches = [result.findings[int(identity)] for identity in table["feature_id"]]
    table = table.assign(
        recurs=[len(counterparts) for counterparts in matches],
        again=[sum(match.verdict == "exclusive" for match in counterparts) for counterparts in matches],
        correlation=[
            max((match.correlation for match in counterparts), default=float("nan")) for counterparts in matches
        ],
    )
    table = table.sort_values(["recurs", "again", "correlation"], ascending=False).head(feature_rows.MOST)
    st.markdown("**Findings, those that recur most first**", help="Click a row to see where it stands in the others.")
    feature_rows.show(pd.DataFrame(table), feature, COLUMNS)


def _feature(view: View) -> FeatureRow | None:
    identity = address.feature_id()
    return None if identity is None else view.store.feature(identity)


def _counterparts(view: View, result: StabilityResult, feature: FeatureRow | None) -> None:
    section("A feature's counterparts", "The feature of each other run that fires most like it.")
    if feature is None:
        st.html('<p class="dfc-muted">Click a finding above to see its counterparts.</p>')
        return
    names = model_names(view.config)
    st.html(
        f'<div class="dfc-{feature.partition}"><b>Feature {feature.feature_id}</b> '
        f"{partition_badge(feature.partition, names)} {chips(feature.peak_tokens)}</div>"
    )
    matches = result.findings.get(feature.feature_id)
    if matches is None:
        st.html('<p class="dfc-muted">It is no finding of this run: counterparts are sought for those alone.</p>')
        return
    by_run = {match.run: match for match in matches}
    for name in result.runs:
        left, right = st.columns([2, 5], gap="medium", vertical_alignment="center")
        with left:
            _link(name, by_run.get(name))
        right.html(_counterpart(name, by_run.get(name), view))


def _link(name: str, match: Match | None) -> None:
    if match is None:
        st.html(f'<span class="dfc-muted">{escape(name)}</span>')
        return
    links.feature(name, match.feature_id, f"{name}: feature {match.feature_id}")


def _counterpart(name: str, match: Match | None, view: View) -> str:
    if match is None:
        return '<span class="dfc-muted">has nothing that fires like it</span>'
    tokens = ""
    try:
        tokens = chips(Store(Run(runs.data_folder() / "runs" / name).store).feature(match.feature_id).peak_tokens)
    except UserError:
        tokens = '<span class="dfc-muted">its store cannot be read</span>'
    return (
        f'<div class="dfc-{escape(match.partition)}">{partition_badge(match.partition, model_names(view.config))} '
        f'<span class="dfc-small">correlation {number(match.correlation)} · {escape(match.verdict)}</span> '
        f"{tokens}</div>"
    )
