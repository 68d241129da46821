"""What all commands share: the application, how a run is named, and how errors end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from dfc import config, runs
from dfc.config import RunConfig, UserError
from dfc.machine import processes, progress
from dfc.runs import Run

app = typer.Typer(
    help="What does one language model know or do that another does not? See README.md for the path through a run.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
RunName = Annotated[str, typer.Argument(metavar="RUN", help="a run's name, folder or YAML; see data/presets/")]


def main() -> None:
    """Run the command line; what the user can mend is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        if processes.leads():
            progress.say(f"dfc: {error}")
        sys.exit(2)


def find(name: str) -> list[Run]:
    """The run of a name or a folder, or those that a YAML describes, one for each layer, made if need be."""
    if _is_yaml(name):
        # One of several processes makes the folders; the others meet it before they read them.
        return [runs.create(site) if processes.leads() else runs.of(site) for site in config.load_sites(Path(name))]
    return [runs.find(name)]


def described(name: str) -> RunConfig:
    """Settings of the run of a name or a folder, or of the first that a YAML describes; none is made."""
    return config.load_sites(Path(name))[0] if _is_yaml(name) else runs.find(name).config()


def _is_yaml(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))
