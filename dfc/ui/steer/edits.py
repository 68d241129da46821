"""The list of edits on the Steer page: which features, in which model, how and how strongly."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import streamlit as st
from safetensors import SafetensorError, safe_open

from dfc.config import Side, UserError, opposite
from dfc.report import findings
from dfc.runs import Run
from dfc.store.reader import FeatureRow, Store
from dfc.ui.shell import address, links
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import partition_badge
from dfc.ui.shell.text import chips, number, plain, sentence
from dfc.ui.steer import edit_address, finding, propose
from dfc.ui.steer.edit_address import MODES, STRENGTH, WHERES, Row

_WIDTHS = [3.1, 2.3, 2.5, 2.6, 4.4, 1.9]
_HELP = {
    "feature": "The number of a feature in this run's dictionary.",
    "sides": "Which model is steered. A feature that only the other model has is carried over by a linear map between "
    "the two streams, the stitch: a transfer.",
    "mode": "Add: push along the feature's direction. Hold at: keep its activation at a value. Remove: take away what "
    "it contributes. Add where it fires: push only at tokens on which it is active above a threshold.",
    "where": "At which tokens.",
    "strength": "In multiples of the feature's strongest activation on the corpus. 0 changes nothing, negative pushes "
    "away. 1 to 4 is usual; far beyond, the model falls apart.",
    "threshold": "In multiples of its strongest activation on the corpus.",
}


@dataclass(frozen=True)
class Known:
    """A row with what the run knows of its feature, and why it cannot be used."""

    row: Row
    feature: FeatureRow | None = None
    problem: str | None = None
    transfer: tuple[Side, float] | None = None
    """Into which model it is carried over, and the stitch's R²."""


def rows(view: View) -> tuple[Row, ...]:
    """The edits in the address; where it names none, those that this session had here last.

    Raises:
        UserError: if the address cannot be understood.
    """
    address.come_back(view.run.name, *edit_address.NAMES)
    identity = address.feature_id() if address.get("edits") is None and address.get("side") is None else None
    own: dict[int, Side] = {}
    if identity is not None:
        with suppress(UserError):  # of a feature that there is not, the row says so
            own[identity] = findings.own_side(view.store, view.store.feature(identity))
    return edit_address.rows(own)


def show(view: View, rows: Sequence[Row], names: dict[Side, str]) -> list[Known]:
    """Draw the list; what each row is, in its order."""
    listed = list(rows) or [Row()]
    known_rows = [known(view, row) for row in listed]
    for place, one in enumerate(known_rows):
        with st.container(key=f"edit_{place}", gap="xsmall"):
            _row(view, listed, place, one)
            _about(view, listed, place, one, names)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Add a feature",
            icon=":material/add:",
            key="add_edit",
            on_click=edit_address.write,
            args=([*listed, Row(sides=listed[-1].sides)],),
            disabled=len(listed) >= 12 or listed[-1].feature is None,
            help="Steer with several at once: what they add is summed.",
        )
    return known_rows


def known(view: View, row: Row) -> Known:
    """What the run says of a row: its feature, and whether it can be done."""
    if row.feature is None:
        return Known(row)
    try:
        feature = view.store.feature(row.feature)
    except UserError as error:
        return Known(row, problem=str(error))
    if feature.max <= 0:
        return Known(
            row,
            feature,
            f"Feature {row.feature} is dead: it never fired on the corpus, so there is no activation to measure a "
            f"strength by. Choose one that is alive.",
        )
    if feature.partition == "shared" or row.sides == feature.partition:
        return Known(row, feature)
    origin = feature.partition
    into = opposite(origin)
    if row.mode != "add":
        return Known(
            row,
            feature,
            f"Feature {row.feature} is exclusive to {origin.upper()} and cannot be read in {into.upper()}: there it "
            f"can only be added. Choose “{MODES['add']}”.",
        )
    quality = transfer_quality(view.run, origin)
    if quality is None:
        return Known(
            row,
            feature,
            f"Feature {row.feature} is exclusive to {origin.upper()}, and this run has no stitch to carry it over to "
            f"{into.upper()} yet. Make it with `python -m dfc verify {view.run.name}`, or choose model "
            f"{origin.upper()}.",
        )
    return Known(row, feature, transfer=(into, quality))


def transfer_quality(run: Run, origin: Side) -> float | None:
    """Held-out R² of the stitch out of a model; None where there is none that can be read."""
    path = run.stitch
    return _quality(str(path), path.stat().st_mtime_ns, origin) if path.exists() else None


@st.cache_data(max_entries=16, show_spinner=False)
def _quality(path: str, stamp: int, origin: Side) -> float | None:
    try:
        with safe_open(Path(path), framework="numpy") as content:
            return float(content.get_tensor("r2_a_to_b" if origin == "a" else "r2_b_to_a"))
    except (SafetensorError, OSError):
        return None


def _row(view: View, listed: list[Row], place: int, one: Known) -> None:
    row, first = one.row, place == 0
    label: Any = "visible" if first else "collapsed"
    widths = list(_WIDTHS)
    if row.mode == "conditional":
        widths[4:5] = [3.0, 1.9]
    columns = iter(st.columns(widths, gap="small", vertical_alignment="bottom"))

    def widget(name: str, value: object) -> dict[str, Any]:
        """Arguments of a widget that shows a field of the row, and writes it back to the address."""
        key = f"edit_{place}_{name}"
        st.session_state[key] = value
        return {
            "key": key,
            "help": _HELP[name] if first else None,
            "label_visibility": label,
            "on_change": _change,
            "args": (view.store, listed, place, name, key),
        }

    next(columns).number_input(
        "Feature", min_value=0, step=1, value=None, placeholder="number", **widget("feature", row.feature)
    )
    next(columns).selectbox(
        "Model", _sides(one), format_func=lambda sides: _sides_title(sides, one), **widget("sides", row.sides)
    )
    next(columns).selectbox("Mode", list(MODES), format_func=MODES.__getitem__, **widget("mode", row.mode))
    next(columns).selectbox("Where", list(WHERES), format_func=WHERES.__getitem__, **widget("where", row.where))
    end = max(STRENGTH, abs(row.strength))
    next(columns).slider(
        "Strength", -end, end, step=0.5, disabled=row.mode == "ablate", **widget("strength", row.strength)
    )
    if row.mode == "conditional":
        next(columns).number_input("Above", step=0.05, **widget("threshold", row.threshold))
    next(columns).button(
        "Remove",
        icon=":material/close:",
        key=f"remove_{place}",
        type="tertiary",
        help="Take this edit away.",
        on_click=_remove,
        args=(listed, place),
        disabled=len(listed) == 1 and row == Row(),
    )


def _sides(one: Known) -> list[str]:
    shared = one.feature is None or one.feature.partition == "shared"
    return ["a", "b", "ab"] if shared or one.row.sides == "ab" else ["a", "b"]


def _sides_title(sides: str, one: Known) -> str:
    if sides == "ab":
        return "both"
    own = one.feature is None or one.feature.partition in ("shared", sides)
    return sides.upper() if own else f"{sides.upper()}, transfer"


def _about(view: View, listed: list[Row], place: int, one: Known, names: dict[Side, str]) -> None:
    """What the feature is, and whether it can be used; below the row."""
    if one.feature is None:
        finding.offer(view, listed, place)
    if one.feature is not None:
        feature = one.feature
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.html(
                f'<div class="dfc-{feature.partition}">{partition_badge(feature.partition, names)}'
                f'<span class="dfc-small">&ensp;strongest activation {number(feature.max)}&ensp;</span>'
                f"{chips(feature.peak_tokens)}</div>",
                width="content",
            )
            links.feature(view.run.name, feature.feature_id, f"Open feature {feature.feature_id}")
            finding.offer(view, listed, place)
            if one.problem is None and one.row.mode != "ablate":
                propose.button(view, place)
    if one.transfer is not None:
        into, quality = one.transfer
        st.html(
            f'<div class="dfc-small">A transfer: only {escape(names[opposite(into)])} has feature {one.row.feature}; '
            f"the stitch carries its direction over to {escape(names[into])}, and explains {quality:.0%} of that "
            f"model’s variance on held-out documents (R² {quality:.2f}).</div>"
        )
    if one.problem is not None:
        st.warning(plain(sentence(one.problem)), icon=":material/block:")
    propose.show(view, listed, place, names)


def _change(store: Store, listed: list[Row], place: int, name: str, key: str) -> None:
    value = st.session_state[key]
    if name == "feature" and value is not None:
        finding.choose(store, listed, place, int(value))
        return
    changed: dict[str, Any] = {name: value}
    edit_address.put(listed, place, replace(listed[place], **changed))


def _remove(listed: list[Row], place: int) -> None:
    edit_address.write([row for at, row in enumerate(listed) if at != place])
