"""What judges and people say of a feature, on its page, in lists, on its card and on the page Screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc.report.card import feature_card_html
from dfc.runs import Run
from dfc.screen import flags
from dfc.store.explanations import Detection, Explanation, ExplanationStore, Said
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell.notebook import book
from tests.ui.folders import find, make_run
from tests.ui.pages import FEATURE, SCREEN, calm, text, visit

BEST = 150
"""The best feature of the first finding."""
PRINT = f"{BEST:016x}"
TEXT = "news of <b>China</b> | *press*"


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(flags, "SAMPLE", 200)
    made = make_run(data, features=200)
    find(made.store)
    tested = Detection(0.95, 0.97, 0.8, 0.99, 10, 10, 2)
    when = "2026-11-30T10:00:00+00:00"
    kept = ExplanationStore(made.explanations)
    kept.put(
        Explanation(BEST, PRINT, "judge", "some/model", when, TEXT, "1", "abc", tested),
        [Said(BEST, PRINT, "judge", "some/model", when, "china-censored", True, "<i>Taiwan</i>", "1")],
    )
    return made


def test_the_page_and_the_card_say_what_and_who_and_how_well(run: Run) -> None:
    words = text(calm(visit(FEATURE, run="demo", feature=str(BEST))))
    assert "news of &lt;b&gt;China&lt;/b&gt;" in words
    assert "some/model, a judge, 2026-11-30; detection 0.95 (AUROC 0.97, 0.80 to 0.99)" in words
    assert "&lt;i&gt;Taiwan&lt;/i&gt;" in words
    assert "<b>China" not in words
    card = feature_card_html(Store(run.store), BEST, "demo")
    assert "detection 0.95" in card
    assert "<b>China" not in card


def test_a_label_of_ones_own_stands_before_it(run: Run) -> None:
    test = calm(visit(FEATURE, run="demo", feature=str(BEST)))
    assert test.button(key="keep_label").disabled
    test.text_input(key=f"own_label_{BEST}").set_value("datelines")
    test.text_input(key="labelled_by").set_value(" Ada ").run()
    calm(test.button(key="keep_label").click().run())
    assert Store(run.store).feature(BEST).label == "datelines"
    assert [one.text for one in book().read().of("demo").labels] == ["datelines"]
    calm(test.button(key="keep_label").click().run())
    assert len(book().read().labels) == 1, "it said so already"
    assert '<p class="dfc-called" title="given by a person">datelines' in text(test)
    assert "some/model, a judge" in text(test), "what the judge said stays"
    assert Store(run.store).feature_ids(FeatureQuery(search="datelines")) == [BEST]
    test.text_input(key=f"own_label_{BEST}").set_value("")
    calm(test.run().button(key="keep_label").click().run())
    assert Store(run.store).feature(BEST).label == TEXT


def test_a_judges_flags_stand_beside_those_by_words_and_a_person_may_refuse_them(run: Run) -> None:
    test = calm(visit(SCREEN, run="demo", feature=str(BEST)))
    assert "&lt;i&gt;Taiwan&lt;/i&gt; (some/model, a judge, 2026-11-30)" in text(test)
    apply = test.multiselect(key=f"flags_of_{BEST}")
    assert apply.disabled, "nobody says so"
    test.text_input(key="who").set_value("Ada")
    calm(test.run())
    assert test.multiselect(key=f"flags_of_{BEST}").value == ["china-censored"]
    test.multiselect(key=f"flags_of_{BEST}").set_value(["code"])
    calm(test.run())
    [told] = ExplanationStore(run.explanations).told({BEST: PRINT}).values()
    assert {name: (one.applies, one.who) for name, one in told.standing.items()} == {
        "china-censored": (False, "Ada"),
        "code": (True, "Ada"),
    }
    assert {(one.flag, one.applies) for one in book().read().of("demo").flags} == {
        ("china-censored", False),
        ("code", True),
    }
    assert "&lt;i&gt;Taiwan" not in text(test)
    assert test.multiselect(key=f"flags_of_{BEST}").value == ["code"]
