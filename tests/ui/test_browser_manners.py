"""What a browser does beside showing pages: steps of its history, keys, where a page begins."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.ui.browser import Complaints, NewPage, click_cell, leave, open_page, wait_until_idle

MAIN = "document.querySelector('[data-testid=stMain]')"


@pytest.fixture
def page(new_page: NewPage, server: str, complaints: Complaints) -> Iterator[Page]:
    """A feature that was opened from a list, by a click in the table."""
    complaints.found.clear()
    page = open_page(new_page(), f"{server}/Exclusive_features?run=demo&show=a&order=feature_id&rising=true")
    click_cell(page, row=3)
    expect(page.get_by_role("link", name="4 of 59 in the list")).to_be_visible()
    wait_until_idle(page)
    yield page
    assert complaints.found == []
    leave(page)


def _steps(page: Page) -> int:
    return int(page.evaluate("history.length"))


def test_each_change_of_the_address_is_one_step(page: Page) -> None:
    opened, feature = _steps(page), page.url
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("link", name="5 of 59 in the list")).to_be_visible()
    wait_until_idle(page)
    assert _steps(page) == opened + 1
    page.go_back()
    expect(page.get_by_role("link", name="4 of 59 in the list")).to_be_visible()
    assert page.url == feature
    wait_until_idle(page)
    page.go_back()
    expect(page).to_have_title(re.compile("^Exclusive features"))
    assert "feature=" not in page.url


def test_arrow_keys_belong_to_what_has_the_focus(page: Page) -> None:
    feature = page.url
    page.get_by_role("radio", name="A", exact=True).focus()
    page.keyboard.press("ArrowRight")
    wait_until_idle(page)
    assert page.url.startswith(feature)
    page.evaluate("document.activeElement.blur()")
    page.evaluate(f"{MAIN}.scrollTo(0, 400)")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("link", name="5 of 59 in the list")).to_be_visible()
    wait_until_idle(page)
    assert page.evaluate(f"{MAIN}.scrollTop") == 0, "another feature is shown from its top"
    page.locator("[data-testid=stDataFrame] canvas").first.focus()
    page.keyboard.press("ArrowLeft")  # chooses a cell of related features, which opens it
    wait_until_idle(page)
    assert "list=" not in page.url, "the table heard the key alone"


def test_arrows_pressed_at_once_are_as_many_steps(page: Page) -> None:
    for arrow, there in (("ArrowRight", "7 of 59 in the list"), ("ArrowLeft", "4 of 59 in the list")):
        for _ in range(3):
            page.keyboard.press(arrow)
        expect(page.get_by_role("link", name=there)).to_be_visible()
        wait_until_idle(page)
        expect(page.get_by_role("link", name=there)).to_be_visible()


def test_clicks_at_once_are_as_many_steps(page: Page) -> None:
    page.evaluate("for (const _ of [1, 2, 3]) document.querySelector('.st-key-next button').click()")
    expect(page.get_by_role("link", name="7 of 59 in the list")).to_be_visible()
    wait_until_idle(page)
    expect(page.get_by_role("link", name="7 of 59 in the list")).to_be_visible()


def test_the_key_of_favourites_says_what_it_did(page: Page) -> None:
    for words in ("a favourite now", "no favourite any more"):
        page.keyboard.press("s")
        expect(page.get_by_text(words)).to_be_visible()
        wait_until_idle(page)
        surface = "getComputedStyle(document.querySelector('.dfc-context')).getPropertyValue('--dfc-surface')"
        assert page.evaluate(surface).strip(), "the page keeps its look"
