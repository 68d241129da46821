"""What the app shows while there is nothing to show: how to get there."""

from __future__ import annotations

import shlex
import time
from html import escape
from pathlib import Path

import streamlit as st

from dfc.config import RunConfig, Side, shipped
from dfc.report.palette import Theme
from dfc.runs import STAGES, Run
from dfc.store import attached
from dfc.ui.shell import charts, data, making
from dfc.ui.shell.look import section, side_name
from dfc.ui.shell.making import Progress
from dfc.ui.shell.text import STAGE_TITLES, count, duration

EVERY, SILENT = 4.0, 300.0
"""Seconds after which a run that is not finished is looked at again; and without a word after which it may be dead."""


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


def unfinished(run: Run, run_config: RunConfig, names: dict[Side, str], theme: Theme) -> None:
    """A run with stages still missing: how far it is, and the command that goes on from there.

    It is read again every few seconds, and the page opened when the run is finished. A run that was made for another
    ends after training: then that is said.
    """
    pair = f"{side_name('a', names)} <small>against</small> {side_name('b', names)}"
    made_for = run.made_for if run.done()["train"] else ""
    state = f"made for {made_for}" if made_for else "not finished"
    st.html(
        f'<div class="dfc-hero"><div class="dfc-eyebrow">Run {escape(run.name)}, {escape(state)}</div><h1>{pair}</h1>'
        "</div>"
    )
    st.fragment(_so_far, run_every=None if made_for else EVERY)(run, run_config, names, theme)
    st.code(f"python -m dfc run {shlex.quote(str(run.path / 'run.yaml'))}", language="bash")


def _so_far(run: Run, run_config: RunConfig, names: dict[Side, str], theme: Theme) -> None:
    """What is there by now."""
    finished = run.done()
    if finished["index"]:
        st.rerun(scope="app")
    missing = next(stage for stage in STAGES if not finished[stage])
    words = (
        f"It ends after training: what it came to is shown with the run {escape(run.made_for)}. To look at its "
        "features, too, describe them with the command below."
        if run.made_for and finished["train"]
        else f"The stage “{escape(STAGE_TITLES[missing])}” ({missing}) is missing. What is done is kept: the command "
        "below goes on from there. While it is running, this page follows it."
    )
    st.html(f"<p>{words}</p>")
    lines = data.metric_lines(run)
    made = making.read(run, run_config, lines)
    rows = "".join(_stage(made.stages[stage], finished[stage], stage == missing) for stage in STAGES)
    st.html(f'<ol class="dfc-stages">{rows}</ol>')
    st.caption(_heard(made.written, "the command below goes on"))
    if lines:
        section("Training so far", "How much of each model's activations the dictionary explains, step by step.")
        left, right = st.columns([3, 2], gap="medium")
        with left:
            figure = charts.training(lines, names, theme)
            charts.show(figure, "training", "Share of variance explained over training steps")
        with right:
            charts.show(charts.curve(lines, {"loss": "loss"}, theme, "loss"), "loss", "Loss over training steps")
    if made.sources:
        section("Pairs so far", "Tokens of both models that end at the same character, by source.")
        top = max(made.sources.values()) or 1
        bars = "".join(
            f'<span class="dfc-word">{escape(name)}</span>'
            f'<span class="dfc-bar"><i style="width:{100 * pairs / top:.1f}%"></i></span>'
            f'<span class="dfc-value">{count(pairs)} pairs</span>'
            for name, pairs in sorted(made.sources.items(), key=lambda item: -item[1])
        )
        st.html(f'<div class="dfc-bars">{bars}</div>')


def verifying(run: Run) -> None:
    """Where evidence is still to come, how far it is, if that is known; looked at every few seconds.

    The page is drawn anew when it is there.
    """
    if making.verifying(run) is not None or not attached.evidence_path(run.store).exists():
        st.fragment(_verified_so_far, run_every=EVERY)(run)


def _verified_so_far(run: Run) -> None:
    progress = making.verifying(run)
    if progress is None:
        if attached.evidence_path(run.store).exists():
            st.rerun(scope="app")
        return
    st.html(f'<ol class="dfc-stages">{_stage(progress, False, True)}</ol>')
    rest = "" if progress.done < progress.total else "What is left of it, the judging, shows nothing before its end. "
    st.caption(rest + _heard(progress.written, f"`python -m dfc verify {run.name}` goes on"))


def _stage(progress: Progress, done: bool, current: bool) -> str:
    state, mark = ("done", "✓") if done else ("next", "→") if current else ("later", "")
    words = f"{progress.stage} · {'done' if done else 'missing' if current else 'after that'}"
    bar = ""
    if current and progress.done:
        left = "" if progress.left is None else f", about {duration(progress.left)} left"
        rate = "" if progress.rate is None else f" · {_rate(progress.rate)} {progress.unit} a second{left}"
        words = f"{count(progress.done)} of {count(progress.total)} {progress.unit}{rate}"
        bar = f'<span class="dfc-bar"><i style="width:{100 * progress.share:.1f}%"></i></span>'
    return f'<li class="{state}"><i>{mark}</i><b>{STAGE_TITLES[progress.stage]}</b><small>{words}</small>{bar}</li>'


def _heard(written: float | None, otherwise: str) -> str:
    """When something was written last, and what to do if that is long ago."""
    if written is None:
        return "Nothing has been written yet."
    ago = max(0.0, time.time() - written)
    asleep = "" if ago < SILENT else f": if it is not running any more, {otherwise}"
    return f"Something was written {duration(ago)} ago{asleep}."


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
