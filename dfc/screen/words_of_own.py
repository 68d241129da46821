"""What is said of the texts that models wrote themselves; knows no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfc.config import SIDES


def own_words_in_words(facts: Mapping[str, Any]) -> list[str]:
    """How many beginnings and continuations there are, and what was left out, as sentences."""
    if not facts:
        return []
    asked, said = facts["asked"], []
    whence = f"from {asked['prompts']}" if asked["prompts"] else "drawn from the corpus"
    fewer = f" of {asked['beginnings']:,} asked for" if facts["beginnings"] < asked["beginnings"] else ""
    said.append(
        f"{facts['beginnings']:,} beginnings{fewer}, {whence}; at most {asked['tokens']:,} tokens each, seed "
        f"{asked['seed']}."
    )
    groups = {"beginnings": facts["left_out_beginnings"]} | {
        f"continuations of {side.upper()}": facts["left_out"][side] for side in SIDES
    }
    for what, counted in groups.items():
        if counted:
            reasons = ", ".join(f"{number:,} {reason}" for reason, number in counted.items())
            said.append(f"Left out of the {what}: {reasons}.")
    return [*said, *facts["remarks"]]
