"""Which tests need a browser or the real models, which run in one process, and which run first."""

from __future__ import annotations

import pytest

REAL = "real"
"""The group of all tests on the real models: their run is made, and the models are held, in one process."""

FIRST = (REAL,)
"""Groups that take long, the longest first: what begins last is to be short, or one process works on alone."""


def arrange(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures they use, group them by file, whose fixtures are made once so, and sort the groups."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "real_run" in fixtures:
            item.add_marker(pytest.mark.real)
        if "chromium" in fixtures:
            item.add_marker(pytest.mark.browser)
        item.add_marker(pytest.mark.xdist_group(group(item)))
    items.sort(key=_place)


def group(item: pytest.Item) -> str:
    """What one process does from beginning to end: all on the real models, else a file."""
    return REAL if "real_run" in getattr(item, "fixturenames", ()) else item.nodeid.partition("::")[0]


def _place(item: pytest.Item) -> int:
    found = group(item)
    return FIRST.index(found) if found in FIRST else len(FIRST)
