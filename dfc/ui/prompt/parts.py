"""What the Prompt page shows of one text as of two: the coloured strips, filters, the chosen feature."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from dfc.config import SIDES, VERDICTS, Partition, Side
from dfc.report.heatmap import Hue, side_of
from dfc.report.words import PARTS, VERDICT_HELP, percent
from dfc.store.reader import Context, FeatureRow
from dfc.ui.prompt import listing, nats, reader, token_strips
from dfc.ui.prompt.listing import Filters
from dfc.ui.prompt.nats import Colour
from dfc.ui.prompt.token_strips import Span
from dfc.ui.shell import address, choice, gap_key, links
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import partition_badge
from dfc.ui.shell.text import chips, number, one_in

if TYPE_CHECKING:
    from dfc.features.expected import Expected
    from dfc.features.live import Reading


def filters(view: View) -> Filters:
    """Which features are listed, as chosen above the text; in the address."""
    shown = choice.several_of(
        "Features",
        PARTS,
        "in",
        SIDES,
        help="Whose features are listed. Shared ones fire on nearly everything, so they are left out at first.",
    )
    verdict = st.selectbox(
        "Verdict",
        VERDICTS,
        index=None,
        placeholder="any",
        key="verdict",
        bind="query-params",
        width=180,
        help="What the evidence says of the feature. " + " ".join(f"{v}: {VERDICT_HELP[v]}" for v in VERDICTS),
    )
    return Filters(shown, verdict)


def chosen_feature(view: View) -> FeatureRow | None:
    """The feature in the address.

    Raises:
        UserError: if the run has no such feature.
    """
    identity = address.feature_id()
    return None if identity is None else view.store.feature(identity)


def strips(
    view: View,
    reading: Reading,
    known: pd.DataFrame,
    chosen: Filters,
    feature: FeatureRow | None,
    key: str,
    span: Span | None,
    colour: Colour = "features",
    expected: Expected | None = None,
) -> str:
    """The text in both tokenisations, coloured by one feature or by the strongest of those listed; returns a key.

    Or by `colour`, where it is known how well the text was expected.
    """
    names = model_names(view.config)
    notes = {side: nats.notes(reading, side, expected) for side in SIDES}
    if expected is not None and colour != "features":
        by_nats = nats.shown(reading, expected, colour)
        meaning = "coloured by its nats" if colour == "nats" else "coloured by which model expects the text better"
        titles = {side: token_strips.title(side, names[side], meaning) for side in SIDES}
        token_strips.show(reading, by_nats, titles, notes, key, span)
        top = by_nats["a"][1]
        return nats.key(view, top) if colour == "nats" else gap_key.key(view, top)
    shown: dict[Side, tuple[Context, float, Hue]] = {}
    partitions: set[Partition] = set()
    titles = {}
    for side in SIDES:
        if feature is not None:
            shown[side] = reading.context(feature.feature_id), feature.max, feature.partition
            partitions.add(feature.partition)
            meaning = ""
        else:
            partition: Partition = side if side in chosen.partitions or "shared" not in chosen.partitions else "shared"
            values = reader.outline(reading, known, partition)
            shown[side] = reading.spread(values), 1.0, partition
            partitions.add(partition)
            meaning = f"coloured by the strongest {'of its own features' if partition == side else 'shared feature'}"
        titles[side] = token_strips.title(side, names[side], meaning)
    token_strips.show(reading, shown, titles, notes, key, span)
    return listing.key(view, sorted(partitions), feature)


def about(view: View, feature: FeatureRow, known: pd.DataFrame) -> None:
    """The chosen feature in a line: what it is on the corpus, how it fires here, and where to go from it."""
    names = model_names(view.config)
    mine = known[known["feature_id"] == feature.feature_id]
    here = (
        f"fires here up to {number(float(mine['max'].iloc[0]))}, {percent(float(mine['share'].iloc[0]), 2)} of its "
        "strongest"
        if len(mine)
        else "is silent here"
    )
    called = f" · {escape(feature.label)}" if feature.label else ""
    evidence = view.store.evidence(feature.feature_id)
    verdict = f" · {evidence.verdict}, evidence score {number(evidence.confidence)}" if evidence else ""
    st.html(
        f'<div class="dfc-model dfc-{feature.partition} dfc-chosen"><h3>Feature {feature.feature_id}{called} '
        f"{partition_badge(feature.partition, names)}</h3><div>{chips(feature.peak_tokens)}</div>"
        f'<div class="dfc-small">{here} · on the corpus {one_in(feature.density)}, up to {number(feature.max)}, '
        f"mostly {escape(feature.main_source or 'nowhere')}{verdict}</div></div>"
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        links.feature(view.run.name, feature.feature_id, "Open the feature")
        links.steer(view, feature.feature_id, side_of(feature.partition, evidence))
        st.button("Clear", icon=":material/close:", key="clear_feature", on_click=_clear)


def _clear() -> None:
    st.query_params.pop("feature", None)
