"""The command line: `python -m dfc`. Each module adds its commands to the application.

What loads torch or pandas is imported inside a command, after what the user named was found: help, and an error about a
YAML or a run, come at once.
"""

from dfc.cli import (
    causal,
    contrast,
    exclusivity,
    explain,
    findings,
    machine,
    meaning,
    models,
    outside,
    prompt,
    reads,
    report,
    screen,
    stages,
    steer,
    worlds,
)
from dfc.cli.base import app, main

__all__ = [
    "app",
    "causal",
    "contrast",
    "exclusivity",
    "explain",
    "findings",
    "machine",
    "main",
    "meaning",
    "models",
    "outside",
    "prompt",
    "reads",
    "report",
    "screen",
    "stages",
    "steer",
    "worlds",
]
