"""The command line: `python -m dfc`. Each module adds its commands to the application."""

from dfc.cli import machine, models, report, stages, steer, worlds
from dfc.cli.base import app, main

__all__ = ["app", "machine", "main", "models", "report", "stages", "steer", "worlds"]
