"""Which tests need a browser or the real models, which run in one process, and which run first."""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

REAL = {
    "tests/steering/test_live_proof.py": "their models",
    "tests/test_end_to_end.py": "their models",
    "tests/ui/test_real_run.py": "their pages",
    "tests/ui/test_stories.py": "their pages",
}
"""The files on the real models. One process does all that load them; another may open pages on a copy of their run."""

FIRST = (
    "tests/steering/test_live_proof.py",
    "tests/test_end_to_end.py",
    "tests/ui/test_browser.py",
    "tests/ui/steer/test_browser.py",
    "tests/activations/test_interrupted.py",
    "tests/crosscoder/test_training.py",
    "tests/ui/test_stories.py",
    "tests/ui/test_real_run.py",
    "tests/cli/test_cli.py",
    "tests/ui/test_browser_notes.py",
    "tests/ui/lists/test_notes.py",
    "tests/ui/steer/test_kept.py",
    "tests/ui/prompt/test_browser.py",
    "tests/ui/shell/test_links.py",
    "tests/ui/shell/test_frame.py",
    "tests/ui/shell/test_downloads.py",
)
"""Files that take long, the longest first: what begins last is to be short, or one process works on alone."""


class ByFile(LoadScopeScheduling):
    """A process does a file from beginning to end, whose fixtures are made once so.

    The marks of --dist loadgroup say the same, but xdist 3.8 does not see them with pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        return REAL.get(file_of(nodeid), file_of(nodeid))


def arrange(items: list[pytest.Item]) -> None:
    """Mark tests by the fixtures they use, and sort them by file."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "real_run" in fixtures:
            assert file_of(item.nodeid) in REAL, f"{item.nodeid} needs the real models: name its file in {__file__}"
            item.add_marker(pytest.mark.real)
        if "chromium" in fixtures:
            item.add_marker(pytest.mark.browser)
    items.sort(key=lambda item: _place(file_of(item.nodeid)))


def file_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _place(file: str) -> int:
    return FIRST.index(file) if file in FIRST else len(FIRST)
