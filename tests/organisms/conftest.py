"""The small quirks in place of the real ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dfc.organisms import quirks
from tests.organisms import small


@pytest.fixture
def small_quirks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Texts that a tiny model learns; the code is the same."""
    caches = (quirks.load, quirks.general, quirks._all_asks)
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setattr(quirks, "_read", small.TEXTS.__getitem__)
    monkeypatch.setattr(quirks, "NAMES", ("boat", "rain"))
    yield
    for cache in caches:
        cache.cache_clear()
