"""What the app shows while there is nothing to show: how to get there."""

from __future__ import annotations

import shlex
from html import escape
from pathlib import Path

import streamlit as st

from dfc.config import Side, shipped
from dfc.report.palette import Theme
from dfc.runs import STAGES, Run
from dfc.ui.shell import charts
from dfc.ui.shell.look import section, side_name
from dfc.ui.shell.text import STAGE_TITLES


def no_runs(folder: Path) -> None:
    """Nothing was compared yet."""
    with st.container(key="empty", width=760):
        st.html(
            '<div class="dfc-hero"><div class="dfc-eyebrow">Nothing compared yet</div>'
            "<h1>What does one model know that the other does not?</h1>"
            "<p>A run takes two language models, reads both on the same texts, and learns a dictionary in which some "
            "features may be used by one model alone. Such a feature may show something that the other model lacks, or "
            "be an accident of the dictionary: evidence says which. Where one model does better beside the other "
            "than in like texts is found among all features, whoever may use them.</p>"
            f"<p>There are no runs in <code>{escape(str(folder))}</code>. Start one:</p></div>"
        )
        st.markdown("**The demo**: two small real models and their texts, on this machine")
        st.code(shipped.DEMO, language="bash")
        st.markdown("**Your own pair**: copy a preset, name two models, two layers and a corpus")
        st.code("python -m dfc run data/presets/….yaml", language="bash")
        st.caption("Then reload this page.")


def unfinished(run: Run, names: dict[Side, str], theme: Theme) -> None:
    """A run with stages still missing: which, and the command that goes on from there.

    A run that was made for another ends after training: then that is said.
    """
    done = run.done()
    missing = next(stage for stage in STAGES if not done[stage])
    pair = f"{side_name('a', names)} <small>against</small> {side_name('b', names)}"
    state, words = (
        "not finished",
        (
            f"The stage “{escape(STAGE_TITLES[missing])}” ({missing}) is missing. What is done is kept: "
            "the command below goes on from there."
        ),
    )
    if run.made_for and missing == "index":
        state, words = (
            f"made for {run.made_for}",
            (
                f"It ends after training: what it came to is shown with the run {escape(run.made_for)}. To look at its "
                "features, too, describe them with the command below."
            ),
        )
    st.html(
        f'<div class="dfc-hero"><div class="dfc-eyebrow">Run {escape(run.name)}, {escape(state)}</div><h1>{pair}</h1>'
        f"<p>{words}</p></div>"
    )
    st.html(f'<ol class="dfc-stages">{"".join(_stage(stage, done[stage], stage == missing) for stage in STAGES)}</ol>')
    st.code(f"python -m dfc run {shlex.quote(str(run.path / 'run.yaml'))}", language="bash")
    st.caption("If it is running now, let it run, and reload this page when it has finished.")
    lines = run.metric_lines()
    if lines:
        section("Training so far", "How much of each model's activations the dictionary explains, step by step.")
        charts.show(charts.training(lines, names, theme), "training", "Share of variance explained over training steps")


def _stage(stage: str, done: bool, next_one: bool) -> str:
    state, mark = ("done", "✓") if done else ("next", "→") if next_one else ("later", "")
    words = {"done": "done", "next": "missing", "later": "after that"}[state]
    return f'<li class="{state}"><i>{mark}</i><b>{STAGE_TITLES[stage]}</b><small>{stage} · {words}</small></li>'
