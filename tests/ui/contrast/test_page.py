"""The Contrast page on a run of tiny models: sets that ship, that are typed, that are uploaded; and what stops it."""

from __future__ import annotations

import json
import random
import threading

import pytest
from streamlit.testing.v1 import AppTest

from dfc.config import UserError
from dfc.features import live
from dfc.runs import Run
from dfc.ui.contrast import work
from dfc.ui.contrast.work import Source
from dfc.ui.shell.text import plain
from tests import tiny
from tests.ui.pages import CONTRAST, OVERVIEW, calm, parameter, text, visit, wait_until

_DRAW = random.Random(5)
ENGLISH = "\n".join(" ".join(_DRAW.choices(tiny.ENGLISH, k=14)) for _ in range(12))
CHINESE = "\n".join("".join(_DRAW.choices(tiny.CHINESE, k=22)) for _ in range(12))
TYPED = {"one": "typed", "two": "typed", "one_text": ENGLISH, "two_text": CHINESE}


@pytest.fixture
def run(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run on the tiny models, as the app's data folder; nothing was contrasted yet."""
    monkeypatch.setenv("DFC_DATA", str(tiny_run.path.parent.parent))
    work.JOBS._jobs.clear()
    return tiny_run


def through(test: AppTest) -> AppTest:
    """The page once what it asked for is there."""
    wait_until(lambda: all(job.finished for job in work.JOBS._jobs.values()))
    return calm(test.run())


def links(test: AppTest) -> list[str]:
    return [link.proto.query_string for link in test.get("page_link") if "feature=" in link.proto.query_string]


def test_nothing_is_read_before_a_click(run: Run) -> None:
    test = calm(visit(CONTRAST, run="tiny"))
    assert [box.value for box in test.main.selectbox] == ["harmful", "harmless"]
    assert "The models are loaded when they are first needed" in text(test)
    assert not work.JOBS._jobs
    assert [parameter(test, place) for place in ("one", "two")] == ["harmful", "harmless"], "for whoever gets it"


def test_what_an_address_asks_for_and_is_not_there_is_not_read_as_something_else(run: Run) -> None:
    test = calm(visit(CONTRAST, run="tiny", one="../../etc/passwd", two="harmless", asked="1"))
    assert [box.value for box in test.main.selectbox] == ["harmful", "harmless"]
    assert not work.JOBS._jobs


def test_what_was_asked_is_there_again_after_another_page(run: Run) -> None:
    test = through(calm(visit(CONTRAST, run="tiny", asked="1", **TYPED)))
    said = text(test)
    for page in (OVERVIEW, CONTRAST):
        test.switch_page(page)
        test.query_params.clear()
        test.query_params["run"] = "tiny"
        calm(test.run())
    assert [box.value for box in test.text_area] == [ENGLISH, CHINESE]
    assert text(test) == said
    assert len(work.JOBS._jobs) == 1


def test_typed_sets_are_contrasted_and_stand_in_the_address(run: Run) -> None:
    test = calm(visit(CONTRAST, run="tiny", one="typed", two="typed"))
    assert test.button(key="contrast").disabled
    test.text_area[0].set_value(ENGLISH).run()
    test.text_area[1].set_value(CHINESE).run()
    test.button(key="contrast").click().run()
    assert len(work.JOBS._jobs) == 1
    test = through(test)
    said = text(test)
    assert "first set, typed: 12 prompts, " in said
    assert "Features that both may use" in said
    assert "fires on " in said
    assert links(test)
    assert all("run=tiny" in link for link in links(test))
    assert test.query_params["one_text"] in (ENGLISH, [ENGLISH])
    assert test.query_params["asked"] in ("1", ["1"])

    other = calm(visit(CONTRAST, run="tiny", asked="1", **TYPED))  # somebody who gets the address
    assert len(work.JOBS._jobs) == 1, "it is made once"
    assert links(other) == links(test)

    either = set(links(test))
    test.segmented_control(key="toward").set_value("first").run()
    of_first = set(links(calm(test)))
    test.segmented_control(key="toward").set_value("second").run()
    assert of_first | set(links(calm(test))) >= either
    assert not of_first & set(links(test))

    test.text_area[0].set_value(ENGLISH + "\nthe river").run()
    assert "asked" not in test.query_params
    assert not links(test), "another set is not contrasted before a click"


def test_a_file_is_uploaded(run: Run) -> None:
    content = "\n".join(json.dumps({"prompt": line, "response": CHINESE}) for line in ENGLISH.splitlines()).encode()
    asked = Source("file", "<b>mine</b>.jsonl", content).read(answered=False)
    assert asked.name == "<b>mine</b>.jsonl"
    assert {document.turns[0].content for document in asked.documents} == {*ENGLISH.splitlines()}
    assert all(len(document.turns) == 1 for document in asked.documents)
    assert len(Source("file", "mine.jsonl", content).read(answered=True).documents[0].turns) == 2
    with pytest.raises(UserError, match=r"^mine\.jsonl: .*mine\.jsonl") as refused:
        Source("file", "mine.jsonl", b"").read(answered=False)
    assert "prompts.jsonl" not in str(refused.value)
    with pytest.raises(UserError, match=r"^my-prompts\.jsonl: ") as refused:
        Source("file", "my-prompts.jsonl", b"").read(answered=False)
    assert "my-my-" not in str(refused.value)


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ({"one_text": "one prompt alone"}, "first set, typed: holds 1 of the prompts that a contrast needs"),
        ({"one_text": "a\nb\nc"}, "first set, typed: of 3 prompts 0 have tokens that count"),
    ],
)
def test_what_cannot_be_contrasted_is_one_sentence(run: Run, sets: dict[str, str], sentence: str) -> None:
    test = through(visit(CONTRAST, run="tiny", asked="1", **(TYPED | sets)))
    assert plain(sentence[1:]) in test.warning[0].value
    [job] = work.JOBS._jobs.values()
    assert plain(sentence[1:]) in calm(test.run()).warning[0].value
    assert list(work.JOBS._jobs.values()) == [job], "it is not begun again before a click"
    test.button(key="contrast").click().run()
    assert list(work.JOBS._jobs.values()) != [job]


def test_texts_of_strangers_are_escaped(run: Run) -> None:
    evil = "\n".join(f"{line} <img src=x onerror=alert(1)>" for line in ENGLISH.splitlines())
    test = through(visit(CONTRAST, run="tiny", asked="1", **(TYPED | {"one_text": evil})))
    assert "<img" not in "".join(str(one.proto.body) for one in test.get("html"))
    assert "&lt;img" in text(test)


def test_it_can_be_cancelled(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, go_on = threading.Event(), threading.Event()
    read = live.read_together

    def slowly(*arguments: object, **more: object) -> object:
        reading.set()
        assert go_on.wait(60)
        return read(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(live, "read_together", slowly)
    test = calm(visit(CONTRAST, run="tiny", asked="1", **TYPED))
    assert reading.wait(60)
    test.run()
    test.button(key="stop_job").click().run()
    go_on.set()
    test = through(test)
    assert "Stopped after 0 of 24 prompts" in test.info[0].value
    assert not links(test)
    test.button(key="contrast").click().run()
    assert links(through(test)), "asked for again, it is made"
