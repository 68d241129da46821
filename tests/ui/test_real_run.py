"""What takes the two real models, in a real browser: steering, and a card in their scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from dfc.config import Side
from dfc.runs import Run
from dfc.store.reader import FeatureQuery, Store
from tests.ui.browser import app_server, browser, failures, open_page, wait_until_idle


@pytest.fixture(scope="module")
def page(chromium: str) -> Iterator[Page]:
    with browser(chromium) as new_page:
        yield new_page()


@pytest.fixture(scope="module")
def server(real_run: Run) -> Iterator[str]:
    with app_server(real_run.path.parent.parent) as address:
        yield address


def strongest(run: Run, side: Side) -> int:
    return int(Store(run.store).features(FeatureQuery(partitions=(side,), order="max", limit=1))["feature_id"][0])


@pytest.mark.parametrize("side", ["a", "b"])
def test_steering_changes_the_text(side: Side, page: Page, server: str, real_run: Run) -> None:
    feature = strongest(real_run, side)
    address = f"{server}/Steer?run=real&feature={feature}&side={side.upper()}&strength=5&max_tokens=12&prompt=I+think"
    open_page(page, address)
    page.locator(".st-key-generate button").click()
    for label in ("Stop", "Generate"):  # beside other tests of real models a core is slow
        page.locator(".st-key-generate").get_by_text(label, exact=True).wait_for(timeout=300_000)
    wait_until_idle(page)
    baseline, steered = page.locator(".dfc-answer").all_inner_texts()
    assert baseline.strip()
    assert steered.strip() != baseline.strip()
    assert failures(page) == []


def test_a_card_is_downloaded(page: Page, server: str, real_run: Run) -> None:
    open_page(page, f"{server}/Feature?run=real&feature={strongest(real_run, 'a')}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Card as PNG").click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
