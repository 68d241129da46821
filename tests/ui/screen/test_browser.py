"""The page Screen in a browser: one key each, and none while a field is typed in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dfc.store.notes import Notebook
from tests.ui.browser import Complaints, NewPage, app_server, failures, leave, open_page, wait_until_idle
from tests.ui.folders import find, make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("screening")
    find(make_run(folder, features=200).store)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with app_server(folder) as address:
        yield address


def test_keys_decide_and_undo_but_leave_typing_alone(
    new_page: NewPage, server: str, folder: Path, complaints: Complaints
) -> None:
    page = open_page(new_page(), f"{server}/Screen?run=demo")
    notebook = Notebook(folder / "notes.duckdb")
    page.keyboard.press("f")
    wait_until_idle(page)
    assert notebook.read().decisions == (), "nobody decides yet"
    page.locator(".st-key-who input").click()
    page.keyboard.type("Fnuld")
    page.keyboard.press("Enter")
    wait_until_idle(page)
    assert notebook.read().decisions == ()
    assert "who=Fnuld" in page.url
    expect(page.locator(".st-key-deciding").get_by_role("button", name="Finding")).to_be_enabled()
    page.locator(".st-key-left_by_enter_why input").click()
    page.keyboard.type("fun")
    page.keyboard.press("Enter")
    wait_until_idle(page)
    page.keyboard.press("f")
    wait_until_idle(page)
    first = page.url
    page.keyboard.press("n")
    wait_until_idle(page)
    assert page.url != first
    assert [(one.who, one.choice, one.reason) for one in notebook.read().of("demo").decisions] == [
        ("Fnuld", "not-exclusive", ""),
        ("Fnuld", "finding", "fun"),
    ]
    page.keyboard.press("z")
    wait_until_idle(page)
    assert page.url == first
    assert [one.choice for one in notebook.read().of("demo").decisions] == ["finding"]
    page.keyboard.press("ArrowRight")
    wait_until_idle(page)
    assert page.url != first
    there = page.url
    for key in ("f", "n", "u"):
        page.keyboard.press(key)
    wait_until_idle(page)
    assert page.url != there
    assert len(notebook.read().decisions) == 2, "keys are of what one sees"
    assert failures(page) == complaints.found == []
    leave(page)
