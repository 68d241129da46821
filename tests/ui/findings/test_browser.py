"""Findings in a real browser: from the list to a feature, on through the list, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.screen.test_themes import mean
from tests.ui.browser import Complaints, NewPage, app_server, click_cell, failures, leave, open_page, wait_until_idle
from tests.ui.folders import find, make_run


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of an app on a run with findings."""
    folder: Path = tmp_path_factory.mktemp("findings")
    store = make_run(folder).store
    find(store)
    mean(store)
    with app_server(folder) as server:
        yield server


def test_from_the_front_page_to_a_finding_on_through_the_list_and_back(
    address: str, new_page: NewPage, complaints: Complaints
) -> None:
    page = open_page(new_page(), f"{address}/?run=demo")
    page.get_by_test_id("stMain").get_by_role("link").filter(has_text=re.compile(r"^1\s")).first.click()
    expect(page.get_by_role("heading", name="Feature 150")).to_be_visible()
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_role("link", name="2 of 12 findings of A")).to_be_visible()
    assert "feature=1&" in page.url
    page.get_by_role("link", name="2 of 12 findings of A").click()
    expect(page.get_by_role("heading", name="SmolLM2-135M-Instruct does better")).to_be_visible()
    wait_until_idle(page)
    page.get_by_role("button", name="3 features").click()
    wait_until_idle(page)
    assert "group=0" in page.url
    click_cell(page, row=2)
    expect(page.get_by_role("heading", name="Feature 151")).to_be_visible()
    page.get_by_role("link", name="3 of 3 in its finding").click()
    wait_until_idle(page)
    assert "group=0" in page.url
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    assert failures(page) == []
    assert complaints.found == []
    leave(page)


def test_the_list_as_a_file(address: str, new_page: NewPage) -> None:
    page = open_page(new_page("dark"), f"{address}/Findings?run=demo&whose=b")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert [line.split(",")[:4] for line in lines] == [["rank", "finding", "side", "feature_id"], ["1", "1", "b", "60"]]
    leave(page)


@pytest.mark.parametrize(
    ("start", "link"),
    [
        ("feature=150", "Its 3 features among the findings"),
        ("feature=1&list=at%3D1%26in%3Da%2Cb%2Cshared%26found%3Da%26by%3Dfinding%26up%3D1", "2 of 12 findings of A"),
    ],
)
def test_a_step_back_from_the_findings_is_the_feature(
    start: str, link: str, address: str, new_page: NewPage, complaints: Complaints
) -> None:
    page = open_page(new_page(), f"{address}/Feature?run=demo&{start}")
    before = page.url
    page.get_by_role("link", name=link).click()
    expect(page.get_by_role("heading", name="Findings", exact=True)).to_be_visible()
    wait_until_idle(page)
    page.go_back()
    expect(page.get_by_role("heading", name="Feature 1")).to_be_visible()
    wait_until_idle(page)
    assert page.url == before
    assert failures(page) == []
    assert complaints.found == []
    leave(page)


_OUTSIDE = """() => [...document.querySelectorAll('.stMainBlockContainer *')].filter((one) => !one.childElementCount
    && one.textContent.trim() && !one.closest('.dfc-wide') && one.getBoundingClientRect().width
    && one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((one) => one.textContent)"""
_CUT = """() => [...document.querySelectorAll('.stMainBlockContainer button *')].filter((one) => one.textContent.trim()
    && one.clientWidth && one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"""


@pytest.mark.parametrize("path", ["?run=demo", "Findings?run=demo&group=0", "Feature?run=demo&feature=150"])
def test_nothing_is_cut_on_a_narrow_page(path: str, address: str, new_page: NewPage) -> None:
    page = new_page()
    page.set_viewport_size({"width": 900, "height": 1000})
    open_page(page, f"{address}/{path}")
    assert page.evaluate(_OUTSIDE) == []
    assert page.evaluate(_CUT) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    leave(page)


def test_five_findings_are_on_the_first_screen(address: str, new_page: NewPage) -> None:
    page = new_page()
    page.set_viewport_size({"width": 1440, "height": 1000})
    open_page(page, f"{address}/?run=demo")
    rows = page.locator("[class*=st-key-finding_]")
    boxes = [box for row in rows.all() if (box := row.bounding_box()) is not None]
    assert sum(box["y"] + box["height"] <= 1000 for box in boxes if box["x"] < 720) >= 5
    page.set_viewport_size({"width": 1280, "height": 900})
    leave(page)


def test_a_point_of_the_picture_of_themes_opens_its_finding(
    address: str, new_page: NewPage, complaints: Complaints
) -> None:
    page = open_page(new_page(), f"{address}/Findings?run=demo&view=themes")
    wait_until_idle(page)
    at = page.evaluate("""() => {
        const chart = document.querySelector('.js-plotly-plot'), box = chart.getBoundingClientRect();
        const {xaxis, yaxis} = chart._fullLayout, trace = chart._fullData[0];
        return [trace.customdata[0][0], box.left + xaxis._offset + xaxis.d2p(trace.x[0]),
                box.top + yaxis._offset + yaxis.d2p(trace.y[0])];
    }""")
    page.mouse.move(at[1] - 3, at[2] - 2)
    page.mouse.click(at[1], at[2])
    expect(page.get_by_role("heading", name=f"Feature {at[0]}")).to_be_visible()
    assert complaints.found == []
    leave(page)
