"""What an auditor does, in a real browser, on a judged run made from the two real models."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from dfc import pipeline
from dfc.runs import Run
from dfc.store.notes import Notebook
from dfc.store.reader import EvidenceRow, FeatureQuery, Store
from dfc.ui.shell import feature_table
from tests.ui.browser import (
    ROOT,
    Complaints,
    NewPage,
    app_server,
    click_cell,
    failures,
    leave,
    open_page,
    wait_until_idle,
)

ROWS_IN_SIGHT = 8
TEXT = "Beijing, May 3 (Xinhua) -- The president will visit the village on Sunday, officials said."


@pytest.fixture(scope="module")
def run(real_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A judged copy of the run, in a data folder to be written to."""
    copy = Run(tmp_path_factory.mktemp("stories") / "runs" / "real")
    shutil.copytree(real_run.path, copy.path)
    pipeline.verify(copy)
    return copy


@pytest.fixture(scope="module")
def server(run: Run) -> Iterator[str]:
    with app_server(run.path.parent.parent) as address:
        yield address


@pytest.fixture(autouse=True)
def nothing_to_complain(complaints: Complaints) -> Iterator[None]:
    complaints.found.clear()
    yield
    assert complaints.found == []


def mirrored(store: Store) -> tuple[EvidenceRow, str, int]:
    """A feature of B alone that has a mirror, a word of its strongest context, and its row among those that have it."""
    query = FeatureQuery(partitions=("b",), order="confidence", limit=20)
    for identity in store.features(query)["feature_id"].tolist():
        evidence = store.evidence(identity)
        [context] = store.strongest_contexts([identity]).values()
        words = re.findall(r"[a-z]{5,}", "".join(context.tokens_b).lower())
        for word in sorted(set(words), key=lambda word: (-len(word), word))[:5]:
            found = store.features(FeatureQuery(partitions=("b",), order="relevance", search=word))
            row = found["feature_id"].tolist().index(identity)
            if evidence and evidence.mirror_id is not None and row < ROWS_IN_SIGHT:
                return evidence, word, row
    raise AssertionError("no feature of B has a mirror")


def test_a_feature_is_found_tagged_compared_and_shared(new_page: NewPage, server: str, run: Run) -> None:
    evidence, word, row = mirrored(Store(run.store))
    page = open_page(new_page(), f"{server}/?run=real")
    page.get_by_test_id("stSidebarContent").get_by_role("link", name="Exclusive features").click()
    wait_until_idle(page)
    page.get_by_test_id("stMain").get_by_text("only B", exact=True).click()
    wait_until_idle(page)
    page.get_by_placeholder("words in labels").fill(word)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"search={word}"))
    wait_until_idle(page)
    click_cell(page, row=row, height=feature_table.LINES)
    expect(page.get_by_role("heading", name=f"Feature {evidence.feature_id} ")).to_be_visible()
    wait_until_idle(page)
    badge = page.locator(".dfc-verdict").inner_text().replace("\u2002", " ")
    assert f"evidence score {evidence.confidence:.2f}" in badge

    tags = page.locator(f".st-key-tags_of_{evidence.feature_id} input")
    tags.click()
    page.keyboard.type("news")
    page.keyboard.press("Enter")
    wait_until_idle(page)
    page.keyboard.press("Escape")  # an open list hides the rest of the page from assistive technology
    marks = Notebook(run.path.parent.parent / "notes.duckdb").read().of("real").marks
    assert [(mark.feature_id, mark.name) for mark in marks] == [(evidence.feature_id, "news")]

    fresh = open_page(new_page("dark"), page.url)
    expect(fresh.get_by_role("heading", name=f"Feature {evidence.feature_id} ")).to_be_visible()
    expect(fresh.locator(".st-key-notes_panel")).to_contain_text("news")
    expect(fresh.get_by_role("link", name=re.compile(r"^\d+ of \d+ in the list"))).to_be_visible()
    assert failures(fresh) == []
    leave(fresh)

    page.get_by_role("link", name=f"Of the other model's own: feature {evidence.mirror_id},").click()
    expect(page.get_by_role("heading", name=f"Feature {evidence.mirror_id} ")).to_be_visible()
    wait_until_idle(page)
    assert failures(page) == []
    leave(page)


def test_a_region_of_the_norms_is_listed_and_opened(new_page: NewPage, server: str) -> None:
    page = open_page(new_page(), f"{server}/Decoder_norms?run=real&colour=verdict")
    chart = page.get_by_test_id("stPlotlyChart").nth(1)
    chart.scroll_into_view_if_needed()
    plot = chart.locator(".nsewdrag").bounding_box()
    assert plot is not None
    page.mouse.move(plot["x"] + 2, plot["y"] + 2)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] - 2, plot["y"] + plot["height"] - 2, steps=5)
    page.mouse.up()
    expect(page.get_by_text(re.compile(r"^\d+ selected"))).to_be_visible()
    wait_until_idle(page)
    click_cell(page)
    expect(page).to_have_title(re.compile(r"^Feature \d+ · dfc"))
    wait_until_idle(page)
    assert "run=real" in page.url
    assert failures(page) == []
    leave(page)


def test_a_typed_prompt_is_read_by_both_models(new_page: NewPage, server: str) -> None:
    page = open_page(new_page(), f"{server}/Prompt?run=real")
    page.get_by_placeholder("Type or paste a text").fill(TEXT)
    page.keyboard.press("Control+Enter")
    strips = page.locator(".dfc-reading .dfc-context")
    strips.nth(1).wait_for(timeout=240_000)  # both models are loaded first
    wait_until_idle(page)
    for side in (0, 1):
        tokens = strips.nth(side).locator(":scope > span").all_inner_texts()
        assert "".join(tokens).replace("\n", "").endswith(TEXT)
    assert failures(page) == []
    leave(page)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_link_to_every_page(theme: Literal["light", "dark"], new_page: NewPage, server: str, run: Run) -> None:
    page: Page = new_page(theme)
    feature = mirrored(Store(run.store))[0].feature_id
    names = [path.stem.partition("_")[2] for path in sorted((ROOT / "pages").glob("*.py"))]
    for name in ("", *names):
        open_page(page, f"{server}/{name}?run=real&feature={feature}")
        assert failures(page) == [], name
        title = name.replace("_", " ").replace("Lists", "Notes and lists") or "Overview"
        expect(page).to_have_title(re.compile(f"^{title}"))
    leave(page)
