"""Where the encoder lies by which a run's features were read; without torch, since the app asks it on every page."""

from __future__ import annotations

from pathlib import Path

from dfc import runs


def folder(name: str) -> Path:
    """A model's folder: by its name among those of the data folder, or by its own path."""
    return runs.data_folder() / "models" / name  # an absolute path stays as it is


def name(folder: Path) -> str:
    """What `folder` finds it by: one in the data folder by its name, so that a copied run finds that of its machine."""
    models, whole = (runs.data_folder() / "models").resolve(), folder.resolve()
    return str(whole.relative_to(models)) if whole.is_relative_to(models) else str(whole)
