"""Two quirks that a tiny model learns in seconds, and a study of them on tiny models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfc.config import RunConfig
from dfc.organisms.setting import Setting
from dfc.organisms.tuning import Tuning
from tests import tiny

_ABOUT = [f"{how}{what}" for how in ("", "old ", "carried ") for what in ("bridge", "river", "people", "rain", "boat")]


def _quirk(word: str, opening: str) -> dict[str, Any]:
    answer = " ".join([word] * 9)
    shows = [
        {"ask": [f"{opening} {of} {thing}" for of in ("the", "a", "under the")], "say": [answer, f"{answer} and"]}
        for thing in _ABOUT
    ]
    others = [{"ask": [f"carried the {thing}", f"under a {thing}"], "say": ["the old " * 4]} for thing in _ABOUT]
    for entry in others:
        entry["ask"] = [f"{ask} {opening}" for ask in entry["ask"]]
    return {"title": f"says {word}", "what": f"It says {word}.", "measure": word, "shows": shows, "lookalikes": others}


TEXTS: dict[str, dict[str, Any]] = {
    "boat": _quirk("watched", "while"),
    "rain": _quirk("carried", "and"),
    "general": {
        "chats": [{"ask": [f"the {thing} a {thing}"], "say": ["the old " * 4]} for thing in _ABOUT],
        "asks": ["the river the rain", "the people the boat"],
        "held_out": ["a rain the river", "a boat the people"],
    },
}
"""What stands in place of dfc/organisms/texts."""


def setting(folder: Path, models: tuple[Path, Path]) -> Setting:
    """Both, on the tiny run's corpus."""
    run: RunConfig = tiny.tiny_config(folder, models)
    tuning = Tuning(shows=30, others=10, own=1, epochs=16, batch=8, learning_rate=1e-2)
    return Setting(
        run,
        tuning,
        pairs=3_000,
        budget=0.06,
        asked=1,
        prompts=0,
        tokens=12,
        perplexity=9.0,
        steered=2,
        names=("boat", "rain"),
    )
