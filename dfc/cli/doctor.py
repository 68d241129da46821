"""What this machine has for dfc, and what is missing."""

from __future__ import annotations

import os
import shutil
from importlib import metadata
from pathlib import Path

from dfc import runs
from dfc.config import UserError, shipped

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def browser() -> str | None:
    """Path of a Chromium or Chrome, which only the browser tests need."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def report() -> str:
    """Everything a bug report should begin with, as lines of text."""
    import torch

    data = runs.data_folder()
    lines = ["versions"]
    lines += [f"  {name:<14}{version}" for name, version in runs.versions().items()]
    lines += [
        "machine",
        f"  cores         {os.cpu_count()}, torch uses {torch.get_num_threads()}",
        f"  memory        {_memory()}",
    ]
    lines += [f"  disk free     {shutil.disk_usage(data if data.exists() else Path()).free / 1e9:.0f} GB"]
    lines += [f"  device        {torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU only'}"]
    lines += [f"models in {data / 'models'}"]
    lines += [f"  {path.parent.name}" for path in sorted((data / "models").glob("*/config.json"))] or ["  none"]
    lines += [f"runs in {data / 'runs'}"]
    lines += [f"  {run.name:<14}{_state(run)}" for run in runs.all_runs()] or ["  none"]
    lines += ["missing"]
    lines += [f"  {problem}" for problem in _missing()] or ["  nothing"]
    return "\n".join(lines)


def _state(run: runs.Run) -> str:
    from dfc.store.reader import Store

    try:
        run.config()
        left = [stage for stage, done in run.done().items() if not done]
        if left:
            return f"{', '.join(left)} still to do: python -m dfc run {run.path / 'run.yaml'}"
        verified = Store(run.store).facts().get("verified")
    except UserError as error:
        return str(error)
    return "ready" if verified else f"ready, its features not judged: python -m dfc verify {run.name}"


def _missing() -> list[str]:
    problems = []
    if not any(run.done()["index"] for run in runs.all_runs()):
        problems.append(f"a finished run: `{shipped.DEMO}` makes one")
    if not _writable(runs.data_folder().absolute()):
        problems.append(f"a data folder: nothing can be written to {runs.data_folder().absolute()}; set DFC_DATA")
    if browser() is None:
        problems.append("Chromium or Chrome, for the browser tests only: e.g. `apt-get install chromium`")
    try:
        metadata.version("plutoprint")
    except metadata.PackageNotFoundError:
        problems.append("plutoprint, for feature cards as PNG: `pip install -r requirements.txt`")
    return problems


def _writable(folder: Path) -> bool:
    """Whether a folder, which need not be there yet, can be written to."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK)


def _memory() -> str:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return "unknown"
    return f"{pages * size / 1e9:.1f} GB"
