"""The Prompt page in a real browser, on the run of tiny models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Locator, Page, expect

from dfc.runs import Run
from tests.ui.browser import Complaints, NewPage, app_server, click_cell, failures, leave, open_page, wait_until_idle

TEXT = "the old bridge and the river carried a boat <b>under</b> the old bridge while people watched"


@pytest.fixture(scope="module")
def address(tiny_run: Run) -> Iterator[str]:
    with app_server(tiny_run.path.parent.parent, {"OMP_NUM_THREADS": "1"}) as server:
        yield f"{server}/Prompt?run=tiny"


@pytest.fixture
def page(new_page: NewPage, complaints: Complaints) -> Iterator[Page]:
    complaints.found.clear()
    page = new_page()
    yield page
    assert failures(page) == []
    assert complaints.found == []
    leave(page)


def tokens(page: Page) -> Locator:
    """B's tokens."""
    page.locator(".dfc-reading .dfc-context").nth(1).wait_for(timeout=120_000)
    wait_until_idle(page)
    return page.locator(".dfc-reading .dfc-context").nth(1).locator(":scope > span")


def span_of(page: Page) -> str | None:
    wait_until_idle(page)
    found: str | None = page.evaluate("() => new URL(location).searchParams.get('span')")
    return found


def test_a_typed_text_is_read_and_shared(page: Page, new_page: NewPage, address: str) -> None:
    open_page(page, address)
    page.get_by_placeholder("Type or paste a text").fill(TEXT)
    page.keyboard.press("Control+Enter")
    assert "".join(tokens(page).all_inner_texts()).replace("\n", "").endswith(TEXT)
    assert page.locator(".dfc-reading b b, .dfc-tokens b b").count() == 0  # markup of the text is no markup
    other = open_page(new_page("dark"), page.url)
    assert tokens(other).all_inner_texts() == tokens(page).all_inner_texts()
    assert other.get_by_placeholder("Type or paste a text").input_value() == TEXT
    leave(other)


def test_tokens_are_chosen_by_mouse_and_keyboard(page: Page, address: str) -> None:
    open_page(page, f"{address}&{urlencode({'text': TEXT, 'in': 'shared'})}")
    found = tokens(page)
    found.nth(12).click()
    expect(page.get_by_role("heading", name="What fires on “")).to_be_visible()
    first = span_of(page)
    assert first is not None
    assert first.isdigit()
    strip = page.locator(".dfc-reading")
    strip.press("Shift+ArrowRight")
    expect(page).to_have_url(re.compile(f"span={first}-{int(first) + 1}$"))
    wait_until_idle(page)
    assert page.locator(".dfc-reading .chosen").count() >= 4  # two pairs in two tokenisations
    start, end = tokens(page).nth(8).bounding_box(), tokens(page).nth(12).bounding_box()
    assert start is not None
    assert end is not None
    page.mouse.move(start["x"] + 2, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(end["x"] + 2, end["y"] + end["height"] / 2, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile(rf"span=\d+-{first}$"))
    wait_until_idle(page)
    strip.press("Escape")
    expect(page).not_to_have_url(re.compile("span="))


def test_a_row_colours_the_text_by_its_feature(page: Page, address: str) -> None:
    open_page(page, f"{address}&{urlencode({'text': TEXT, 'in': 'shared'})}")
    tokens(page)
    click_cell(page, column_x=16)
    expect(page.get_by_role("link", name="Open the feature")).to_be_visible()
    wait_until_idle(page)
    assert "feature=" in page.url
    assert page.locator(".dfc-reading .peak").count() == 2
    page.locator(".st-key-clear_feature button").click()
    expect(page.get_by_role("link", name="Open the feature")).not_to_be_visible()
    wait_until_idle(page)
    assert "feature=" not in page.url


def test_a_chat_is_edited_turn_by_turn(page: Page, address: str) -> None:
    open_page(page, address)
    page.get_by_text("Chat", exact=True).click()
    page.get_by_role("button", name="Add a turn").click()
    said = page.get_by_placeholder("what is said")
    expect(said).to_have_count(2)
    said.nth(0).fill("Will it rain under the old bridge?")
    said.nth(1).fill("People watched the river and the rain.")
    page.get_by_role("button", name="Read").click()
    assert "".join(tokens(page).all_inner_texts()).count("bridge") == 1
    wait_until_idle(page)
    assert "chat=" in page.url


def test_nothing_is_wider_than_the_window(page: Page, address: str) -> None:
    for rest in ({"text": TEXT}, {"compare": "true", "text": TEXT, "text2": TEXT[::-1]}):
        open_page(page, f"{address}&{urlencode(rest)}")
        tokens(page)
        assert page.evaluate(
            "() => { const main = document.querySelector('[data-testid=stMain]');"
            " return main.scrollWidth <= main.clientWidth }"
        )
