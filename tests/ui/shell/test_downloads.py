"""A file that cannot be made when it is asked for: the page says why."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import streamlit as st
from playwright.sync_api import expect

from dfc.config import UserError
from dfc.store.notes import Notebook
from dfc.ui.shell.downloads import File
from tests.ui.browser import NewPage, app_server, browser, failures, open_page, wait_until_idle
from tests.ui.folders import A_FEATURE, make_run


@pytest.fixture(scope="module")
def new_page(chromium: str) -> Iterator[NewPage]:
    with browser(chromium) as opener:
        yield opener


def test_a_card_of_a_store_that_is_gone_and_one_of_the_store_that_is_back(new_page: NewPage, tmp_path: Path) -> None:
    run = make_run(tmp_path)
    away = run.store.with_suffix(".away")
    with app_server(tmp_path) as server:
        page = open_page(new_page(), f"{server}/Feature?run=demo&feature={A_FEATURE}")
        run.store.rename(away)
        page.get_by_role("button", name="Card as PNG").click()
        said = page.get_by_role("dialog")
        expect(said).to_contain_text("This file could not be made")
        expect(said).to_contain_text(
            f"{run.store}: this run has no feature store yet; make it with `python -m dfc index"
        )
        away.rename(run.store)
        page.keyboard.press("Escape")
        expect(said).to_be_hidden()
        open_page(page, page.url)
        for _ in range(3):  # the page, which each click runs, too, takes no file away
            with page.expect_download() as download:
                page.get_by_role("button", name="Card as PNG").click()
            assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
            wait_until_idle(page)
        assert failures(page) == []


def test_a_report_without_what_it_quotes_says_what_is_wrong(new_page: NewPage, tmp_path: Path) -> None:
    run = make_run(tmp_path / "<i>x")
    Notebook(tmp_path / "<i>x" / "notes.duckdb").mark("demo", {A_FEATURE: f"{A_FEATURE:016x}"}, "list", "paper")
    run.store.with_name("steering.duckdb").write_bytes(b"no database" * 1000)
    with app_server(tmp_path / "<i>x") as server:
        page = open_page(new_page(), f"{server}/Lists?run=demo&kept=list%3A+paper")
        page.get_by_role("button", name="Report").click()
        expect(page.get_by_role("dialog")).to_contain_text("<i>x/runs/demo/steering.duckdb: is not a readable file")
        look = "() => getComputedStyle(document.querySelector('.dfc-wordmark')).display"
        assert page.evaluate(look) == "flex"  # what the click draws leaves the rest of the page as it was
        page.keyboard.press("Escape")
        page.get_by_role("link", name=f"Feature {A_FEATURE}", exact=True).click()
        expect(page.get_by_role("button", name="Card as PNG")).to_be_visible()
        expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_page_waits_for_the_browsers_file(monkeypatch: pytest.MonkeyPatch) -> None:
    said: dict[str, str] = {}
    monkeypatch.setattr(st, "session_state", said)
    page_waits = threading.Event()

    def make() -> bytes:
        page_waits.wait(10)
        raise UserError("it cannot be.")

    file = File(make)
    with ThreadPoolExecutor() as threads:
        made, page = threads.submit(file.content), threads.submit(file.wait)
        assert said == {}
        page_waits.set()
        assert isinstance(made.exception(), UserError)
        page.result()
    assert list(said.values()) == ["it cannot be."]
