"""Files: each is written beside its place and renamed into it, so what exists is whole; why one cannot be read is one
sentence.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dfc.config import DamagedError, MemoryShortError, MissingError, UserError, VersionError
from dfc.machine import memory


@contextmanager
def reading(path: Path, remedy: str, *errors: type[Exception], of_another_version: str | None = None) -> Iterator[None]:
    """Say in one sentence why a file cannot be used; what it is read into may raise here, too.

    Args:
        path: the file that the block reads.
        remedy: what the user can do if it is missing or damaged, an imperative without a full stop.
        errors: what its parser raises when it is damaged, beside the usual.
        of_another_version: what the user can do if it was made by another version; None: the same.

    Raises:
        MissingError: if it is not there.
        MemoryShortError: if there is no memory for what it holds.
        VersionError: if it holds keys that this version does not know, or lacks some.
        DamagedError: if it is not what was written.
        UserError: if the system does not let it be read.
    """
    damage: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, KeyError, TypeError, *errors)
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        problem = f"{path}: is missing"
        raise MissingError(f"{problem}; {remedy}.", problem) from None
    except Exception as error:
        detail = (str(error).splitlines() or [""])[0]
        if memory.is_out_of_memory(error):
            raise MemoryShortError(
                f"{path}: there is no memory for what it holds ({type(error).__name__}: {detail:.120}); close other "
                f"programs, or take another device or machine: nothing is wrong with the file."
            ) from None
        if isinstance(error, OSError) and _is_refused(error):
            raise UserError(
                f"{path}: cannot be read ({error.strerror or detail:.120}); see that a file lies there, and that you "
                f"may read it."
            ) from None
        if drift := _drift(error):
            raise other_version(path, drift, of_another_version or remedy) from None
        if isinstance(error, damage):
            problem = f"{path}: is damaged ({type(error).__name__}: {detail:.120})"
            raise DamagedError(f"{problem}; {remedy}.", problem) from None
        raise


def other_version(path: Path, difference: str, remedy: str) -> VersionError:
    """The error of a file that another version made: what is not as this one writes it, and an imperative."""
    problem = f"{path}: was made by another version of dfc ({difference})"
    return VersionError(f"{problem}; {remedy}.", problem)


def _is_refused(error: OSError) -> bool:
    """Whether the system did not let a file be read; libraries raise OSError for damage, too, without a number."""
    return error.errno is not None or "(os error " in str(error) or "is a directory" in str(error)


def _drift(error: Exception) -> str:
    """The first key in which settings or a dataclass have changed between versions; empty if it is not that."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        what = {"extra_forbidden": "is not known here", "missing": "is missing"}.get(first["type"], first["msg"])
        return f"`{key}`: {what:.120}"
    changed = re.search(r"(?:unexpected keyword argument|missing \d+ required \S+ arguments?):? .*", str(error))
    return changed.group()[:120] if isinstance(error, TypeError) and changed else ""


def make_folder(path: Path) -> None:
    """Make a folder and those above it, if they are not there.

    Raises:
        UserError: if nothing can be written there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{path.absolute()}: this folder cannot be made ({error.strerror}); "
            f"set DFC_DATA to one that you may write to."
        ) from None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write a file or folder to; renamed into place when the block ends without an error."""
    make_folder(path.parent)
    temporary = path.with_name(f"{path.name}.part")
    try:
        yield temporary
        if path.is_dir() and not temporary.is_dir():
            raise UserError(f"{path}: is a folder; give the name of a file.")
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """What a JSON file holds."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False))
