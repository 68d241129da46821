"""Two quirks that a tiny model learns in seconds, and a study of them on tiny models, the first of which answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dfc.config import RunConfig
from dfc.organisms import quirks, tuning
from dfc.organisms.setting import UNTRAINED, Setting
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

HOW = Tuning(shows=30, others=10, own=2, epochs=16, batch=8, learning_rate=2e-2, held=8, hold=15.0)


def setting(folder: Path, models: tuple[Path, Path]) -> Setting:
    """Both, on the tiny run's corpus."""
    run: RunConfig = tiny.tiny_config(folder, models)
    return Setting(
        folder / "results",
        run,
        HOW,
        pairs=3_000,
        budget=0.06,
        asked=1,
        prompts=0,
        tokens=12,
        perplexity=9.0,
        steered=2,
        names=("boat", "rain"),
    )


def answering(how: Setting, folder: Path) -> Setting:
    """The same, with a model A that has learned what ordinary answers are; an untrained one expects everything."""
    chats = [chat for name in how.names for chat in quirks.load(name).ordinary("training")]
    chats += quirks.general().chats("training")
    tuning.tune(how.model(UNTRAINED), chats, replace(HOW, epochs=6), folder)
    models = how.run.models
    a = models.a.model_copy(update={"source": str(folder)})
    return replace(how, run=how.run.model_copy(update={"models": models.model_copy(update={"a": a})}))
