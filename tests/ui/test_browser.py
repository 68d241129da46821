"""The app in a real browser, on a fresh server."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from dfc.ui.shell import pages
from tests.ui.browser import (
    Complaints,
    NewPage,
    app_server,
    click_cell,
    failures,
    free_port,
    leave,
    open_page,
    wait_until_idle,
)
from tests.ui.folders import A_FEATURE, HOSTILE_FEATURE

PATHS = {page.title: f"/{page.path}?run=demo" for page in pages.PAGES} | {
    "Exclusive features": "/Exclusive_features?run=demo&show=b&order=density",
    "Feature": f"/Feature?run=demo&feature={A_FEATURE}&tokens=both",
    "Steer": f"/Steer?run=demo&feature={A_FEATURE}&strength=3.5",
}


@pytest.fixture(scope="module")
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.fixture(scope="module")
def port() -> int:
    """Of all the fresh servers: the browser, which is no fresh one, has compiled the scripts of that address."""
    return free_port()


@pytest.fixture(autouse=True)
def nothing_to_complain(complaints: Complaints) -> Iterator[None]:
    complaints.found.clear()
    yield
    assert complaints.found == []


@pytest.mark.parametrize("title", PATHS)
def test_deep_link_on_a_fresh_server(title: str, page: Page, data_folder: Path, port: int) -> None:
    with app_server(data_folder, port=port) as address:
        open_page(page, address + PATHS[title])
        expect(page).to_have_title(re.compile(f"^{title}( {A_FEATURE})? · dfc"))
        assert failures(page) == []
        links = page.get_by_test_id("stSidebarContent").get_by_test_id("stPageLink").all_inner_texts()
        assert [link.split("\n")[-1] for link in links] == list(PATHS)
        for part in PATHS[title].partition("?")[2].split("&"):
            assert part in page.url
        page.goto("about:blank")


@pytest.mark.parametrize("title", PATHS)
def test_dark_theme(title: str, new_page: NewPage, server: str) -> None:
    page = open_page(new_page("dark"), server + PATHS[title])
    assert failures(page) == []
    assert (
        page.evaluate("() => getComputedStyle(document.querySelector('.stApp')).backgroundColor") == "rgb(18, 22, 26)"
    )
    leave(page)


@pytest.mark.parametrize(("theme", "colour"), [("light", "rgb(223, 228, 231)"), ("dark", "rgb(48, 57, 64)")])
def test_what_is_chosen_is_to_be_seen(
    theme: Literal["light", "dark"], colour: str, new_page: NewPage, server: str
) -> None:
    page = open_page(new_page(theme), server + PATHS["Exclusive features"])
    expect(page.get_by_role("radio", name="only B")).to_have_css("background-color", colour)
    expect(page.get_by_role("radio", name="only A")).not_to_have_css("background-color", colour)
    leave(page)


def test_links_keep_the_run(page: Page, server: str) -> None:
    open_page(page, f"{server}/?run=demo")
    for title in ("Decoder norms", "Steer", "Exclusive features", "Overview"):
        page.get_by_test_id("stSidebarContent").get_by_role("link", name=title).click()
        expect(page).to_have_title(re.compile(f"^{title}"))
        wait_until_idle(page)
        assert "run=demo" in page.url
        assert failures(page) == []


def test_finding_on_the_front_page_opens_its_feature(page: Page, server: str) -> None:
    open_page(page, f"{server}/?run=demo")
    link = page.get_by_role("link", name=re.compile(r"Feature \d+")).first
    number = re.findall(r"\d+", link.inner_text())[0]
    link.click()
    expect(page.get_by_role("heading", name=f"Feature {number}")).to_be_visible()
    assert f"feature={number}" in page.url


def test_row_click_opens_the_feature_and_next_goes_on(page: Page, server: str) -> None:
    open_page(page, f"{server}/Exclusive_features?run=demo&show=only+A&order=feature_id&rising=true")
    click_cell(page, row=4)
    expect(page).to_have_title(re.compile(r"^Feature \d+ · dfc"))
    wait_until_idle(page)
    number = int(re.findall(r"feature=(\d+)", page.url)[0])
    assert "run=demo" in page.url
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("link", name="6 of 59 in the list")).to_be_visible()
    assert f"feature={number}" not in page.url


def test_both_ways_back_from_a_feature_show_the_same_list(page: Page, server: str) -> None:
    shown = "show=b&order=density&alive=false&density=0%25&density=30%25&page=2"
    open_page(page, f"{server}/Exclusive_features?run=demo&{shown}")
    expect(page.get_by_text("51 to 60 of 60")).to_be_visible()
    for way in ("browser", "link"):
        click_cell(page, row=1)
        expect(page).to_have_title(re.compile(r"^Feature \d+ · dfc"))
        wait_until_idle(page)
        if way == "browser":
            page.go_back()
        else:
            page.get_by_role("link", name="52 of 60 in the list, by density").click()
        expect(page.get_by_text("51 to 60 of 60")).to_be_visible()
        wait_until_idle(page)
        for part in shown.split("&"):
            assert part in page.url


def test_another_run_is_chosen_in_the_side_bar(page: Page, server: str) -> None:
    open_page(page, f"{server}/Feature?run=demo&feature=3")
    page.get_by_test_id("stSidebarContent").get_by_test_id("stSelectbox").click()
    page.get_by_role("option", name="half").click()
    expect(page.get_by_text("is missing. What is done is kept")).to_be_visible()
    assert "run=half" in page.url
    assert "feature=" not in page.url


def test_card_is_downloaded_as_a_png(page: Page, server: str) -> None:
    open_page(page, f"{server}/Feature?run=demo&feature={A_FEATURE}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Card as PNG").click()
    assert download.value.suggested_filename == f"demo-feature-{A_FEATURE}.png"
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert zlib.crc32(content[12:29]) == int.from_bytes(content[29:33], "big")  # the header chunk is whole


def test_box_selection_lists_features_and_is_shared_by_its_address(page: Page, new_page: NewPage, server: str) -> None:
    open_page(page, f"{server}/Decoder_norms?run=demo")
    chart = page.get_by_test_id("stPlotlyChart").nth(1)
    chart.scroll_into_view_if_needed()
    plot = chart.locator(".nsewdrag").bounding_box()
    assert plot is not None
    page.mouse.move(plot["x"] + plot["width"] * 0.3, plot["y"] + plot["height"] * 0.2)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 0.6, plot["y"] + plot["height"] * 0.8, steps=5)
    page.mouse.up()
    said = page.get_by_text(re.compile(r"^\d+ selected"))
    expect(said).to_be_visible()
    shared, words = page.url, said.inner_text()
    assert re.search(r"region=norms~[-\d.e]+_[-\d.e]+_[-\d.e]+_[-\d.e]+$", shared)
    fresh = open_page(new_page(), shared)
    expect(fresh.get_by_text(re.compile(f"^{re.escape(words)}"))).to_be_visible()
    expect(fresh.get_by_test_id("stPlotlyChart").nth(1).locator(".selectionlayer path").first).to_be_attached()
    click_cell(fresh)
    expect(fresh.get_by_role("link", name=re.compile(r"^1 of \d+ selected in the norms"))).to_be_visible()
    fresh.go_back()
    expect(fresh.get_by_text(re.compile(f"^{re.escape(words)}"))).to_be_visible()
    fresh.get_by_role("button", name="Clear").click()
    expect(fresh.get_by_text("Nothing is selected")).to_be_visible()
    assert "region" not in fresh.url
    leave(fresh)
    click_cell(page)
    expect(page).to_have_title(re.compile(r"^Feature \d+ · dfc"))


def test_hostile_text_runs_nothing(page: Page, server: str) -> None:
    page.once("dialog", lambda dialog: pytest.fail(f"a script of the corpus ran: {dialog.message}"))
    open_page(page, f"{server}/Feature?run=demo&feature={HOSTILE_FEATURE}&tokens=both")
    assert page.locator(".dfc-context img, .dfc-context script, .dfc-context h1").count() == 0
    assert page.get_by_text("<script>").count() > 0


def test_the_focus_is_seen_on_links(page: Page, server: str) -> None:
    open_page(page, f"{server}/?run=demo")
    page.get_by_test_id("stSidebarContent").get_by_role("link").nth(2).focus()
    page.keyboard.press("Tab")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
