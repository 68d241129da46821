"""The Steer page in a real browser, on two small random models that never end of themselves."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from dfc.config import ModelPair
from tests.ui.browser import NewPage, app_server, browser, click_cell, failures, leave, open_page, wait_until_idle
from tests.ui.folders import A_FEATURE, B_FEATURE, SHARED_FEATURE, make_model, make_steerable_run

LONG = 900


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("steering")
    make_steerable_run(folder)
    settings = make_steerable_run(folder, "elsewhere").path / "run.yaml"
    settings.write_text(settings.read_text().replace("tiny-a", "gone"))
    slow = ModelPair(a=make_model(folder / "models" / "slow", 32, layers=60), b=make_model(folder / "models" / "b", 48))
    make_steerable_run(folder, "slow", slow)
    with app_server(folder, {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}) as address:
        yield address


@pytest.fixture(scope="module")
def new_page(chromium: str) -> Iterator[NewPage]:
    with browser(chromium) as opener:
        yield opener


@pytest.fixture
def page(new_page: NewPage) -> Iterator[Page]:
    page = new_page()
    yield page
    leave(page)


def write(page: Page, count: int = 2) -> None:
    """Let short texts be written, which may be there before Stop is seen, and wait until all are measured."""
    page.locator(".st-key-generate button").click()
    measured(page, count)


def measured(page: Page, count: int) -> None:
    expect(page.get_by_text(re.compile(r"tokens? · .*perplexity"))).to_have_count(count, timeout=60_000)
    written(page)


def generate(page: Page) -> None:
    """Begin long texts."""
    button = page.locator(".st-key-generate button")
    expect(button).to_have_count(1)
    button.click()
    expect(button).to_contain_text("Stop")
    expect(page.get_by_text("Generate", exact=True)).to_have_count(0)


def stop(page: Page) -> None:
    button = page.locator(".st-key-generate button")
    button.click()
    expect(button).to_contain_text("Generate")


def written(page: Page) -> None:
    """Wait until all texts are written and measured."""
    expect(page.locator(".st-key-generate button")).to_contain_text("Generate", timeout=60_000)
    expect(page.get_by_text("Measuring what the edits did")).to_have_count(0, timeout=60_000)


def answers(page: Page, count: int = 2) -> list[Locator]:
    expect(page.locator(".dfc-answer")).to_have_count(count)
    return page.locator(".dfc-answer").all()


def wait_for_words(page: Page, place: int = 0) -> None:
    page.wait_for_function(
        f"() => (document.querySelectorAll('.dfc-answer')[{place}]?.innerText ?? '').length > 20", timeout=60_000
    )


def test_baseline_beside_steered(page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?run=steer&feature={SHARED_FEATURE}&side=B&strength=20&max_tokens=30&prompt=In+the")
    write(page)
    wait_until_idle(page)
    baseline, steered = (answer.inner_text() for answer in answers(page))
    assert baseline
    assert steered
    assert baseline != steered
    assert failures(page) == []


def test_strength_0_changes_nothing(page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?run=steer&feature={A_FEATURE}&strength=0&max_tokens=30")
    write(page)
    wait_until_idle(page)
    baseline, steered = (answer.inner_text() for answer in answers(page))
    assert baseline == steered != ""


def test_four_panes_are_coloured(page: Page, server: str) -> None:
    edits = f"ab_{SHARED_FEATURE}_add_8_all"
    open_page(
        page, f"{server}/Steer?run=steer&edits={edits}&max_tokens=20&temperature=1&prompt=In+the&colours=changed+odds"
    )
    write(page, 4)
    wait_until_idle(page)
    texts = [answer.inner_text() for answer in answers(page, 4)]
    assert texts[0] != texts[1]
    assert texts[2] != texts[3]
    hovers = page.locator(".dfc-answer .dfc-context span[title]")
    assert hovers.count() > 20
    assert "left alone" in (hovers.first.get_attribute("title") or "")
    assert page.locator(".dfc-answer .dfc-context [class^=h]").count() > 0
    page.locator(".st-key-regenerate button").first.click()  # a hint doubles it, out of sight
    page.wait_for_function(
        "before => [...document.querySelectorAll('.dfc-answer')].map(one => one.innerText).join() !== before",
        arg=",".join(texts),
    )
    measured(page, 4)
    wait_until_idle(page)
    assert "seed=1" in page.url
    assert [answer.inner_text() for answer in answers(page, 4)] != texts
    assert failures(page) == []


def test_stop_frees_the_model(page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?run=steer&feature={B_FEATURE}&side=B&max_tokens={LONG}")
    generate(page)
    wait_for_words(page)
    stop(page)
    wait_until_idle(page)
    text = answers(page)[0].inner_text()
    page.wait_for_timeout(1_000)
    assert answers(page)[0].inner_text() == text
    generate(page)  # the model is free: a new text begins at once
    wait_for_words(page)
    stop(page)


def test_one_text_is_stopped_while_the_other_goes_on(page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?run=steer&feature={A_FEATURE}&max_tokens={LONG}&temperature=1")
    generate(page)
    wait_for_words(page, 1)
    page.locator(".st-key-stop_a_0 button").first.click()
    expect(page.locator(".st-key-again_a_0 button").first).to_contain_text("Regenerate", timeout=60_000)
    stopped, going = (answer.inner_text() for answer in answers(page))
    page.wait_for_function(
        "length => document.querySelectorAll('.dfc-answer')[1].innerText.length > length + 20", arg=len(going)
    )
    assert answers(page)[0].inner_text() == stopped
    expect(page.locator(".st-key-stop_a_1 button").first).to_be_enabled()
    page.locator(".st-key-colours").get_by_text("text only").click()  # the page is of use meanwhile
    expect(page.locator(".st-key-generate button")).to_contain_text("Stop")
    stop(page)
    wait_until_idle(page)
    assert "colours=text" in page.url
    assert failures(page) == []


def test_a_chat_goes_on_from_an_answer(page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?run=steer&feature={A_FEATURE}&max_tokens=8&temperature=1&prompt=In+the")
    write(page)
    wait_until_idle(page)
    said = str(answers(page)[1].text_content())
    page.locator(".st-key-reply_a_1 button").first.click()
    expect(page.locator(".st-key-earlier_1_text textarea")).to_have_value(said, timeout=60_000)
    expect(page.locator(".st-key-prompt textarea")).to_have_value("")
    page.locator(".st-key-prompt textarea").fill("and then")
    page.locator(".st-key-generate button").click()  # what was typed last is what is asked
    written(page)
    wait_until_idle(page)
    expect(page.get_by_text("other settings")).to_have_count(0)
    again = page.url
    open_page(page, again)
    expect(page.locator(".st-key-earlier_1_text textarea")).to_have_value(said)
    expect(page.locator(".st-key-prompt textarea")).to_have_value("and then")
    assert failures(page) == []


def test_second_reader_waits_and_is_told(page: Page, new_page: NewPage, server: str) -> None:
    other = new_page()
    for reader in (page, other):
        open_page(reader, f"{server}/Steer?run=slow&feature={A_FEATURE}&max_tokens={LONG}")
    generate(page)  # slowly: it is still at it when the other is told, however busy the machine
    wait_for_words(page)
    generate(other)
    expect(other.get_by_text("The model is writing something else; waiting").first).to_be_visible(timeout=60_000)
    stop(page)
    wait_for_words(other)
    other.close()  # a closed tab frees the model, too
    generate(page)
    page.wait_for_function("() => document.querySelectorAll('.dfc-answer')[0].innerText.length > 0", timeout=60_000)
    stop(page)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ("run=steer&prompt=+", "The prompt is empty"),
        (f"run=steer&max_tokens={LONG}&prompt={'word+' * 400}", "shorten it, or ask for fewer new tokens"),
        ("run=elsewhere", "models/gone: its model could not be loaded"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(parameters: str, sentence: str, page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?feature={A_FEATURE}&{parameters}")
    page.locator(".st-key-generate button").click()
    expect(page.get_by_test_id("stAlertContentError")).to_contain_text(sentence, timeout=60_000)
    written(page)
    assert page.locator(".st-key-generate button").is_enabled()
    assert len(failures(page)) == 1


def test_a_sweep_goes_on_while_the_page_is_used(page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?run=steer&feature={SHARED_FEATURE}&max_tokens=8&temperature=1&more=Sweep")
    page.locator(".st-key-start_sweep button").click()
    page.locator(".st-key-stop_job button").wait_for()
    page.locator(".st-key-sweep_control label").first.click()  # a rerun of the script
    page.get_by_test_id("stPlotlyChart").wait_for(timeout=60_000)
    wait_until_idle(page)
    assert "sweep=" in page.url
    assert "sweep_control=false" in page.url
    assert failures(page) == []


def test_a_sweep_outlives_its_browser(new_page: NewPage, server: str) -> None:
    address = f"{server}/Steer?run=steer&feature={A_FEATURE}&max_tokens={LONG}&more=Sweep"
    first = open_page(new_page(), address)
    first.locator(".st-key-start_sweep button").click()
    first.locator(".st-key-stop_job button").wait_for()
    first.close()
    second = open_page(new_page(), f"{server}/Steer?run=steer&more=Sweep")
    expect(second.get_by_test_id("stProgress")).to_contain_text(
        re.compile(r"of 13 answers · [\d,]+ tokens of the next"), timeout=60_000
    )
    second.locator(".st-key-stop_job button").click()
    expect(second.get_by_text("cancelled", exact=False).first).to_be_visible(timeout=60_000)
    second.locator(".st-key-stop_job").wait_for(state="detached")
    assert failures(second) == []
    leave(second)


def test_tables_are_downloaded_and_a_row_opens_its_feature(page: Page, server: str) -> None:
    address = f"{server}/Steer?run=steer&max_tokens=3&more=Sweep&sweep_top=2&sweep_strengths=2&sweep_control=false"
    open_page(page, f"{address}&feature={A_FEATURE}")
    page.locator(".st-key-start_sweep button").click()
    page.get_by_test_id("stPlotlyChart").wait_for(timeout=60_000)
    wait_until_idle(page)
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "download_effects"))))
    assert sorted(row["side"] for row in rows) == ["a", "a", "b", "b"]
    assert [abs(float(row["effect"])) for row in rows] == sorted((abs(float(r["effect"])) for r in rows), reverse=True)
    assert all(row["peak_tokens"] for row in rows)
    page.get_by_text("All 8 answers").click()
    wait_until_idle(page)
    answers = list(csv.DictReader(io.StringIO(downloaded(page, "download_answers"))))
    assert {row["feature_id"] for row in answers} == {row["feature_id"] for row in rows}
    assert len(answers) == 8
    open_page(page, page.url)
    page.get_by_test_id("stPlotlyChart").wait_for()
    wait_until_idle(page)
    click_cell(page, row=1)
    expect(page.get_by_role("heading", name=f"Feature {rows[1]['feature_id']}")).to_be_visible(timeout=60_000)
    assert failures(page) == []


def test_edits_are_downloaded(page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?run=steer&edits=a_{A_FEATURE}_clamp_0.5_all&more=Table+of+edits")
    [row] = csv.DictReader(io.StringIO(downloaded(page, "export_edits")))
    assert (row["side"], row["feature"], row["mode"], row["strength"]) == ("a", str(A_FEATURE), "clamp", "0.5")


def test_edits_of_a_model_that_is_gone_are_told(page: Page, server: str) -> None:
    open_page(page, f"{server}/Steer?run=elsewhere&edits=a_{A_FEATURE}_add_2_all&more=Table+of+edits")
    page.get_by_role("button", name="Download the edits").click()
    expect(page.get_by_role("dialog")).to_contain_text("models/gone")


def downloaded(page: Page, key: str) -> str:
    """What a button downloads; clicked again, as a reader would, if the page was drawn anew while the file was made."""
    button = page.locator(f".st-key-{key} button")
    try:
        with page.expect_download(timeout=10_000) as download:
            button.click()
    except PlaywrightTimeoutError:
        wait_until_idle(page)
        with page.expect_download() as download:
            button.click()
    return Path(download.value.path()).read_text(encoding="utf-8-sig")
