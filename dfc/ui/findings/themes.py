"""The findings of both models by what they are about: a picture of them, and a theme's findings unfolded under it."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from dfc.config import PARTITIONS, SIDES, Side
from dfc.report.findings import Finding
from dfc.report.heatmap import called
from dfc.report.palette import THEMES, Theme, run_marks
from dfc.screen import clusters, encoders, themes
from dfc.screen.themes import Themes
from dfc.store import attached
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import address, charts, choice, data, finding_rows, list_address
from dfc.ui.shell.address import Place
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

Colouring = Literal["model", "theme"]
MOST = 100
"""Findings of a theme that are listed."""
_COLOURS: dict[Colouring, str] = {"model": "model", "theme": "theme"}
_THEME = "theme"  # in the address: the number of the most central finding of the theme that is unfolded
_PICTURE, _CLICKED = "chart_themes", "theme_clicked"


def show(view: View, found: tuple[Finding, ...], names: dict[Side, str]) -> None:
    """Draw the themes; the command that makes them possible where what features mean is not known."""
    if (clicked := st.session_state.pop(_CLICKED, None)) is not None:
        st.switch_page(address.FEATURE_PAGE, query_params=address.feature_params(view.run.name, clicked, None))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        number = st.number_input(
            "Themes",
            1,
            clusters.MOST,
            None,
            1,
            placeholder="as many as are most clearly apart",
            key="themes",
            bind="query-params",
            width=280,
            help="How many; without a number as many, up to 40, as have the highest mean silhouette. Ask for more to "
            "see finer ones.",
        )
        colouring = choice.one_of("Colour by", _COLOURS, "theme_colour")
    made = _made(str(view.store.path), attached.stamp(view.store.path), number)
    if made is None:
        st.info(encoders.lacking(view.store.path, {}, view.run.name), icon=":material/hub:")
        return
    keys = {theme.key for theme in made.themes}
    unfolded = address.meant(_THEME, lambda text: key if (key := address.whole(text)) in keys else None)
    if made.places:
        figure = _picture(made, colouring, names, view.theme, unfolded)
        charts.select(figure, _PICTURE, "Picture of the findings by what they are about", _click)
        st.caption(plain(f"A point is a finding; click one to open it. {themes.picture_in_words(made)}"))
    longest = finding_rows.scale(found)
    for theme in made.themes:
        with st.container(key=f"theme_{theme.key}", gap="xxsmall"):
            st.html(_head(theme, names))
            st.button(
                f"{len(theme.findings):,} {'finding' if len(theme.findings) == 1 else 'findings'}",
                icon=":material/unfold_less:" if unfolded == theme.key else ":material/unfold_more:",
                type="tertiary",
                key=f"unfold_theme_{theme.key}",
                on_click=_unfold,
                args=(None if unfolded == theme.key else theme.key,),
                help="The most central ones first.",
            )
            if unfolded == theme.key:
                _members(view, theme.findings, longest)
    st.caption(plain(f"{themes.apart_in_words(made)} {_RULE}"))


_RULE = (
    "Findings are alike if what their best features' strongest contexts are about is alike, as a small encoder reads "
    "it that is neither of the models. A theme is named by words only if these tell further contexts of its findings, "
    "in documents from which no word was taken, from those of all others with an AUROC of 0.7 at least."
)


def _head(theme: themes.Theme, names: dict[Side, str]) -> str:
    """What a theme is called, how many findings of each model it holds, and of which sources, as HTML."""
    return (
        f'<h3 class="dfc-side">{escape(called(theme.name))}</h3>'
        f'<div class="dfc-claim">{escape(theme.counted(names))}</div>'
        f'<div class="dfc-small">densest on {escape(theme.sources)} · {escape(theme.named_by)}</div>'
    )


def _members(view: View, listed: tuple[Finding, ...], longest: float) -> None:
    """A theme's findings, a link and a line each."""
    shown = listed[:MOST]
    ids = tuple(one.feature_id for one in shown)
    rows: Any = data.features(view.store, FeatureQuery(PARTITIONS, alive_only=False, ids=ids, limit=MOST)).itertuples()
    by_feature = {int(row.feature_id): row for row in rows}
    contexts = view.store.strongest_contexts(list(ids))
    for one in shown:
        query = FeatureQuery(PARTITIONS, found=one.side, order=list_address.FIRST, descending=False)
        place = Place(query, one.rank - 1, beside=True)
        finding_rows.brief(view, one, by_feature[one.feature_id], contexts.get(one.feature_id), place, longest)
    if len(listed) > MOST:
        st.caption(f"The first {MOST} of {len(listed):,}; the others are in the list of findings.")


def _picture(
    made: Themes, colouring: Colouring, names: dict[Side, str], theme: Theme, unfolded: int | None
) -> go.Figure:
    """A point for each finding, those of the theme that is unfolded strong, and its middle named."""
    figure = charts.empty_figure(theme, height=460)
    for name, colour, shown in _groups(made, colouring, names, theme):
        strong = [place for place, one in enumerate(shown) if made.of_finding[one.finding].key == unfolded]
        figure.add_scattergl(
            x=np.array([made.places[one.finding][0] for one in shown]),
            y=np.array([made.places[one.finding][1] for one in shown]),
            mode="markers",
            name=charts.escape(name),
            customdata=[[one.feature_id] for one in shown],  # of an array Streamlit would give a mapping
            text=np.array([_said(one, made, names) for one in shown], str),
            marker={"size": 9, "color": colour, "line": {"width": 0}},
            hovertemplate="%{text}<extra></extra>",
            selectedpoints=None if unfolded is None else strong,
        )
    figure.update_layout(
        legend={"orientation": "h", "y": 0, "yref": "container", "yanchor": "bottom", "x": 0},
        showlegend=True,
        hovermode="closest",
        dragmode="pan",
        margin={"l": 8, "r": 8, "t": 30, "b": 70},
    )
    axis = {"showticklabels": False, "showgrid": False, "zeroline": False, "showline": False}
    figure.update_xaxes(**axis)
    figure.update_yaxes(**axis, scaleanchor="x")  # distances are the same either way
    return figure


def _groups(
    made: Themes, colouring: Colouring, names: dict[Side, str], theme: Theme
) -> list[tuple[str, str, list[Finding]]]:
    """What is drawn in one colour: its name, the colour, its findings."""
    placed = [one for theme_ in made.themes for one in theme_.findings]
    if colouring == "model":
        groups = [(names[side], THEMES[theme].hue(side).mark, [o for o in placed if o.side == side]) for side in SIDES]
    else:
        marks = run_marks(theme)
        groups = [
            (called(one.name), colour, list(one.findings)) for one, colour in zip(made.themes, marks, strict=False)
        ]
        rest = [one for theme_ in made.themes[len(marks) :] for one in theme_.findings]
        groups.append((f"{max(0, len(made.themes) - len(marks))} smaller themes", THEMES[theme].muted, rest))
    return [group for group in groups if group[2]]


def _said(one: Finding, made: Themes, names: dict[Side, str]) -> str:
    """What is said of a point: nothing in it is markup."""
    theme = called(made.of_finding[one.finding].name)
    words = f"{one.rank} of {names[one.side]}: {called(one.label)}"
    return f"{charts.escape(words[:90])}<br>theme: {charts.escape(theme[:90])}"


def _click() -> None:
    """Keep which finding was clicked; a callback may not change the page."""
    points = [point for point in st.session_state[_PICTURE].selection.get("points", []) if "customdata" in point]
    if len(points) == 1:
        [st.session_state[_CLICKED]] = points[0]["customdata"]


def _unfold(key: int | None) -> None:
    if key is None:
        st.query_params.pop(_THEME, None)
    else:
        st.query_params[_THEME] = str(key)


@st.cache_data(max_entries=16, show_spinner="Grouping the findings …")
def _made(path: str, stamp: object, number: int | None) -> Themes | None:
    return themes.of(Store(Path(path)), number)
