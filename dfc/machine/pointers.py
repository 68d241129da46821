"""Pointers of Git LFS, which lie in place of files where a repository was cloned without it."""

from __future__ import annotations

from pathlib import Path

from dfc.config import DamagedError

_BEGINNING = b"version https://git-lfs"
_LARGEST = 1024  # bytes


def is_one(file: Path) -> bool:
    """Whether a file is a pointer."""
    return file.is_file() and file.stat().st_size <= _LARGEST and file.read_bytes().startswith(_BEGINNING)


def check(file: Path) -> None:
    """See that a file is not a pointer.

    Raises:
        DamagedError: if it is.
    """
    if is_one(file):
        raise DamagedError(
            f"{file}: is a pointer of Git LFS in place of the file itself; fetch what it points to with `git lfs pull`."
        )


def check_folder(folder: Path) -> None:
    """See that no file of a folder is a pointer. Raises as `check` does."""
    if folder.is_dir():
        for file in sorted(folder.iterdir()):
            check(file)
