"""Which state of dfc's own code runs."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


@functools.cache
def fingerprint() -> str:
    """A hash of dfc's sources, 12 hexadecimal digits: a version that changes with every line."""
    folder = Path(__file__).parents[1]
    digest = hashlib.blake2b(digest_size=6)
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
