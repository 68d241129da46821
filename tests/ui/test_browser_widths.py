"""What is written is seen: in a wide window, in narrow ones, at a zoom of 150 percent, which is 853 pixels wide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from dfc.store.notes import Notebook
from dfc.ui.shell import pages
from tests.ui.browser import NewPage, app_server, open_page, wait_until_idle
from tests.ui.folders import A_FEATURE, find, judge, make_half_run, make_run

WIDTHS = (1280, 900, 853)
PATHS = sorted(
    {f"{page.path}?run=demo" for page in pages.PAGES}
    | {
        "?run=judged",
        "Findings?run=demo&search=the&group=0",
        "Exclusive_features?run=demo&search=the",
        "Exclusive_features?run=demo&show=b&select=true",
        f"Feature?run=demo&feature={A_FEATURE}&tokens=both",
        "Feature?run=judged&feature=60",
        f"Steer?run=demo&feature={A_FEATURE}&strength=3.5",
        "Lists?run=demo&kept=list:for+the+report",
        "Lists?run=demo&kept=notes",
    }
)
CUT = """() => {
    const main = document.querySelector('[data-testid=stMain]'), cut = new Set();
    const texts = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode, of = text.parentElement, range = document.createRange();
        // A line of the front page ends in … on purpose; its feature's page, one click on, has the context whole.
        if (!text.data.trim() || of.closest('style, script, svg, .dfc-line')
            || !of.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
        range.setStart(text, text.data.length - text.data.trimStart().length);
        range.setEnd(text, text.data.trimEnd().length);
        const boxes = [...range.getClientRects()].filter((box) => box.width > 0);
        const left = Math.min(...boxes.map((box) => box.left)), right = Math.max(...boxes.map((box) => box.right));
        if (!boxes.length) continue;
        if (left < -1 || right > innerWidth + 1) cut.add(text.data.trim());
        for (let part = of; part !== main.parentElement; part = part.parentElement) {
            const box = part.getBoundingClientRect(), style = getComputedStyle(part);
            if (box.width <= 1 || style.clipPath !== 'none') break;  // for screen readers alone
            if (style.overflowX !== 'visible' && (left < box.left - 1 || right > box.right + 1))
                cut.add(text.data.trim());
        }
    }
    for (const box of main.querySelectorAll('input'))  // what somebody wrote at length scrolls in its field
        if (box.clientWidth > 1 && box.value.length < 60 && box.scrollWidth > box.clientWidth + 1)
            cut.add(box.value || box.placeholder);
    return [...cut];
}"""
"""Texts that reach beyond the window, or beyond what holds and cuts or scrolls them; tables on a canvas have none."""
OVERLAP = """() => {
    const chart = [...document.querySelectorAll('[data-testid=stPlotlyChart]')].at(-1);
    const [bar, legend] = ['.modebar', '.legend'].map((part) => chart.querySelector(part).getBoundingClientRect());
    return bar.left < legend.right && legend.left < bar.right && bar.top < legend.bottom && legend.top < bar.bottom;
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("widths")
    make_half_run(folder)
    find(make_run(folder).store)
    judge(make_run(folder, "judged").store)
    book = Notebook(folder / "notes.duckdb")
    book.mark("demo", {5: f"{5:016x}", 61: f"{61:016x}"}, "list", "for the report", note="strong " * 20)
    book.write("demo", 5, f"{5:016x}", "seen in all quarters " * 20)
    with app_server(folder) as address:
        yield address


@pytest.fixture(scope="module")
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_cut(path: str, page: Page, server: str) -> None:
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})
    open_page(page, f"{server}/{path}")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 600})
        wait_until_idle(page)
        assert page.evaluate(CUT) == [], f"{path} at {width} pixels"


@pytest.mark.parametrize("colour", ["partition", "density"])
def test_the_tool_bar_of_a_chart_lies_over_nothing(colour: str, page: Page, server: str) -> None:
    open_page(page, f"{server}/Decoder_norms?run=demo&colour={colour}")
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        wait_until_idle(page)
        assert not page.evaluate(OVERLAP), f"at {width} pixels"
