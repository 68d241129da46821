"""One sweep: curves of effect against strength, a table of features, and what was written."""

from __future__ import annotations

import json
from html import escape
from typing import get_args

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dfc.config import SIDES, Side
from dfc.report.palette import THEMES, Theme
from dfc.report.tables import csv
from dfc.steering import effects
from dfc.steering.measures import Measure
from dfc.store import columns
from dfc.store.reader import FeatureQuery, Store
from dfc.store.steering import SteeringStore
from dfc.ui.shell import address, charts, data, feature_table
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

MEASURES: dict[Measure, str] = {
    "mean_promoted": "probability of the tokens it promotes",
    "mean_activation": "its own activation",
    "coverage": "share of the chosen words",
    "refusal": "refusals",
    "perplexity": "perplexity under the model left alone",
    "mean_kl": "KL from the model left alone",
    "distinct_tokens": "share of distinct tokens",
    "score": "the judge's score",
}
_DASH = {"feature": "solid", "transfer": "dashdot", "random": "dot"}
_SHOWN = [
    "side",
    "feature_id",
    "direction",
    "strength",
    "prompt",
    "text",
    "perplexity",
    "mean_kl",
    "coverage",
    "refusal",
]


def show(
    view: View, store: SteeringStore, sweep_id: str, title: str, scored_by: str | None, names: dict[Side, str]
) -> None:
    """Draw the sweep; `scored_by` is the judge as it is kept with it."""
    outputs = store.outputs(sweep_id)
    st.markdown(f"**{plain(title)}**")
    if outputs.empty:
        st.html('<p class="dfc-muted">Nothing was written.</p>')
        return
    there = [name for name in get_args(Measure) if outputs[name].notna().any()]
    features = [int(feature) for feature in outputs["feature_id"].drop_duplicates()]
    with st.container(horizontal=True, gap="medium"):
        measure: Measure = st.selectbox(
            "Measure", there, format_func=MEASURES.__getitem__, key="sweep_measure", width=340
        )
        by_effect = effects.table(outputs, measure)
        ranked = [int(feature) for feature in by_effect["feature_id"].drop_duplicates()] or features
        feature = ranked[0]
        if len(ranked) > 1:
            feature = st.selectbox("Curves of feature", ranked, key=f"curve_of_{sweep_id}", width=160)
    along = effects.curves(outputs, measure)
    figure = curves(along[along["feature_id"] == feature], MEASURES[measure], names, view.theme)
    charts.show(figure, "sweep", f"{MEASURES[measure]} of feature {feature} against strength")
    lines = {"random": "; dots: a random direction of equal norm", "transfer": "; dash-dots: a transfer"}
    there_too = "".join(words for direction, words in lines.items() if (along["direction"] == direction).any())
    st.html(f'<div class="dfc-small">Means over prompts with 95 % bootstrap intervals{there_too}.</div>')
    if measure == "score" and scored_by is not None:
        judge = json.loads(scored_by)
        st.html(
            f'<div class="dfc-small">Scored from 0 to 10 by {escape(judge["model"])} for: '
            f"{escape(judge['criterion'])}</div>"
        )
    _features(view, by_effect, measure, sweep_id)
    with st.expander(f"All {len(outputs)} answers", icon=":material/notes:"):
        apart = outputs.assign(side=outputs["side"].str.upper(), text=outputs["answer"].fillna(outputs["text"]))
        thinks = ["reasoning"] if outputs["reasoning"].fillna("").any() else []
        shown = apart[[*_SHOWN, *thinks, *(["score"] if "score" in there else [])]]
        st.dataframe(
            shown,
            hide_index=True,
            column_config={
                "feature_id": st.column_config.NumberColumn("feature", width=70),
                "text": st.column_config.TextColumn("answer", width=420),
                "reasoning": st.column_config.TextColumn("what it thinks before", width=200),
                "prompt": st.column_config.TextColumn("prompt", width=160),
                "perplexity": st.column_config.NumberColumn(format="%.3g"),
                "mean_kl": st.column_config.NumberColumn("KL", format="%.3g"),
                "coverage": st.column_config.NumberColumn("words", format="percent"),
            },
            key=f"answers_{sweep_id}",
            alt="Answers of the sweep, one a row",
        )
        _download("Download the answers", outputs, f"{view.run.name}-answers-{sweep_id[:12]}.csv", "download_answers")


def curves(along: pd.DataFrame, title: str, names: dict[Side, str], theme: Theme) -> go.Figure:
    """A measure's mean against strength with its interval, for each model and direction.

    Args:
        along: rows of `effects.curves`, of one feature.
        title: of the upright axis.
        names: of the models.
        theme: of the page.
    """
    figure = charts.empty_figure(theme, height=320)
    for side in SIDES:
        colour = THEMES[theme].hue(side).mark
        for (mode, direction), rows in along[along["side"] == side].groupby(["mode", "direction"]):
            label = charts.escape(f"{names[side]}, {direction}" + ("" if mode == "add" else f" ({mode})"))
            tone = THEMES[theme].muted if direction == "random" else colour
            figure.add_scatter(
                x=rows["strength"].tolist(),
                y=rows["mean"].tolist(),
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": (rows["high"] - rows["mean"]).tolist(),
                    "arrayminus": (rows["mean"] - rows["low"]).tolist(),
                    "color": tone,
                    "thickness": 1.2,
                    "width": 3,
                },
                name=label,
                mode="lines+markers",
                line={"color": colour, "width": 2 if direction != "random" else 1.2, "dash": _DASH[str(direction)]},
                marker={"color": tone, "size": 6},
                hovertemplate=f"strength %{{x:g}}: %{{y:.4g}}<extra>{label}</extra>",
            )
    figure.update_xaxes(title_text="strength")
    figure.update_yaxes(title_text=charts.escape(title))
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, showlegend=True)
    return figure


def described(store: Store, table: pd.DataFrame) -> pd.DataFrame:
    """A table of features with their label and peak tokens after their number; both empty where the run has none.

    Args:
        store: of the run.
        table: with a column feature_id.
    """
    features = table["feature_id"].tolist()
    query = FeatureQuery(alive_only=False, ids=tuple(sorted(set(features))), limit=len(features))
    known = data.features(store, query).set_index("feature_id")
    labels, peaks = known["label"].to_dict(), known["peak_tokens"].to_dict()
    told = table.copy()
    after = list(table).index("feature_id") + 1
    told.insert(after, "label", [labels.get(feature, "") for feature in features])
    told.insert(after + 1, "peak_tokens", [list(peaks.get(feature, ())) for feature in features])
    return told


def _download(label: str, rows: pd.DataFrame, name: str, key: str) -> None:
    st.download_button(
        label,
        data=lambda: csv(rows),
        file_name=name,
        mime="text/csv",
        icon=":material/download:",
        key=key,
        type="tertiary",
        on_click="ignore",
    )


def _features(view: View, table: pd.DataFrame, measure: Measure, sweep_id: str) -> None:
    """The largest effect of each feature, and what the feature is; a click opens it."""
    if table.empty:
        return
    table = described(view.store, table)
    shown = table.assign(side=table["side"].str.upper(), peak_tokens=feature_table.peaks(table["peak_tokens"]))
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    event = st.dataframe(
        shown,
        hide_index=True,
        column_config={
            "side": text("model", width=60),
            "feature_id": number("feature", width=70, help="Click a row to open it."),
            "label": text("label", width=120, help=columns.meaning("label")) if table["label"].any() else None,
            "peak_tokens": st.column_config.ListColumn("peaks on", width=150, help=columns.meaning("peak_tokens")),
            "effect": number(format="%.4g", help="Largest change of the mean from the model left alone."),
            "effect_low": number("from", format="%.4g"),
            "effect_high": number("to", format="%.4g"),
            "monotone": number(format="%.2f", help="Rank correlation of strength and mean; 1: it only rises."),
            "perplexity": number(format="%.3g", help="Of the texts there, under the model left alone."),
        },
        on_select="rerun",
        selection_mode="single-cell",
        key=f"effects_{sweep_id}",
        alt="Largest effect of each feature; click a row to open it",
    )
    name = f"{view.run.name}-effects-{sweep_id[:12]}.csv"
    _download("Download the table", table.assign(measure=measure), name, "download_effects")
    if cells := event.selection.cells if event else []:
        chosen = int(table["feature_id"].iloc[int(cells[0][0])])
        st.switch_page(address.FEATURE_PAGE, query_params=address.feature_params(view.run.name, chosen))
