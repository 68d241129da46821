"""What judges and people say of features, in words: plain text, with nothing hidden in it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dfc.config import characters
from dfc.store.explanations import HOLDS, NOTHING, Explanation, Said, Told

BY_JUDGE = (
    "What a language model made of half of the strongest contexts. The other half, and as many texts in which the "
    f"feature does not fire, were told apart by it: the detection. From {HOLDS} on it stands as the label, unless a "
    "person gave one."
)
"""What an explanation is."""


def author(one: Explanation | Said) -> str:
    """Who says it, and when: `Qwen3-8B, a judge, 2026-11-30`."""
    kind = ", a judge" if one.origin == "judge" else ""
    return f"{characters.shown(one.who)}{kind}, {one.written[:10]}"


def source(one: Explanation) -> str:
    """Who says it and when, and how well it was told by: nobody tests what a person says."""
    tested = one.detection.words if one.detection else "" if one.origin == "person" else "not tested"
    return "; ".join(filter(None, (author(one), tested)))


def explained(one: Explanation) -> str:
    """An explanation, who says it, and how well it was told by."""
    return f"{characters.shown(one.text)} ({source(one)})"


def named(one: Said) -> str:
    """A flag, why it applies, and who says so."""
    reason = f": {characters.shown(one.reason)}" if one.reason else ""
    return f"{characters.shown(one.flag)}{reason} ({author(one)})"


def lines(told: Told) -> list[str]:
    """All that is said of a feature and holds, a line each."""
    return [*map(explained, told.explanations), *(f"flag {named(one)}" for one in told.applying)]


def plain(told: Told | None) -> dict[str, Any]:
    """The same as plain values."""
    told = told or NOTHING
    return {
        "explanations": [asdict(one) | {"is_label": one is told.label} for one in told.explanations],
        "flags_named": [asdict(one) for one in told.applying],
    }
