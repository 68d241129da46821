"""The page Screen: decided on, found again, undone, in the order of its weights."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import TextInput

from dfc import pipeline
from dfc.report import causal
from dfc.report.card import feature_card_html
from dfc.report.document import of_features, report_html
from dfc.runs import Run
from dfc.screen import flags, near, triage, words
from dfc.screen.queue import subjects
from dfc.store.effects import EffectStore
from dfc.store.notes import Notebook
from dfc.store.reader import Store
from dfc.ui.screen import checks
from dfc.ui.shell.notebook import book
from tests.tiny import make_encoder
from tests.ui.folders import find, judge, make_run
from tests.ui.pages import FEATURE, SCREEN, calm, parameter, text, visit


@pytest.fixture
def run(data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(flags, "SAMPLE", 200)
    made = make_run(data, features=200)
    find(made.store)
    return made


def as_person(test: AppTest, name: str) -> AppTest:
    test.text_input(key="who").set_value(name)
    return calm(test.run())


def reason(test: AppTest) -> TextInput:
    """The field for why something is decided."""
    return next(box for box in test.text_input if str(box.key).startswith("why_"))


def choices(notebook: Notebook) -> list[tuple[int, str, str, str]]:
    return [(one.feature_id, one.who, one.choice, one.reason) for one in reversed(notebook.read().of("demo").decisions)]


def test_who_decides_is_known_again_from_the_address(run: Run) -> None:
    again = calm(visit(SCREEN, run="demo", who="Ada"))
    assert again.text_input(key="who").value == "Ada"
    again.button(key="decide_finding").click().run()
    assert [(one.who, one.choice) for one in book().read().of("demo").decisions] == [("Ada", "finding")]


def test_three_are_decided_found_again_and_one_is_taken_back(run: Run) -> None:
    flags.screen(run)
    test = calm(visit(SCREEN, run="demo"))
    assert test.button(key="decide_finding").disabled, "nobody decides"
    assert "0 of 13 decided by anybody" in text(test)
    test = as_person(test, "Ada")
    first = parameter(test, "feature") if "feature" in test.query_params else None
    assert first is None, "the first is shown whatever the order, and no choice of anybody's"
    seen = []
    for choice, why in (("finding", "党 <b>clear</b>"), ("unreadable", ""), ("later", "")):
        reason(test).set_value(why).run()
        test.button(key=f"decide_{choice}").click().run()
        seen.append(int(parameter(calm(test), "feature")))
        assert reason(test).value == ""
    made = choices(book())
    assert [(who, choice, why) for _, who, choice, why in made] == [
        ("Ada", "finding", "党 <b>clear</b>"),
        ("Ada", "unreadable", ""),
        ("Ada", "later", ""),
    ]
    assert [feature for feature, *_ in made[1:]] == seen[:2], "the next one is shown"
    assert "<b>2 of 13 decided, 1 left for later</b> by Ada" in text(test)

    again = as_person(visit(SCREEN, run="demo"), " ada")
    assert "<b>2 of 13 decided, 1 left for later</b> by Ada" in text(again)
    decided = visit(SCREEN, run="demo", feature=str(made[0][0]))
    assert "a finding, says Ada" in text(decided).replace("\\", "")
    assert "<b>clear" not in text(decided)

    again.button(key="undo").click().run()
    assert choices(book()) == made[:2]
    assert int(parameter(calm(again), "feature")) == made[2][0]


def test_a_decision_is_changed_by_another_and_kept_as_history(run: Run) -> None:
    test = as_person(visit(SCREEN, run="demo", feature="60"), "Ada")
    test.button(key="decide_finding").click().run()
    test.query_params["feature"] = "60"
    test.run()
    test.button(key="decide_duplicate").click().run()
    assert [choice for _, _, choice, _ in choices(book())] == ["finding"], "of what is not said"
    assert [box.value for box in test.warning] == [
        "Nothing is decided yet: write the number of the feature of which it is a duplicate, then press D."
    ]
    reason(test).set_value("of 60").run()
    test.button(key="decide_duplicate").click().run()
    assert len(choices(book())) == 1, "of itself"
    other = next(one for one in triage.candidates(run) if one.subject.feature_id != 60).subject.feature_id
    reason(test).set_value(f"of {other}").run()
    test.button(key="decide_duplicate").click().run()
    assert [choice for _, _, choice, _ in choices(book())] == ["finding", "duplicate"]
    assert "<b>1 of 13 decided</b>" in text(test)
    test.button(key="undo").click().run()
    assert "a finding, says Ada" in text(calm(test)).replace("\\", "")


def test_a_reason_stays_with_what_it_was_written_of(run: Run) -> None:
    test = as_person(visit(SCREEN, run="demo", feature="60"), "Ada")
    reason(test).set_value("clear").run()
    test.button(key="next").click().run()
    assert reason(calm(test)).value == ""
    test.button(key="decide_later").click().run()
    assert [why for *_, why in choices(book())] == [""]
    test.query_params["feature"] = "60"
    assert reason(calm(test.run())).value == "clear"
    test.button(key="decide_finding").click().run()
    assert [why for *_, why in choices(book())] == ["", "clear"]


def test_a_second_click_before_the_next_is_drawn_decides_nothing(run: Run) -> None:
    test = as_person(visit(SCREEN, run="demo", feature="60"), "Ada")
    del test.session_state["decided_on"]  # as the first click leaves it, until the next one is drawn
    test.button(key="decide_finding").click().run()
    assert choices(book()) == []
    test.button(key="decide_finding").click().run()
    assert [feature for feature, *_ in choices(book())] == [60]


def test_weights_that_cannot_be_are_said(run: Run) -> None:
    test = calm(visit(SCREEN, run="demo", weight_flag="-9", weight_effect="xx"))
    assert test.number_input(key="weight_flag").value == test.number_input(key="weight_effect").value == 1
    said = " ".join(toast.value for toast in test.toast).replace("\\", "")
    assert "weight_flag=-9" in said
    assert "weight_effect=xx" in said


def test_two_people_and_whether_they_agree(run: Run) -> None:
    for who, choice in (("Ada", "finding"), ("Bo <i>", "unreadable")):
        book().decide("demo", 60, f"{60:016x}", who, choice)  # type: ignore[arg-type]
    words = text(calm(visit(SCREEN, run="demo", feature="60")))
    assert "Ada and Bo &lt;i&gt; both decided on 1, alike on 0 (Cohen&#x27;s κ 0.00)" in words


def test_what_is_needed_to_decide_is_there(run: Run) -> None:
    flags.screen(run)
    test = calm(visit(SCREEN, run="demo", feature="150"))
    words = text(test)
    for shown in (
        "Gemma-3-270m, by more than in like texts.",
        "0.300 ± 0.010 nats a character beyond matched places",
        "feature 150, 3 features",
        "Its best feature, 150",
        "Then, 0",
        "weakest quarter",
        "Triage score",
        "gap of 0.280 at least; its model expects it better",
    ):
        assert shown in words
    links = [link.proto for link in test.get("page_link") if "feature=" in link.proto.query_string]
    [steer] = [link for link in links if "Steer" in link.page]
    assert "side=A" in steer.query_string
    assert "more=sweep" in steer.query_string
    assert "sweep_set=" in steer.query_string
    assert [link.label for link in links if "Feature" in link.page] == [
        "Feature 150, the best",
        "Feature 0",
        "Feature 151",
    ]


def test_weights_order_the_queue_and_stand_in_the_address(run: Run) -> None:
    nothing = {"weight_evidence": "0", "weight_readability": "0", "weight_flag": "0", "weight_effect": "0"}
    test = calm(visit(SCREEN, run="demo", feature="150", **nothing))
    assert "1 of 13 in the queue" in text(test), "by rank, for all scores are 1"
    test.button(key="next").click().run()
    assert parameter(calm(test), "feature") == "60"
    assert "2 of 13 in the queue" in text(test)


def test_flags_are_looked_for_from_the_page(run: Run) -> None:
    test = calm(visit(SCREEN, run="demo"))
    assert "not looked for yet" in text(test)
    test.button(key="look").click().run()
    assert run.screening.exists()
    assert "not looked for yet" not in text(calm(test))
    assert not [button for button in test.button if button.key == "look"]


def test_what_is_not_in_the_queue_is_said(run: Run) -> None:
    assert "Feature 5 is not in this queue" in text(calm(visit(SCREEN, run="demo", feature="5")))


def test_a_run_that_is_not_judged(data: Path) -> None:
    make_run(data, features=60)
    assert "verify demo" in text(calm(visit(SCREEN, run="demo")))


def test_a_decision_is_shown_with_the_feature_and_in_the_report(run: Run) -> None:
    book().decide("demo", 60, "another decoder", "Ada", "not-exclusive", "A <b>writes</b> it, too")
    line = "not exclusive, says Ada ("
    words = text(calm(visit(FEATURE, run="demo", feature="60")))
    assert line in words
    assert "A &lt;b&gt;writes&lt;/b&gt; it, too [of an earlier version]" in words
    report = report_html(run, of_features(run, [60, 61]), book(), None)
    assert report.count(line) == 1
    assert "A &lt;b&gt;writes&lt;/b&gt; it, too [of an earlier version]" in report


def test_each_flag_leads_to_the_features_nearest_to_it_in_meaning(run: Run, data: Path) -> None:
    known = words.load(words.place())

    def links() -> dict[str, bool]:
        found = calm(visit(SCREEN, run="demo")).get("page_link")
        return {link.proto.label: link.proto.disabled for link in found if link.proto.label in titles}

    titles = {flag.title for flag in known.values()}
    assert links() == dict.fromkeys(titles, True), "no vectors, no way there"
    pipeline.meaning(run, make_encoder(data / "models" / "tiny"), "cpu")
    assert links() == dict.fromkeys(titles, False)


def test_what_was_measured_is_shown_here_on_the_features_page_and_on_its_card(run: Run) -> None:
    kept, store = EffectStore(run.effects), Store(run.store)
    one = next(one for one in subjects(store) if one.partition == one.side)
    before = text(calm(visit(SCREEN, run="demo", feature=str(one.feature_id))))
    assert "python -m dfc causal demo" in before
    assert "python -m dfc outside demo" in before
    about = {"feature_id": one.feature_id, "side": one.side, "held_out": True, "firings": 1, "positions": 4}
    rows = [{**about, "document": number, "kl": 0.3, "random": 0.1} for number in range(6)]
    kept.add_ablation(one.feature_id, one.fingerprint, 6, 4, rows)
    way = '{"by": "judge", "name": "<b>m", "known": ""}'
    place = {"drawn": "{}", "prompt": "p", "way": way, "seed": 0}
    kept.add_alike([{**place, "feature_id": -1, "fingerprint": "", "strength": 0.0, "r2": None, "value": 3.0}])
    own = {"feature_id": one.feature_id, "fingerprint": one.fingerprint, "strength": 2.0, "r2": 0.5, "value": 1.5}
    kept.add_alike([{**place, **own}, {**place, **own, "drawn": '{"direction": "random"}', "value": 2.0}])
    kept.add_outside(
        "harmful", '{"measure": "refusal", "words": [], "regex": ""}', '{"samples": 4}', 2, [[1, 0], [1, 0]]
    )
    shown = text(calm(visit(SCREEN, run="demo", feature=str(one.feature_id))))
    assert "changes by 0.3 nats a token, by 0.1 without a random direction as long" in shown
    assert "Exclusivity score 4.5 of 5 (4.5 to 4.5) by the judge &lt;b&gt;m" in shown
    assert "random directions as long have 4.0 (4.0 to 4.0)" in shown
    assert "on 2 prompts of harmful, 4 answers each: refuses" in shown
    assert "without it 0.3 nats a token, by chance 0.1" in shown
    page = text(calm(visit(FEATURE, run="demo", feature=str(one.feature_id))))
    assert "changes more than without a random direction: 3.0 times (3.0 to 3.0) as much" in page
    assert "Carried over, it makes the models write less alike than random directions do" in page
    assert "random directions as long have 4.0" in feature_card_html(store, one.feature_id, "demo")
    assert "random directions as long have 4.0" in report_html(run, of_features(run, [one.feature_id]), book(), None)


def test_a_flag_of_ones_own_does_not_move_the_queue_until_one_asks_or_comes_back(run: Run) -> None:
    test = as_person(visit(SCREEN, run="demo", weight_flag="4"), "Ada")  # so that one flag makes it the first
    queue: list[int] = []
    for _ in range(3):
        queue.append(int(parameter(test, "feature")) if "feature" in test.query_params else first_of(run))
        test.button(key="next").click().run()
    third = queue[2]
    test.query_params["feature"] = str(third)
    calm(test.run())
    assert "3 of 13 in the queue" in text(test)
    test.multiselect(key=f"flags_of_{third}").set_value(["code"])
    calm(test.run())
    assert "code, says Ada" in text(test)
    assert "3 of 13 in the queue" in text(test), "its score is higher, its place is not"
    test.button(key="anew").click().run()
    assert "1 of 13 in the queue" in text(calm(test))
    assert not [button for button in test.button if button.key == "anew"]
    test.multiselect(key=f"flags_of_{third}").set_value([])
    calm(test.run())
    assert "1 of 13 in the queue" in text(test)
    test.switch_page(FEATURE).run()
    test.switch_page(SCREEN).run()
    test.query_params["feature"] = str(third)
    assert "3 of 13 in the queue" in text(calm(test.run()))


def first_of(run: Run) -> int:
    return triage.ordered(triage.candidates(run))[0].subject.feature_id


def test_what_is_queued_is_said_above_it(run: Run) -> None:
    assert "To decide on: 13 findings." in text(calm(visit(SCREEN, run="demo")))


def test_flags_by_meaning_are_offered_once_it_is_known_and_shown(
    run: Run, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags.screen(run)
    assert "not compared in meaning, for" in text(calm(visit(SCREEN, run="demo", feature="150")))
    pipeline.meaning(run, make_encoder(data / "models" / "tiny"), "cpu")
    monkeypatch.setattr(near, "ABOVE", -1e9)  # an encoder of random weights knows no subjects
    test = calm(visit(SCREEN, run="demo", feature="150"))
    assert test.button(key="look").label == "Look for flags in meaning, too"
    test.button(key="look").click().run()
    shown = text(calm(test))
    assert "<b title=" in shown
    assert "in meaning: likeness" in shown
    assert "not compared in meaning" not in shown
    assert not [button for button in test.button if button.key == "look"]


def test_the_first_of_the_queue_are_checked_in_the_background(tiny_copy: Run) -> None:
    judge(tiny_copy.store)
    store = Store(tiny_copy.store)
    features = [one.feature_id for one in subjects(store)]
    test = calm(visit(SCREEN, run="tiny"))
    test.button(key="check").click().run()
    while checks.JOBS.running(tiny_copy) is not None:
        time.sleep(0.1)
    test.run()
    assert not test.exception, "it asks for the whole page"
    assert set(causal.kept(store, features)) == set(features)
    assert not [button for button in calm(visit(SCREEN, run="tiny")).button if button.key == "check"]


def test_a_check_is_stopped_goes_on_and_says_what_is_wrong(tiny_copy: Run) -> None:
    judge(tiny_copy.store)
    store = Store(tiny_copy.store)
    features = tuple(one.feature_id for one in subjects(store))
    stopped = checks.check(tiny_copy, features)
    stopped.stopped.set()
    stopped.work("causal check")
    assert (stopped.result, stopped.done, stopped.problem, stopped.finished) == (0, 1, None, True)
    whole = checks.check(tiny_copy, features)
    whole.work("causal check")
    assert (whole.result, whole.done, whole.problem) == (len(features), whole.total, None)
    failed = checks.check(tiny_copy, (999_999,))
    failed.work("causal check")
    assert failed.problem is not None
    assert "Feature 999999 does not exist" in failed.problem
