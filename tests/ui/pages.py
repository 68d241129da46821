"""Pages of the app without a browser: opened by their address, and read."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from dfc.ui.shell import pages

ROOT = Path(__file__).resolve().parents[2]
OVERVIEW, FINDINGS, SCREEN, TABLE, FEATURE, NORMS, STEER, PROMPT, CONTRAST, OWN_WORDS, RUNS, LISTS = (
    pages.script(room)
    for room in (
        "overview",
        "findings",
        "screen",
        "table",
        "feature",
        "norms",
        "steer",
        "prompt",
        "contrast",
        "own_words",
        "runs",
        "lists",
    )
)
PAGES = [page.script for page in pages.PAGES]


def visit(page: str, /, **parameters: str) -> AppTest:
    """Open a page with an address, as a reader who follows a link from elsewhere: no other page ran before."""
    test = AppTest.from_file(str(ROOT / OVERVIEW), default_timeout=120)
    if page != OVERVIEW:
        test.switch_page(page)
    test.query_params.update(parameters)
    return test.run()


def text(test: AppTest) -> str:
    """Everything that is written on the page."""
    elements = [*test.get("html"), *test.markdown, *test.code, *test.caption, *test.error, *test.warning, *test.info]
    return "\n".join(str(getattr(element, "value", None) or element.proto.body) for element in elements)


def parameter(test: AppTest, name: str) -> str:
    """One parameter of the address; AppTest gives it alone or in a list."""
    value = test.query_params[name]
    return value if isinstance(value, str) else value[0]


def calm(test: AppTest) -> AppTest:
    """The page itself, if nothing on it is an error."""
    assert not test.exception, test.exception[0].message
    assert not test.error, test.error[0].value
    return test


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for what another thread does, a minute at most."""
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()
