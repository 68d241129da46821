"""The app in a real browser, in a few lines:

with app_server(data_folder) as address, browser(chromium) as new_page:
    page = open_page(new_page(), f"{address}/Steer?run=demo&feature=3&side=A")
    page.get_by_role("button", name="Generate").click()
    wait_until_idle(page)
"""

from __future__ import annotations

import itertools
import random
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from playwright.sync_api import ConsoleMessage, Page, Request, expect, sync_playwright

from tests import processes

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
RUN_MILLISECONDS = 60_000
QUIET_MILLISECONDS = 300
_calls = itertools.count()
_QUIET = """([call, wanted]) => {
    const idle = document.querySelector('[data-test-script-state=notRunning]')
        && !document.querySelector('[data-testid=stSkeleton]') && !document.querySelector('[data-stale=true]');
    if (window.quietCall !== call || !idle) {
        window.quietCall = call;
        window.quietSince = performance.now();
    }
    return idle && performance.now() - window.quietSince >= wanted;
}"""
expect.set_options(timeout=30_000)  # five seconds are little where several browsers share a core
PROBED_BY_STREAMLIT = ("/_stcore/health", "/_stcore/host-config")
"""On a deep link Streamlit's own front end tries these under the page's path first; 404 is its way to learn."""


@dataclass
class Complaints:
    """What a page's console and network complained about."""

    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"exception: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        place = message.location["url"] if message.location else ""
        if message.type == "error" and not place.endswith(PROBED_BY_STREAMLIT):
            self.found.append(f"{message.text} ({place})")

    def _request(self, request: Request) -> None:
        if not request.url.startswith(("http://localhost:", "data:", "blob:")):
            self.found.append(f"leaves this machine: {request.url}")


@contextmanager
def app_server(data_folder: Path, environment: dict[str, str] | None = None, port: int | None = None) -> Iterator[str]:
    """`streamlit run app.py` on the given data and port, or a free one; yields its address."""
    port = port or free_port()
    command = ["-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    command += ["--server.headless", "true", "--server.fileWatcherType", "none"]
    settings = {"DFC_DATA": str(data_folder.resolve()), **(environment or {})}
    process = processes.start(*command, environment=settings)
    try:
        _wait_for(f"http://localhost:{port}/_stcore/health", process)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def free_port() -> int:
    """A port that nobody has; of those that the system gives to nobody by itself, so that it stays free for a while."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("localhost", port))
            return port


_left: list[Page] = []
"""Pages of the open browser that tests are done with."""


class NewPage(Protocol):
    """Gives an empty page of 1280 × 900."""

    def __call__(self, theme: Literal["light", "dark"] = "light") -> Page: ...


@contextmanager
def browser(executable: str, complaints: Complaints | None = None) -> Iterator[NewPage]:
    """A browser; yields a function that gives an empty page. One at a time in a process.

    A page that was left is given again: the app's scripts, which take seconds to compile, are compiled there.
    """
    with sync_playwright() as playwright:
        program = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])

        def new_page(theme: Literal["light", "dark"] = "light") -> Page:
            if _left:
                page = _left.pop()
            else:
                page = program.new_page(viewport={"width": 1280, "height": 900})
                if complaints is not None:
                    complaints.watch(page)
            page.emulate_media(color_scheme=theme)
            return page

        try:
            yield new_page
        finally:
            _left.clear()
            program.close()


def leave(page: Page) -> None:
    """A test is done with a page: its session with the app ends as when it is closed."""
    page.goto("about:blank")
    _left.append(page)


def open_page(page: Page, address: str) -> Page:
    """Go to an address of the app and wait until its script has run to the end."""
    page.goto(address)
    page.get_by_test_id("stSidebarContent").wait_for(timeout=RUN_MILLISECONDS)
    wait_until_idle(page)
    return page


def wait_until_idle(page: Page, milliseconds: float = RUN_MILLISECONDS) -> None:
    """Wait until no script has been running for a while, and what it drew has settled.

    What was done just before, such as a click, begins to run within that while.
    """
    page.wait_for_function(_QUIET, arg=[next(_calls), QUIET_MILLISECONDS], polling=50, timeout=milliseconds)


def failures(page: Page) -> list[str]:
    """Texts of exceptions and error boxes on the page."""
    boxes = page.locator("[data-testid=stException], [data-testid=stAlertContentError]")
    return [box.inner_text() for box in boxes.all()]


def click_cell(page: Page, table: int = 0, row: int = 0, column_x: float = 30.0, height: int = 36) -> None:
    """Click a cell of a table that Streamlit draws on a canvas, with rows so high."""
    frame = page.get_by_test_id("stDataFrame").nth(table)
    frame.scroll_into_view_if_needed()
    frame.click(position={"x": column_x, "y": 36 + height * row + height // 2})


def _wait_for(address: str, process: processes.Process) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the app ended at its start:\n{process.communicate()[1]}")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"the app did not start within {START_SECONDS:.0f} s:\n{process.communicate()[1]}")
