"""Whether a run's features were read by an encoder, and where that lies; without torch, since every page asks it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfc import runs
from dfc.report.words import capital
from dfc.store import attached

_ENCODER = "a model of 91 MB"


def lacking(store: Path, facts: Mapping[str, Any], run: str) -> str:
    """Why nothing can be looked for by meaning, as a sentence with the command that mends it; empty if it can.

    Args:
        store: the run's features.duckdb.
        facts: about the features' vectors, `Store.meaning`.
        run: its name or folder, for the command.
    """
    if not facts and attached.meaning_sums(store).exists():
        return (
            f"What features are about is read in part: wait for {_command(run)} if it runs, or start it again; it goes "
            "on where it was."
        )
    why = missing(facts, run)
    return f"{capital(why)}." if why else ""


def missing(facts: Mapping[str, Any], run: str) -> str:
    """What a comparison with the features' vectors lacks, with the command that mends it, as a sentence without its
    capital and end; empty if it lacks nothing. Facts and run are those of `lacking`."""
    if not facts:
        return f"what features are about is not known: {_command(run)} reads it, with {_ENCODER} that it fetches once"
    if not ((there := folder(facts["model"])) / "config.json").exists():
        return f"the model by which features were read is not at {there}: {_command(run)} fetches it"
    return ""


def _command(run: str) -> str:
    return f"`python -m dfc meaning {run}`"


def folder(name: str) -> Path:
    """A model's folder: by its name among those of the data folder, or by its own path."""
    return runs.data_folder() / "models" / name  # an absolute path stays as it is


def name(folder: Path) -> str:
    """What `folder` finds it by: one in the data folder by its name, so that a copied run finds that of its machine."""
    models, whole = (runs.data_folder() / "models").resolve(), folder.resolve()
    return str(whole.relative_to(models)) if whole.is_relative_to(models) else str(whole)
