"""What ships beside the code: the app's script and its pages, presets, prompts, flags.

In a checkout that is the project's folder; an installed package holds a copy of it, laid out alike.
"""

from __future__ import annotations

import glob
from pathlib import Path

_PACKAGED = Path(__file__).parents[1] / "shipped"
ROOT = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2]
APP = ROOT / "app.py"
PRESETS = ROOT / "data" / "presets"
PROMPTS = ROOT / "data" / "prompts"
DEMO, DEMO_DATA = ("dfc demo", "dfc demo --no-app") if ROOT == _PACKAGED else ("make demo", "make demo-data")
"""Commands that make the demo's run, with and without opening the app."""


def here_or_shipped(path: str) -> str:
    """A path or a glob as it is where something lies there; else what ships under the same name, if anything does."""
    shipped = str(ROOT / path)
    return path if _lies_there(path) or not _lies_there(shipped) else shipped


def _lies_there(path: str) -> bool:
    return next(glob.iglob(path, recursive=True), None) is not None
