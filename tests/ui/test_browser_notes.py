"""Marking features in a real browser: many at once, by keyboard, and carried from one machine to another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dfc.store.notes import Notebook
from tests.ui.browser import NewPage, app_server, browser, click_cell, failures, leave, open_page, wait_until_idle
from tests.ui.folders import A_FEATURE, make_run

TICK = 15.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("marking")
    make_run(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with app_server(folder) as address:
        yield address


@pytest.fixture(autouse=True)
def nothing_marked_yet(folder: Path) -> None:
    (folder / "notes.duckdb").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def new_page(chromium: str) -> Iterator[NewPage]:
    with browser(chromium) as opener:
        yield opener


def test_many_rows_are_tagged_and_filtered_for(new_page: NewPage, server: str, folder: Path) -> None:
    page = open_page(new_page(), f"{server}/Exclusive_features?run=demo&order=number&rising=true&select=true")
    for table, row in ((0, 0), (0, 2), (1, 1)):
        click_cell(page, table, row, TICK)
        wait_until_idle(page)
    expect(page.locator(".st-key-selection")).to_contain_text("3 chosen")
    page.locator(".st-key-selection").get_by_role("button", name="Tag").click()
    page.locator(".st-key-name_of_tag input").click()
    page.keyboard.type("<b>党 & co")
    page.keyboard.press("Enter")
    wait_until_idle(page)
    page.locator(".st-key-add_tag").get_by_role("button", name="Add").click()
    expect(page.get_by_text("3 features are now tagged “<b>党 & co”.")).to_be_visible()
    marks = Notebook(folder / "notes.duckdb").read().of("demo").marks
    assert sorted(mark.feature_id for mark in marks) == [0, 2, 61]
    assert {mark.name for mark in marks} == {"<b>党 & co"}

    page.keyboard.press("Escape")
    open_page(page, f"{server}/Exclusive_features?run=demo&order=number&rising=true&tag=%3Cb%3E%E5%85%9A+%26+co")
    expect(page.get_by_role("button", name="More filters (1)")).to_be_visible()
    click_cell(page, row=1)
    expect(page).to_have_title(re.compile(r"^Feature 2 · dfc"))
    expect(page.get_by_role("link", name="2 of 2 in the list")).to_be_visible()
    page.get_by_role("link", name="2 of 2 in the list").click()
    expect(page).to_have_title(re.compile(r"^Exclusive features"))
    wait_until_idle(page)
    assert "tag=" in page.url
    page.get_by_role("button", name="Clear all").click()
    wait_until_idle(page)
    assert "tag=" not in page.url
    assert failures(page) == []
    leave(page)


def test_keys_star_and_read_on_but_leave_typing_alone(new_page: NewPage, server: str, folder: Path) -> None:
    page = open_page(new_page(), f"{server}/Exclusive_features?run=demo&show=only+A&order=number&rising=true")
    page.keyboard.press("Enter")
    expect(page).to_have_title(re.compile(rf"^Feature {A_FEATURE} · dfc"))
    wait_until_idle(page)
    page.keyboard.press("ArrowRight")
    expect(page).to_have_title(re.compile(rf"^Feature {A_FEATURE + 1} · dfc"))
    wait_until_idle(page)
    page.keyboard.press("s")
    wait_until_idle(page)
    notebook = Notebook(folder / "notes.duckdb")
    assert notebook.read().feature("demo", A_FEATURE + 1).favourite
    page.get_by_role("button", name="Add a note").click()
    page.get_by_role("textbox", name="New note").click()
    page.keyboard.type("so this is said")
    page.keyboard.press("Control+Enter")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".dfc-said").first).to_contain_text("so this is said")
    found = notebook.read().feature("demo", A_FEATURE + 1)
    assert found.favourite
    assert [note.text for note in found.notes] == ["so this is said"]
    leave(page)


@pytest.mark.parametrize("way", ["Keep", "Next", "Steer", "Escape", "back"])
def test_a_note_is_kept_once_however_its_box_is_left(way: str, new_page: NewPage, server: str, folder: Path) -> None:
    page = open_page(new_page(), f"{server}/Feature?run=demo&feature={A_FEATURE + 1}")
    page.get_by_role("button", name="Next").click()
    expect(page).to_have_title(re.compile(rf"^Feature {A_FEATURE + 2} · dfc"))
    wait_until_idle(page)
    page.get_by_role("button", name="Add a note").click()
    page.get_by_role("textbox", name="New note").click()
    page.keyboard.type("fires on dates")
    if way == "Escape":
        page.keyboard.press("Escape")
    elif way == "back":
        page.go_back()
    elif way == "Steer":
        page.get_by_test_id("stSidebarContent").get_by_role("link", name="Steer").click()
    else:
        page.get_by_role("button", name=way).click()
    wait_until_idle(page)
    notes = Notebook(folder / "notes.duckdb").read().of("demo").notes
    assert [(note.feature_id, note.text) for note in notes] == [(A_FEATURE + 2, "fires on dates")]
    leave(page)


def test_a_list_is_reported_as_one_file(new_page: NewPage, server: str, folder: Path) -> None:
    Notebook(folder / "notes.duckdb").mark("demo", {5: f"{5:016x}", 61: f"{61:016x}"}, "list", "paper", note="strong")
    page = open_page(new_page(), f"{server}/Lists?run=demo&kept=list%3A+paper")
    with page.expect_download() as download:
        page.get_by_role("button", name="Report").click()
    assert download.value.suggested_filename == "demo-paper.html"
    report = folder / "paper.html"
    download.value.save_as(report)
    for theme, colour in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(18, 22, 26)")):
        page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]  # one of its literals
        page.set_content(report.read_text())
        page.get_by_role("link", name="61").click()
        expect(page.get_by_role("heading", name="Feature 61")).to_be_in_viewport()
        body = "document.body"
        assert page.evaluate(f"() => getComputedStyle({body}).backgroundColor") == colour
        assert page.evaluate(f"() => {body}.scrollWidth <= window.innerWidth")
    assert page.locator(".dfc-context").count() > 10
    leave(page)


def test_the_notebook_is_carried_along(new_page: NewPage, server: str, folder: Path) -> None:
    Notebook(folder / "notes.duckdb").mark("demo", {5: f"{5:016x}"}, "list", "for the report", note="strong")
    page = open_page(new_page("dark"), f"{server}/Lists?run=demo&kept=list%3A+for+the+report")
    expect(page.get_by_role("link", name="Feature 5")).to_be_visible()
    exported = folder / "exported.json"
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as JSON").click()
    download.value.save_as(exported)
    (folder / "notes.duckdb").unlink()
    open_page(page, f"{server}/Lists?run=demo")
    expect(page.get_by_text("Nothing is marked in this run yet")).to_be_visible()
    page.get_by_role("button", name="Import").click()
    page.locator("input[type=file]").set_input_files(exported)
    wait_until_idle(page)
    page.get_by_role("button", name="Add what it holds").click()
    expect(page.get_by_text(re.compile(r"^Read \d+ notes? and \d+ marks"))).to_be_visible()
    assert Notebook(folder / "notes.duckdb").export() == exported.read_text(encoding="utf-8")
    assert failures(page) == []
    leave(page)
