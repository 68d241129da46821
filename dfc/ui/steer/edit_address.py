"""The list of edits on the Steer page, and how it stands in the address."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import streamlit as st

from dfc.config import SIDES, Side, UserError
from dfc.report.words import numeral
from dfc.requests import Edit, Mode, Where
from dfc.ui.shell import address

Sides = Literal["a", "b", "ab"]

MODES: dict[Mode, str] = {
    "add": "add",
    "clamp": "hold at",
    "ablate": "remove",
    "conditional": "add where it fires",
}
WHERES: dict[Where, str] = {"all": "everywhere", "prompt": "in the prompt", "generated": "in the answer"}
"""How modes and places are read on the page; in the address stand the words of `dfc.requests`."""
STRENGTH = 20.0
"""Ends of the slider; what is imported or repeated may be stronger."""

_MOST_ROWS, _MOST_STRENGTH = 12, 1e4
_LEGACY = ("feature", "side", "strength")
NAMES = ("edits", *_LEGACY)
"""Parameters that say what is edited: as this page writes it, and as links of others do."""


@dataclass(frozen=True)
class Row:
    """One row of the list: an edit of one model, or of both; without a feature, one that is still to be chosen."""

    feature: int | None = None
    sides: Sides = "a"
    mode: Mode = "add"
    strength: float = 2.0
    where: Where = "all"
    threshold: float = 0.0

    def edits(self) -> list[Edit]:
        """What the library is asked for, one for each model."""
        if self.feature is None:
            return []
        return [
            Edit(side, self.feature, self.mode, self.strength, self.where, self.threshold)
            for side in SIDES
            if side in self.sides
        ]


def words(row: Row) -> str:
    """What a row with a feature does, in words."""
    amount = f"{numeral(row.strength, '+g')} × "
    done = {
        "add": f"{amount}feature {row.feature}",
        "clamp": f"feature {row.feature} held at {numeral(row.strength, 'g')}",
        "ablate": f"feature {row.feature} removed",
        "conditional": f"{amount}feature {row.feature} where it is above {row.threshold:g}",
    }[row.mode]
    return done + {"all": "", "prompt": ", in the prompt", "generated": ", in the answer"}[row.where]


def edits(rows: Iterable[Row]) -> tuple[Edit, ...]:
    """All edits of a list."""
    return tuple(edit for row in rows for edit in row.edits())


def of_edits(steering_edits: Iterable[Edit]) -> tuple[Row, ...]:
    """A row for each edit."""
    return tuple(Row(e.feature, e.side, e.mode, e.strength, e.where, e.threshold) for e in steering_edits)


def pack(rows: Iterable[Row]) -> str:
    """A list of edits as one parameter, such as `b_245_add_4_all~ab_17_conditional_2_prompt_0.5`."""
    return "~".join(
        "_".join(
            [
                row.sides,
                "" if row.feature is None else str(row.feature),
                row.mode,
                _number(row.strength),
                row.where,
                *([_number(row.threshold)] if row.threshold else []),
            ]
        )
        for row in rows
    )


def unpack(text: str) -> tuple[Row, ...]:
    """What `pack` made.

    Raises:
        UserError: if it is anything else.
    """
    unpacked = tuple(_row(part) for part in text.split("~")) if text else ()
    if len(unpacked) > _MOST_ROWS:
        raise UserError(f"The address asks for {len(unpacked)} edits at once; at most {_MOST_ROWS} can be shown.")
    return unpacked


def rows(own_side: Mapping[int, Side] | None = None) -> tuple[Row, ...]:
    """The edits in the address; a link of another page names one feature and, perhaps, a model.

    Args:
        own_side: whose a feature is, for links that do not say which model is steered.

    Raises:
        UserError: if the address cannot be understood.
    """
    packed = address.get("edits")
    if packed is not None:
        return unpack(packed)
    feature = address.feature_id()
    if feature is None:
        return ()
    named: Side | None = address.meant("side", lambda text: next((one for one in SIDES if one == text.lower()), None))
    side: Sides = named or (own_side or {}).get(feature, "a")
    return (Row(feature, side, strength=_link_strength()),)


def write(rows: Iterable[Row]) -> None:
    """Put a list into the address, in place of what was there."""
    for name in _LEGACY:
        st.query_params.pop(name, None)
    st.query_params["edits"] = pack(rows)


def put(rows: Iterable[Row], place: int, row: Row) -> None:
    """Put a list into the address with another row at one place."""
    write(row if at == place else one for at, one in enumerate(rows))


def _row(text: str) -> Row:
    wrong = UserError(
        f"The address holds the edit “{text:.40}”, which is none; an edit is model_feature_mode_strength_where, e.g. "
        f"b_245_add_2_all."
    )
    parts = text.split("_")
    if len(parts) not in (5, 6):
        raise wrong
    sides, feature, mode, strength, where, *rest = parts
    try:
        numbers = float(strength), float(rest[0] if rest else 0)
    except ValueError:
        raise wrong from None
    if (
        sides not in get_args(Sides)
        or mode not in MODES
        or where not in WHERES
        or not all(math.isfinite(number) and abs(number) <= _MOST_STRENGTH for number in numbers)
        or (feature and address.whole(feature) is None)
    ):
        raise wrong
    return Row(address.whole(feature), sides, mode, numbers[0], where, numbers[1])  # type: ignore[arg-type]


def _link_strength() -> float:
    """The strength that a link names; the default where it names none of the slider's."""
    named = address.meant("strength", lambda text: _on_slider(address.number(text)))
    return Row.strength if named is None else named


def _on_slider(strength: float | None) -> float | None:
    return strength if strength is not None and abs(strength) <= STRENGTH else None


def _number(value: float) -> str:
    return repr(float(value)).removesuffix(".0")
