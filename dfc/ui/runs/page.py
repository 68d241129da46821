"""Runs: several of them beside each other, what they were made with, how they trained, what they found."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import pandas as pd
import streamlit as st

from dfc import runs
from dfc.config import PARTITIONS, SIDES, Partition
from dfc.report.palette import run_marks
from dfc.report.words import NULL_RUN, PARTS, RULES, percent, unjudged
from dfc.ui.runs import recurring
from dfc.ui.runs.summaries import Summary, differences, help_of, other_differences, summarise
from dfc.ui.shell import charts, choice, meaning
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import section
from dfc.ui.shell.text import count, plain

MOST_AT_FIRST = 6
DASHES = ("solid", "dash", "dot")

_PARTS = tuple((f"_{partition}", title) for partition, title in PARTS.items())
_SIDES = tuple((f"_{side}", f"model {side.upper()}") for side in SIDES)


@dataclass(frozen=True)
class Metric:
    """What can be drawn: its title, a chart for each ending of its column in metrics.jsonl, and what it means."""

    title: str
    endings: tuple[tuple[str, str], ...]
    meaning: str


METRICS = {
    "held_out_fve": Metric("variance explained, held out", _SIDES, meaning.RUN["fve"]),
    "fve": Metric("variance explained, training", _SIDES, "The same on the batches that it is trained on."),
    "loss": Metric("loss", (("", ""),), "Squared error of both models' activations; lower is better, and only to be "
                   "compared between runs on the same activations."),
    "l0": Metric("active at once", _PARTS, meaning.RUN["l0"]),
    "dead": Metric("dead", _PARTS, "Share of each partition's features that have not fired for long: they do nothing."),
}  # fmt: skip
"""By their columns in metrics.jsonl."""


def show(view: View) -> None:
    """Draw the page."""
    st.html(
        '<div class="dfc-hero"><h1>Runs</h1><p>Train a pair again with another seed, another kind or another size, and '
        "see what stays. A finding that comes back in other runs is worth more than one that does not.</p></div>"
    )
    names = [run.name for run in runs.all_runs()]
    chosen = st.multiselect(
        "Runs",
        names,
        default=_first(names, view.run.name),
        key="runs",
        bind="query-params",
        select_all=False,  # else Enter takes all that match what was typed
        placeholder="Choose runs to compare",
        help="Those that are compared below, finished or not.",
    )
    if not chosen:
        st.info("Choose one run or more: they are compared here.", icon=":material/stacked_line_chart:")
        return
    summaries = [summarise(runs.data_folder() / "runs" / name) for name in chosen]
    marks = run_marks(view.theme)
    colours = {summary.name: marks[place % len(marks)] for place, summary in enumerate(summaries)}
    dashes = {summary.name: DASHES[place // len(marks) % len(DASHES)] for place, summary in enumerate(summaries)}
    for summary in summaries:
        if summary.problem:
            st.warning(plain(summary.problem), icon=":material/error:")
    _overview(summaries, colours)
    if len({rule for summary in summaries if (rule := summary.facts.get("rule"))}) > 1:
        st.warning(
            "These runs were judged by different rules: how many features are exclusive is not to be compared between "
            "them. Judge them alike with python -m dfc verify.",
            icon=":material/balance:",
        )
    _curves(view, summaries, colours, dashes)
    _settings(summaries, colours)
    recurring.show(view, [summary for summary in summaries if summary.is_finished])


def _first(names: list[str], current: str) -> list[str]:
    """The run of the page, and the others as far as they fit."""
    others = [name for name in names if name != current]
    return [current, *others][:MOST_AT_FIRST]


def _overview(summaries: list[Summary], colours: dict[str, str]) -> None:
    """A column for each run, as in the tables of settings below: there is room for several."""
    rows = (
        ("kind", "dfc: with dedicated partitions; standard: all shared; dsf: standard with some decoders tied."),
        ("features", "Size of the dictionary."),
        ("k", "Features active at once on a pair that it was trained for."),
        ("seed", "Of the weights and of the order of the pairs."),
        ("explained A", meaning.RUN["fve"]),
        ("explained B", meaning.RUN["fve"]),
        ("alive A / B / shared", meaning.RUN["alive"]),
        ("exclusive in A", "Features of A's own that the evidence calls exclusive, of those A may use alone."),
        ("exclusive in B", "Features of B's own that the evidence calls exclusive, of those B may use alone."),
        ("judged by", "What the verdicts rest on: verdicts by different rules are not to be compared."),
        (
            "by chance",
            f"Share of dedicated features that came out exclusive when a model was compared with itself. {NULL_RUN}",
        ),
    )
    head = "".join(
        f"<th>{_dot(colours[summary.name])}{escape(summary.name)}{_state(summary)}</th>" for summary in summaries
    )
    body = "".join(
        f'<tr><td title="{escape(help_text)}">{escape(title)}</td>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for (title, help_text), *cells in zip(
            rows, *(_column(summary, len(rows)) for summary in summaries), strict=True
        )
    )
    st.html(
        f'<div class="dfc-wide"><table class="dfc-table"><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _column(summary: Summary, rows: int) -> list[str]:
    """What stands of a run in each row, as HTML."""
    if summary.config is None:
        return ["–"] * rows
    crosscoder, facts = summary.config.crosscoder, summary.facts
    alive = " / ".join(percent(facts.get(f"alive_{partition}"), 2) for partition in PARTITIONS) if facts else "–"
    return [
        escape(crosscoder.kind),
        count(crosscoder.features),
        count(crosscoder.k),
        str(summary.config.training.seed),
        *(percent(facts.get(f"fve_{side}")) for side in SIDES),
        alive.replace(" %", "") + (" %" if facts else ""),
        *(_exclusive(summary, side) for side in SIDES),
        escape(RULES.get(summary.facts.get("rule", ""), "–")),
        _by_chance(summary),
    ]


def _dot(colour: str) -> str:
    return f'<i class="dfc-dot" style="background:{colour}"></i>'


def _state(summary: Summary) -> str:
    if summary.is_finished:
        return ""
    words = f"not finished: {summary.missing} is missing"
    if summary.ends_after_training:
        words = f"made for {summary.run.made_for}: ends after training"
    if summary.problem:
        words = "cannot be read"
    return f'<br><span class="dfc-small">{escape(words)}</span>'


def _by_chance(summary: Summary) -> str:
    if summary.null_problem:
        return f'<span class="dfc-muted" title="{escape(summary.null_problem)}">cannot be read</span>'
    return percent(summary.null_share, 2)


def _exclusive(summary: Summary, side: Partition) -> str:
    verdicts = summary.verdicts.get(side)
    if not verdicts:
        why = unjudged(summary.facts, summary.name).replace("`", "")
        return f'<span class="dfc-muted" title="{escape(why)}">not judged</span>'
    return f"{count(verdicts.get('exclusive', 0))} of {count(sum(verdicts.values()))}"


def _curves(view: View, summaries: list[Summary], colours: dict[str, str], dashes: dict[str, str]) -> None:
    section("How they trained", "The same figure of every run, over the steps.")
    column = choice.one_of_many("Figure", {key: entry.title for key, entry in METRICS.items()}, "metric", width=320)
    shown, endings = METRICS[column].title, METRICS[column].endings
    st.caption(METRICS[column].meaning)
    curves = [
        (summary.name, colours[summary.name], dashes[summary.name], pd.DataFrame(summary.lines))
        for summary in summaries
        if summary.lines
    ]
    if not any(f"{column}{ending}" in metrics for _, _, _, metrics in curves for ending, _ in endings):
        st.html(f'<p class="dfc-muted">None of these runs has noted “{escape(shown)}”.</p>')
        return
    st.html('<div class="dfc-key">' + "".join(_curve_key(*curve[:3]) for curve in curves) + "</div>")
    for place, (ending, title) in zip(st.columns(len(endings), gap="medium"), endings, strict=True):
        with place:
            figure = charts.over_steps(
                curves, f"{column}{ending}", title or shown, view.theme, column not in ("loss", "l0")
            )
            charts.show(figure, f"over_steps{ending}", f"{shown}, {title}, over training steps")


def _curve_key(name: str, colour: str, dash: str) -> str:
    line = {"solid": "solid", "dash": "dashed", "dot": "dotted"}[dash]
    return f'<span><i class="dfc-line" style="border-top:2.5px {line} {colour}"></i>{escape(name)}</span>'


def _settings(summaries: list[Summary], colours: dict[str, str]) -> None:
    section("What they were made with", "Settings that are not the same in all of these runs; the others are.")
    readable = [summary for summary in summaries if summary.config is not None]
    if len(readable) < 2:
        st.html('<p class="dfc-muted">Choose a second run: the settings in which they differ are listed here.</p>')
        return
    table = differences(readable)
    if table:
        _table("setting", table, readable, colours)
    else:
        st.html('<p class="dfc-muted">These runs have the same settings.</p>')
    finished = [summary for summary in readable if summary.is_finished]
    if others := other_differences(finished):
        st.markdown(
            "**What else is not the same**",
            help="No settings: what followed from the data (pairs that were kept, the scale of each model's stream), "
            "and of each stage when it ended and under which versions; `code` tells any two states of dfc's sources "
            "apart. The figures of runs with the same settings may differ by these.",
        )
        _table("what", others, finished, colours)


def _table(title: str, table: dict[str, list[str]], summaries: list[Summary], colours: dict[str, str]) -> None:
    """A row for each thing that differs, a column for each run."""
    head = "".join(f"<th>{_dot(colours[summary.name])}{escape(summary.name)}</th>" for summary in summaries)
    body = "".join(
        f'<tr><td title="{escape(help_of(key))}"><code>{escape(key)}</code></td>'
        + "".join(f"<td>{escape(value)}</td>" for value in values)
        + "</tr>"
        for key, values in table.items()
    )
    st.html(
        f'<div class="dfc-wide"><table class="dfc-table dfc-settings"><thead><tr><th>{title}</th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
