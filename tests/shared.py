"""What is costly to make is made once for a whole test run, by whichever of its processes asks first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

_FOLDER = "DFC_SHARED_BY_TESTS"


def share_in(folder: Path) -> None:
    """From now on this process shares what it makes with all that share in the same folder."""
    folder.mkdir(exist_ok=True)
    os.environ[_FOLDER] = str(folder)


def sharing() -> bool:
    """Whether a test run is going on; what is made by hand is made anew."""
    return _FOLDER in os.environ


def lasting() -> Path:
    """The folder of what is shared, there for as long as the test run."""
    return Path(os.environ[_FOLDER])


def once(name: str, make: Callable[[Path], object]) -> Path:
    """The shared folder of this name, filled by `make` if nobody has done so yet. It is only to be read."""
    folder = lasting() / name
    made = folder.with_suffix(".made")
    with FileLock(folder.with_suffix(".lock")):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a maker that failed
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
