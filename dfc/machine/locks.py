"""What two processes would make at once is made by one, while the other waits."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from dfc.config import UserError
from dfc.machine import progress


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process makes what is to lie at `path`, and keep others waiting until the block ends.

    What the other has made is there by then: look for it inside the block. A process that dies keeps nobody waiting.

    Raises:
        UserError: if nothing can be written there.
    """
    lock = path.with_name(f".{path.name}.lock")
    said = False
    while True:
        with _opened(lock) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    progress.say(f"{path}: another process is making it; waiting for it")
                said = True
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(handle.fileno(), lock):
                continue  # whoever had it took it away: another may have come before and made a new one
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _opened(lock: Path) -> TextIO:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return lock.open("w")
    except OSError as error:
        raise UserError(f"{lock.parent.absolute()}: nothing can be written there ({error.strerror}).") from None


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
