"""Plotly charts in the app's own look, light and dark.

Text from stores must be escaped before it becomes a hover text: plotly reads some HTML. Columns go
to plotly as arrays, which it takes as they are; of a list it looks at every number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dfc.config import PARTITIONS, SIDES, Partition, Side
from dfc.report.palette import THEMES, Theme

FONT = '"Source Sans", "Source Sans Pro", sans-serif'


def show(figure: go.Figure, key: str, alt: str) -> None:
    """Draw a chart that is looked at, without plotly's tool bar."""
    st.plotly_chart(figure, theme=None, key=f"chart_{key}", alt=alt, config={"displayModeBar": False})


def select(figure: go.Figure, key: str, alt: str, on_select: Callable[[], None]) -> None:
    """Draw a chart in which points, boxes and outlines can be selected.

    `on_select` is called when another selection was made, which it finds as `selection` of `st.session_state[key]`.
    """
    config = {"displaylogo": False, "modeBarButtonsToRemove": ["toImage", "autoScale2d"]}
    st.plotly_chart(figure, theme=None, key=key, alt=alt, on_select=on_select, config=config)


def training(lines: Sequence[dict[str, Any]], names: dict[Side, str], theme: Theme) -> go.Figure:
    """Share of variance explained in both models over the steps; held-out documents as rings."""
    frame = pd.DataFrame(lines)
    figure = empty_figure(theme, height=300)
    for side in SIDES:
        colour = THEMES[theme].hue(side).mark
        for column, held_out in ((f"fve_{side}", False), (f"held_out_fve_{side}", True)):
            if column not in frame:
                continue
            rows = frame.loc[frame[column].notna(), ["step", column]]
            style: dict[str, Any] = (
                {
                    "mode": "markers",
                    "marker": {"color": colour, "size": 8, "symbol": "circle-open", "line": {"width": 2}},
                }
                if held_out
                else {"mode": "lines", "line": {"color": colour, "width": 2}}
            )
            label = f"{escape(names[side])}{', held-out documents' if held_out else ''}"
            figure.add_scatter(
                x=rows["step"].to_numpy(np.float64),
                y=rows[column].to_numpy(np.float64),
                name=label,
                **style,
                showlegend=not held_out,
                hovertemplate=f"step %{{x:,}}: %{{y:.1%}}<extra>{label}</extra>",
            )
    figure.update_yaxes(tickformat=".0%", range=_share_range(frame), title_text="variance explained")
    figure.update_xaxes(title_text="step", tickformat=",")
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return figure


def curve(lines: Sequence[dict[str, Any]], columns: dict[str, str], theme: Theme, title: str) -> go.Figure:
    """Figures from metrics.jsonl over the steps; `columns` maps a column to its label."""
    frame = pd.DataFrame(lines)
    figure = empty_figure(theme, height=300)
    tones = {"loss": THEMES[theme].ink}
    for partition in PARTITIONS:
        tones |= dict.fromkeys((f"dead_{partition}", f"l0_{partition}"), THEMES[theme].hue(partition).mark)
    for column, label in columns.items():
        if column in frame:
            rows = frame.loc[frame[column].notna(), ["step", column]]
            figure.add_scatter(
                x=rows["step"].to_numpy(np.float64),
                y=rows[column].to_numpy(np.float64),
                name=escape(label),
                mode="lines",
                line={"color": tones.get(column, THEMES[theme].muted), "width": 2},
                hovertemplate=f"step %{{x:,}}: %{{y:.4g}}<extra>{escape(label)}</extra>",
            )
    figure.update_xaxes(title_text="step", tickformat=",")
    figure.update_yaxes(title_text=title)
    figure.update_layout(
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, showlegend=len(columns) > 1
    )
    return figure


def over_steps(
    curves: Sequence[tuple[str, str, str, pd.DataFrame]], column: str, title: str, theme: Theme, share: bool
) -> go.Figure:
    """One figure of metrics.jsonl over the steps, for several runs.

    Args:
        curves: name, colour, dash and metrics of each run.
        column: which of the metrics.
        title: of the upright axis.
        theme: of the page.
        share: whether it is a share, at most 1; a first step far below 0 would hide everything else.
    """
    figure = empty_figure(theme, height=280)
    for name, colour, dash, metrics in curves:
        if column not in metrics:
            continue
        rows = metrics.loc[metrics[column].notna(), ["step", column]]
        figure.add_scatter(
            x=rows["step"].to_numpy(np.float64),
            y=rows[column].to_numpy(np.float64),
            name=escape(name),
            mode="lines+markers" if len(rows) < 30 else "lines",
            line={"color": colour, "width": 2, "dash": dash},
            marker={"color": colour, "size": 5},
            hovertemplate=f"step %{{x:,}}: %{{y:{'.1%' if share else '.4g'}}}<extra>{escape(name)}</extra>",
        )
    if share:
        tops = [float(metrics[column].max()) for _, _, _, metrics in curves if column in metrics]
        figure.update_yaxes(range=[0.0, min(1.0, max(0.05, max(tops, default=1.0) + 0.08))], tickformat=".0%")
    figure.update_xaxes(title_text="step", tickformat=",")
    figure.update_yaxes(title_text=escape(title))
    figure.update_layout(showlegend=False, margin={"l": 48, "r": 8, "t": 8, "b": 44})
    return figure


def histogram(counts: Sequence[int], edges: Sequence[float], partition: Partition, theme: Theme) -> go.Figure:
    """How strongly a feature fires, where it fires; the bins grow in even ratios."""
    filled = [place for place, value in enumerate(counts) if value] or [0, len(counts) - 1]
    places = range(max(0, filled[0] - 1), min(len(counts), filled[-1] + 2))
    bars = {
        "type": "bar",
        "x": np.array(places),
        "y": np.array(counts[places.start : places.stop]),
        "marker": {"color": THEMES[theme].hue(partition).mark, "line": {"width": 0}},
        "customdata": np.array([f"{edges[place]:.3g} to {edges[place + 1]:.3g}" for place in places]),
        "hovertemplate": "%{y:,} pairs at %{customdata}<extra></extra>",
    }
    ticks = list(places)[:: max(1, len(places) // 4)]
    layout = {
        "xaxis": {
            "title": {"text": "activation, logarithmic"},
            "showgrid": False,
            "tickvals": [tick - 0.5 for tick in ticks],
            "ticktext": [f"{edges[tick]:.2g}" for tick in ticks],
        },
        "yaxis": {"title": {"text": "pairs"}, "nticks": 4},
        "margin": {"l": 44, "r": 4, "t": 6, "b": 38},
        "bargap": 0.08,
    }
    return figure_of(theme, 190, [bars], layout)


def logits(counts: Sequence[int], least: float, most: float, side: Side, theme: Theme) -> go.Figure:
    """How many tokens a feature moves by how much; bins of equal width from the least logit to the largest."""
    edges = np.linspace(least, most, len(counts) + 1)
    bars = {
        "type": "bar",
        "x": (edges[:-1] + edges[1:]) / 2,
        "y": np.asarray(counts),
        "width": edges[1] - edges[0],
        "marker": {"color": THEMES[theme].hue(side).mark, "line": {"width": 0}},
        "customdata": np.array([f"{low:+.2f} to {high:+.2f}" for low, high in pairwise(edges.tolist())]),
        "hovertemplate": "%{y:,} tokens at %{customdata}<extra></extra>",
    }
    up = {"title": {"text": "tokens"}, "type": "log", "dtick": 2, "range": [-0.3, np.log10(max(counts)) + 0.2]}
    layout = {
        "xaxis": {"title": {"text": "logit"}, "showgrid": False, "nticks": 6},
        "yaxis": up,
        "margin": {"l": 44, "r": 4, "t": 4, "b": 34},
        "bargap": 0,
    }
    return figure_of(theme, 130, [bars], layout)


def empty_figure(theme: Theme, height: int) -> go.Figure:
    """An empty figure in the app's look, to which traces are added."""
    return figure_of(theme, height, [], {})


def figure_of(theme: Theme, height: int, traces: Sequence[dict[str, Any]], layout: dict[str, Any]) -> go.Figure:
    """A figure in the app's look, made at once: plotly checks all of it again with every later change.

    Args:
        theme: of the page.
        height: in pixels.
        traces: as plotly has them.
        layout: what is otherwise than in the look, likewise.
    """
    return go.Figure({"data": traces, "layout": _merged(_look(theme), {"height": height, **layout})})


def _merged(look: dict[str, Any], layout: dict[str, Any]) -> dict[str, Any]:
    merged = look | layout
    for name in look.keys() & layout.keys():
        if isinstance(look[name], dict):
            merged[name] = _merged(look[name], layout[name])
    return merged


@cache
def _look(theme: Theme) -> dict[str, Any]:
    """The layout alone; never to be changed."""
    colours = THEMES[theme]
    axis = {
        "gridcolor": colours.line,
        "linecolor": colours.line,
        "zerolinecolor": colours.line,
        "zeroline": False,
        "tickfont": {"color": colours.muted, "size": 12},
        "automargin": True,
        "title": {"font": {"color": colours.muted, "size": 13}, "standoff": 8},
    }
    return {
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "color": colours.ink, "size": 13},
        "margin": {"l": 48, "r": 8, "t": 34, "b": 44},
        "hoverlabel": {"bgcolor": colours.raised, "bordercolor": colours.line, "font": {"color": colours.ink}},
        "legend": {"font": {"size": 13}},
        "xaxis": axis,
        "yaxis": axis,
    }


def _share_range(frame: pd.DataFrame) -> list[float]:
    """From 0 to a little over the highest; a first step far below 0 would hide everything else."""
    columns = [column for column in frame if "fve" in str(column)]
    top = float(frame[columns].max().max()) if columns else 1.0
    return [0.0, min(1.0, max(0.1, top + 0.08))]


def escape(text: str) -> str:
    """Text for plotly, which takes <b>, <a> and the like for markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
