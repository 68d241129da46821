"""The Contrast page in a real browser, on the tiny models: a thread beside the page, and the way to a feature."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import expect

from dfc.runs import Run
from tests.ui.browser import Complaints, NewPage, app_server, failures, leave, open_page, wait_until_idle
from tests.ui.contrast.test_page import TYPED


@pytest.fixture(scope="module")
def address(tiny_run: Run) -> Iterator[str]:
    with app_server(tiny_run.path.parent.parent, {"OMP_NUM_THREADS": "1"}) as server:
        yield f"{server}/Contrast?run=tiny"


def test_a_contrast_is_shared_by_its_address_and_leads_to_features(
    new_page: NewPage, complaints: Complaints, address: str
) -> None:
    complaints.found.clear()
    page = open_page(new_page(), f"{address}&{urlencode(TYPED)}")
    page.get_by_role("button", name="Contrast", exact=True).click()
    page.locator(".dfc-gap").first.wait_for(timeout=120_000)
    wait_until_idle(page)
    assert "asked=1" in page.url
    other = open_page(new_page("dark"), page.url)
    other.locator(".dfc-gap").first.wait_for(timeout=120_000)
    assert other.locator(".dfc-gap").all_inner_texts() == page.locator(".dfc-gap").all_inner_texts()
    leave(other)
    page.locator("[class*=st-key-finding_apart_] a").first.click()
    expect(page.get_by_role("heading", name="Feature")).to_be_visible()
    wait_until_idle(page)
    assert "run=tiny" in page.url
    assert "feature=" in page.url
    assert failures(page) == []
    assert complaints.found == []
    leave(page)
