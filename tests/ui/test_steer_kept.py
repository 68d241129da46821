"""What the Steer page keeps: the history, sweeps in the background, edits as a table; on two small random models."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dfc import config, models, runs
from dfc.config import JudgeConfig
from dfc.runs import Run
from dfc.steering import edit_table, sweeps
from dfc.steering.edits import Edit
from dfc.steering.generation import Answer, Sampling
from dfc.steering.sweeps import Sweep, run_sweep
from dfc.steering.trials import Trial, record
from dfc.store.notes import Notebook
from dfc.store.reader import FeatureQuery, Store
from dfc.ui import steer_address, steer_outputs
from dfc.ui.steer_address import Row
from dfc.ui.steer_jobs import Job
from dfc.ui.steer_run import Pane, Request, Texts, _Work
from dfc.ui.text import plain
from tests.steering.endpoint import configure, says, serving
from tests.ui.folders import A_FEATURE, B_FEATURE, SHARED_FEATURE, make_steerable_run
from tests.ui.pages import STEER, calm, parameter, text, visit


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("kept")
    make_steerable_run(folder)
    return folder


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The run, with nothing kept yet."""
    monkeypatch.setenv("DFC_DATA", str(folder))
    run = runs.find("steer")
    yield run
    sweeps.store(run).path.unlink(missing_ok=True)
    (folder / "notes.duckdb").unlink(missing_ok=True)


def a_sweep(**changes: object) -> Sweep:
    sweep = Sweep(
        (Edit("a", A_FEATURE), Edit("b", B_FEATURE)), (1.0, 2.0), ("The old", "今天"), Sampling(4, 1.0), words=("the",)
    )
    return replace(sweep, **changes)  # type: ignore[arg-type]


def wait_for_job(test: AppTest) -> AppTest:
    if "steer_job" not in test.session_state:  # it was through before the page was drawn, which shows it
        return test
    job: Job = test.session_state["steer_job"]
    wait_until(lambda: job.finished)
    return test.run()


def write(test: AppTest, button: str = "generate") -> Texts:
    """Click a button that lets texts be written, and wait until they are."""
    test.button(key=button).click().run()
    texts: Texts = test.session_state["steer_kept"]
    wait_until(lambda: not texts.writing)
    calm(test.run())
    return texts


@contextmanager
def another(run: Run) -> Iterator[Run]:
    """A run called `other` with the same features."""
    other = Run(run.path.with_name("other"))
    shutil.copytree(run.path, other.path)
    yield other
    shutil.rmtree(other.path)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    assert true()


class TestGenerating:
    def test_texts_are_measured_and_put_into_the_history(self, run: Run) -> None:
        edits = f"a_{A_FEATURE}_add_4_all~ab_{SHARED_FEATURE}_clamp_1_generated"
        test = calm(visit(STEER, run="steer", edits=edits, max_tokens="6", temperature="1.0", seed="3"))
        write(test)
        assert text(test).count('<div class="dfc-answer') == 4
        assert "perplexity" in text(test)
        [kept] = sweeps.store(run).tried().to_dict("records")
        trial = Trial.from_json(kept["request"])
        assert trial.edits == steer_address.edits(steer_address.unpack(edits))
        assert trial.sampling == Sampling(6, 1.0, 1.0, 3)
        for colours in ("text only", "changed odds"):
            calm(test.segmented_control(key="colours").set_value(colours).run())

    def test_one_text_is_written_anew_and_the_others_stay(self, run: Run) -> None:
        """With its next seed; it is what that seed gives beside another text, too."""
        edits = f"ab_{SHARED_FEATURE}_add_4_all"
        test = calm(visit(STEER, run="steer", edits=edits, max_tokens="12", temperature="1.5", seed="3"))
        texts = write(test)
        before = {side: [pane.text for pane in panes] for side, panes in texts.panes.items()}
        assert not any(pane.writing or pane.stopped for panes in texts.panes.values() for pane in panes)
        write(test, "again_b_1")
        after = {side: [pane.text for pane in panes] for side, panes in texts.panes.items()}
        assert after["a"] == before["a"]
        assert after["b"][0] == before["b"][0]
        assert after["b"][1] != before["b"][1]
        assert "seed 4" in text(test)
        assert texts.panes["b"][1].found is not None
        kept = sweeps.store(run).tried().to_dict("records")
        answers = {Trial.from_json(row["request"]).sampling.seed: json.loads(row["answers"]) for row in kept}
        assert answers[4] == {"b": {"steered": after["b"][1]}}
        assert answers[3]["a"] == {"baseline": before["a"][0], "steered": before["a"][1]}
        test.number_input(key="seed").set_value(4).run()
        assert test.button(key="again_b_1").disabled  # other settings than those of the texts
        assert write(test).panes["b"][1].text == after["b"][1]

    def test_one_text_is_stopped_and_the_others_go_on(self, run: Run) -> None:
        model = models.shared(run.config().models.a)
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), max_tokens="60", prompt="The old"))
        with model.lock:  # nothing is written before it is stopped
            test.button(key="generate").click().run()
            texts: Texts = test.session_state["steer_kept"]
            wait_until(lambda: "waiting" in texts.panes["a"][0].doing)
            assert "writing something else; waiting" in text(calm(test.run()))
            assert test.button(key="generate").label == "Stop"
            test.button(key="stop_a_1").click().run()
            assert texts.panes["a"][1].stopped
        wait_until(lambda: not texts.writing)
        calm(test.run())
        alone, steered = texts.panes["a"]
        assert len(alone.tokens) == 60
        assert not steered.tokens
        assert "stopped" in text(test)
        assert sweeps.store(run).tried().empty  # a text that was stopped cannot be repeated
        assert test.button(key="again_a_0").disabled  # at temperature 0 it would be the same
        write(test, "again_a_1")
        assert len(texts.panes["a"][1].tokens) == 60

    def test_who_generates_again_stops_what_was_being_written(self, run: Run) -> None:
        model = models.shared(run.config().models.a)
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), max_tokens="500"))
        test.button(key="generate").click().run()
        first: Texts = test.session_state["steer_kept"]
        wait_until(lambda: len(first.panes["a"][0].tokens) > 0)
        test.button(key="generate").click().run()  # Stop
        wait_until(lambda: not first.writing and not model.lock.locked())
        assert all(pane.stopped for pane in first.panes["a"])
        assert test.run().button(key="generate").label == "Generate"

    def test_texts_without_a_browser_end_and_free_the_model(self, run: Run) -> None:
        settings = run.config().models
        [row] = steer_address.unpack(f"a_{A_FEATURE}_add_2_all")
        request = Request(str(run.path), (row,), "The old", False, (), 500, 0.0, 1.0, 0, False)
        panes = [Pane(doing="Writing …"), Pane(doing="Writing …")]
        texts = Texts(request, {"a": panes})
        _Work(texts, settings, 0, watched=lambda: len(panes[0].tokens) < 3).do({"a": [0, 1]})
        assert all(3 <= len(pane.tokens) < 20 and pane.stopped and not pane.doing for pane in panes)
        wait_until(lambda: not models.shared(settings.a).lock.locked())
        assert sweeps.store(run).tried().empty

    def test_a_chat_goes_on_from_an_answer(self, run: Run) -> None:
        address = {"run": "steer", "feature": str(A_FEATURE), "max_tokens": "5", "prompt": "The <b>old"}
        test = calm(visit(STEER, **address, earlier=json.dumps([["system", "Be brief"]])))
        first = write(test).panes["a"][1].text
        calm(test.button(key="reply_a_1").click().run())
        said = json.loads(parameter(test, "earlier"))
        assert said == [["system", "Be brief"], ["user", "The <b>old"], ["assistant", first]]
        assert test.text_area(key="prompt").value == ""
        test.text_area(key="prompt").set_value("and").run()
        texts = write(test)
        assert texts.panes["a"][0].tokens
        trial = Trial.from_json(sweeps.store(run).tried()["request"].iloc[0])
        assert [(turn.role, turn.content) for turn in trial.earlier] == [tuple(turn) for turn in said]
        test.text_area(key="earlier_1_text").set_value("The new").run()
        test.selectbox(key="earlier_0_role").set_value("user").run()
        test.button(key="earlier_2_drop").click().run()
        test.button(key="earlier_add").click().run()
        said = json.loads(parameter(calm(test), "earlier"))
        assert said == [["user", "Be brief"], ["user", "The new"], ["assistant", ""]]
        test.toggle(key="chat").set_value(False).run()
        assert "earlier_0_role" not in [one.key for one in calm(test).selectbox]
        identity = sweeps.store(run).tried()["tried_id"].iloc[0]
        test.segmented_control(key="more").set_value("History").run()
        calm(test.button(key=f"again_{identity}").click().run())
        assert json.loads(parameter(test, "earlier")) == [[turn.role, turn.content] for turn in trial.earlier]

    def test_a_chat_that_is_too_long_for_the_address_is_kept(self, run: Run) -> None:
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE)))
        test.button(key="earlier_add").click().run()
        test.text_area(key="earlier_0_text").set_value("word " * 2_000).run()
        assert "earlier" not in test.query_params
        assert test.text_area(key="earlier_0_text").value == "word " * 2_000
        assert "too long for the address" in calm(test).caption[0].value
        test.text_area(key="earlier_0_text").set_value("word").run()
        assert not calm(test).caption
        test.text_area(key="earlier_0_text").set_value("word " * 2_000).run()
        with another(run):  # a chat belongs to its run, as one in the address does
            test.query_params["run"] = "other"
            assert "earlier_0_text" not in [area.key for area in calm(test.run()).text_area]

    def test_what_was_typed_last_is_kept_whatever_is_clicked(self, run: Run) -> None:
        """A browser sends both at once."""
        turns = json.dumps([["user", "first"], ["assistant", "second"]])
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), earlier=turns))
        test.text_area(key="earlier_0_text").set_value("typed")
        calm(test.button(key="earlier_add").click().run())
        assert json.loads(parameter(test, "earlier")) == [["user", "typed"], ["assistant", "second"], ["user", ""]]
        test.text_area(key="earlier_2_text").set_value("last")
        calm(test.button(key="earlier_0_drop").click().run())
        assert json.loads(parameter(test, "earlier")) == [["assistant", "second"], ["user", "last"]]
        assert [test.text_area(key=f"earlier_{at}_text").value for at in (0, 1)] == ["second", "last"]
        test.toggle(key="chat").set_value(False).run()
        calm(test.toggle(key="chat").set_value(True).run())
        assert [test.text_area(key=f"earlier_{at}_text").value for at in (0, 1)] == ["second", "last"]

    def test_a_chat_that_makes_no_sense_is_one_sentence(self, run: Run) -> None:
        test = visit(STEER, run="steer", feature=str(A_FEATURE), earlier='[["wizard", "x"]]')
        assert not test.exception
        assert "cannot be read" in test.error[0].value

    def test_half_a_character_in_the_address_is_replaced(self, run: Run) -> None:
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), earlier='[["user", "\\ud800x"]]'))
        assert test.text_area(key="earlier_0_text").value == "?x"

    def test_what_was_said_of_a_text_goes_with_it(self, run: Run) -> None:
        address = {"run": "steer", "feature": str(A_FEATURE), "strength": "0", "temperature": "1.0", "max_tokens": "5"}
        test = calm(visit(STEER, **address))
        texts = write(test)
        assert "nothing is added" in test.warning[0].value
        with models.shared(run.config().models.a).lock:
            test.button(key="again_a_1").click().run()
            wait_until(lambda: "waiting" in texts.panes["a"][1].doing)
            assert not calm(test.run()).warning
            test.button(key="stop_a_1").click().run()
        wait_until(lambda: not texts.writing)
        assert not calm(test.run()).warning

    def test_texts_that_cannot_be_measured_are_kept(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("<b>boom")

        monkeypatch.setattr(_Work, "_measure", fail)
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), max_tokens="5"))
        test.button(key="generate").click().run()
        wait_until(lambda: not test.session_state["steer_kept"].writing)
        test.run()
        assert [error.value for error in test.error] == [plain("This ended with an error: RuntimeError: <b>boom")]
        assert text(test).count('<div class="dfc-answer') == 2
        assert len(sweeps.store(run).tried()) == 1

    def test_texts_of_another_run_end(self, run: Run) -> None:
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), max_tokens="500"))
        test.button(key="generate").click().run()
        texts: Texts = test.session_state["steer_kept"]
        wait_until(lambda: texts.begun)
        assert test.button(key="propose_0").disabled  # it would wait for them
        with another(run):
            test.query_params["run"] = "other"
            calm(test.run())
        wait_until(lambda: not texts.writing)
        assert all(pane.stopped for pane in texts.panes["a"])

    def test_an_empty_prompt_is_one_sentence(self, run: Run) -> None:
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), prompt=" "))
        test.button(key="generate").click().run()
        wait_until(lambda: not test.session_state["steer_kept"].writing)
        test.run()
        assert not text(test).count('<div class="dfc-answer')
        assert [error.value for error in test.error] == [
            plain("The prompt is empty; type what the models shall go on from.")
        ]

    def test_a_strength_is_proposed(self, run: Run) -> None:
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), prompt="The old"))
        calm(test.button(key="propose_0").click().run())
        assert "perplexity of its own text" in text(test)
        assert text(test).count("holds together") + text(test).count("falls apart") == 6
        if "holds together" in text(test):
            assert f"_add_{test.slider(key='edit_0_strength').value:g}_" in parameter(test, "edits")


class TestHistory:
    def test_again_puts_everything_back(self, run: Run) -> None:
        trial = Trial("Old bridge", (Edit("b", B_FEATURE, "clamp", 0.5, "prompt"),), Sampling(9, 0.7, 0.9, 5), True)
        identity = record(run, trial, {"b": {"baseline": Answer("left"), "steered": Answer("<b>pushed")}})
        test = calm(visit(STEER, run="steer", more="History"))
        assert "&lt;b&gt;pushed" in text(test)
        calm(test.button(key=f"again_{identity}").click().run())
        assert parameter(test, "edits") == f"b_{B_FEATURE}_clamp_0.5_prompt"
        assert test.text_area(key="prompt").value == "Old bridge"
        assert (test.number_input(key="max_tokens").value, test.number_input(key="seed").value) == (9, 5)
        assert (test.number_input(key="temperature").value, test.number_input(key="top_p").value) == (0.7, 0.9)

    def test_kept_as_a_note(self, run: Run, folder: Path) -> None:
        trial = Trial("Old bridge", (Edit("b", B_FEATURE),), Sampling(9))
        identity = record(run, trial, {"b": {"steered": Answer("pushed")}})
        test = calm(visit(STEER, run="steer", more="History"))
        calm(test.button(key=f"note_{identity}").click().run())
        [note] = Notebook(folder / "notes.duckdb").feature("steer", B_FEATURE).notes
        assert "“Old bridge”" in note.text
        assert "steered: pushed" in note.text


class TestSweeps:
    def test_runs_in_the_background_and_is_shown(self, run: Run) -> None:
        edits = f"ab_{SHARED_FEATURE}_add_2_all"
        test = calm(visit(STEER, run="steer", edits=edits, more="Sweep", max_tokens="4", prompt="The old"))
        test.text_input(key="sweep_strengths").set_value("1, 2").run()
        calm(test.button(key="start_sweep").click().run())
        calm(wait_for_job(test))
        [kept] = sweeps.store(run).sweeps().to_dict("records")
        assert (kept["status"], kept["made"]) == ("done", 2 * (1 + 2 * 2))
        assert parameter(test, "sweep") == kept["sweep_id"][:12]
        assert len(test.get("plotly_chart")) == 1
        assert len(test.dataframe) == 2
        assert Sweep.from_json(kept["settings"]).edits == steer_address.edits(steer_address.unpack(edits))

    def test_bulk_takes_exclusive_features_of_both(self, run: Run) -> None:
        test = calm(visit(STEER, run="steer", more="Sweep", max_tokens="3", prompt="The old"))
        assert test.button(key="start_sweep").disabled
        test.text_input(key="sweep_strengths").set_value("2").run()
        test.toggle(key="sweep_control").set_value(False).run()
        test.number_input(key="sweep_top").set_value(2).run()
        test.button(key="start_sweep").click().run()
        calm(wait_for_job(test))
        table = test.dataframe[0].value
        assert sorted(table["side"]) == ["A", "A", "B", "B"]
        assert table["effect"].abs().is_monotonic_decreasing
        known = Store(run.store).features(FeatureQuery(ids=tuple(table["feature_id"]))).set_index("feature_id")
        assert table["label"].tolist() == known["label"][table["feature_id"]].tolist()
        assert table["peak_tokens"].map(len).tolist() == known["peak_tokens"][table["feature_id"]].map(len).tolist()
        assert table["peak_tokens"].map(len).min() > 0

    def test_earlier_ones_are_opened_repeated_and_deleted(self, run: Run) -> None:
        list(run_sweep(run, a_sweep()))
        identity = sweeps.store(run).sweeps()["sweep_id"].iloc[0]
        test = calm(visit(STEER, run="steer", more="Sweep"))
        calm(test.button(key=f"open_{identity[:12]}").click().run())
        assert len(test.get("plotly_chart")) == 1
        test.button(key=f"repeat_{identity[:12]}").click().run()
        calm(wait_for_job(test))
        first, second = (sweeps.store(run).outputs(name) for name in sweeps.store(run).sweeps()["sweep_id"])
        assert first["text"].tolist() == second["text"].tolist()
        calm(test.button(key=f"delete_{identity[:12]}").click().run())
        assert identity not in sweeps.store(run).sweeps()["sweep_id"].tolist()

    def test_any_session_sees_it_and_can_cancel_it(self, run: Run) -> None:
        """The session that began it is not asked again, as if its browser were closed."""
        model = models.shared(run.config().models.a)
        address = {"run": "steer", "feature": str(A_FEATURE), "more": "Sweep", "max_tokens": "500"}
        first = calm(visit(STEER, **address))
        calm(first.button(key="start_sweep").click().run())
        job: Job = first.session_state["steer_job"]
        del first
        wait_until(lambda: job.done > 0)
        second = calm(visit(STEER, **address))
        assert second.session_state["steer_job"] is job
        assert second.button(key="start_sweep").disabled
        assert "goes on when this page is left or closed" in text(second)
        second.button(key="cancel_sweep").click().run()
        calm(wait_for_job(second))
        [kept] = sweeps.store(run).sweeps().to_dict("records")
        assert (kept["status"], kept["made"]) == ("cancelled", job.done)
        assert job.done < job.total
        assert parameter(second, "sweep") == kept["sweep_id"][:12]
        wait_until(lambda: not model.lock.locked())
        assert not second.button(key="start_sweep").disabled

    def test_there_is_one_at_a_time_for_a_run(self, run: Run) -> None:
        first = calm(visit(STEER, run="steer", feature=str(A_FEATURE), more="Sweep", max_tokens="500"))
        second = calm(visit(STEER, run="steer", feature=str(A_FEATURE), more="Sweep", max_tokens="500"))
        first.button(key="start_sweep").click().run()
        second.button(key="start_sweep").click().run()  # drawn before the other began
        assert first.session_state["steer_job"] is second.session_state["steer_job"]
        second.button(key="cancel_sweep").click().run()
        calm(wait_for_job(first))
        assert len(sweeps.store(run).sweeps()) == 1

    def test_a_judge_scores_where_one_is_named(self, run: Run) -> None:
        settings, address = run.config(), {"run": "steer", "feature": str(A_FEATURE), "more": "Sweep"}
        address |= {"max_tokens": "4", "prompt": "The old", "sweep_strengths": "1, 2", "sweep_control": "false"}
        assert "sweep_judge" not in [toggle.key for toggle in calm(visit(STEER, **address)).toggle]
        with serving() as endpoint:
            configure(run, endpoint.judge())
            endpoint.answer = lambda body: (400, {}, b"no <credit> ![](http://b.c/d)")
            test = calm(visit(STEER, **address))
            assert test.toggle(key="sweep_judge").value
            test.button(key="start_sweep").click().run()
            calm(wait_for_job(test))
            [warning] = test.warning
            assert plain("answered 400 (no <credit> ![](http://b.c/d))") in warning.value
            [kept] = sweeps.store(run).sweeps().to_dict("records")
            assert (kept["status"], kept["made"]) == ("done", 3)

            endpoint.answer = lambda body: says("7")
            test.text_input(key="sweep_criterion").set_value("<i>law").run()
            test.button(key="judge_sweep").click().run()
            calm(wait_for_job(test))
        assert sweeps.store(run).outputs(kept["sweep_id"])["score"].tolist() == [7] * 3
        test.selectbox(key="sweep_measure").select("score").run()
        assert "Scored from 0 to 10 by m for: &lt;i&gt;law" in text(calm(test))
        assert "judge_sweep" not in [button.key for button in test.button]
        with serving() as endpoint:
            configure(run, endpoint.judge())
            test.run().button(key=f"repeat_{kept['sweep_id'][:12]}").click().run()
            calm(wait_for_job(test))
            assert len(endpoint.asked) == len(set(sweeps.store(run).outputs(kept["sweep_id"])["text"]))
        (run.path / "run.yaml").write_text(config.dump(settings), encoding="utf-8")

    def test_one_on_another_machine_is_not_asked_until_it_is_wanted(self, run: Run) -> None:
        settings = run.config()
        configure(run, JudgeConfig(model="m", criterion="c", url="https://judge.invalid/v1"))
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), more="Sweep"))
        assert not test.toggle(key="sweep_judge").value
        (run.path / "run.yaml").write_text(config.dump(settings), encoding="utf-8")

    def test_its_settings_are_in_the_address(self, run: Run) -> None:
        """Browsers write them there: tests/ui/test_steering.py."""
        given = {"sweep_strengths": "1, 4", "sweep_set": "open", "sweep_limit": "2", "sweep_words": "rain"}
        test = calm(visit(STEER, run="steer", more="Sweep", **given, sweep_control="false", sweep_top="3"))
        assert test.text_input(key="sweep_strengths").value == "1, 4"
        assert test.selectbox(key="sweep_set").value == "open"
        assert (test.number_input(key="sweep_limit").value, test.number_input(key="sweep_top").value) == (2, 3)
        assert test.text_input(key="sweep_words").value == "rain"
        assert not test.toggle(key="sweep_control").value

    def test_one_that_ended_with_its_process_is_told(self, run: Run) -> None:
        sweeps.store(run).begin_sweep("abcdef012345", "left behind", 9, "{}")
        test = calm(visit(STEER, run="steer", more="Sweep"))
        assert "runs in another process, or ended with it · 0 of 9 answers" in text(test)
        calm(test.button(key="delete_abcdef012345").click().run())
        assert sweeps.store(run).sweeps().empty

    def test_what_goes_wrong_is_one_sentence(self, run: Run) -> None:
        job = Job(run, lambda: a_sweep(prompts=(" ",)))
        job.work()
        assert job.problem == "The prompt is empty; type what the models shall go on from."
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), more="Sweep"))
        test.text_input(key="sweep_strengths").set_value("![](//a.b)").run()
        assert plain("“![](//a.b)” are not numbers") in calm(test).warning[0].value
        assert test.button(key="start_sweep").disabled
        for strengths in ("1, inf", "nan"):
            test.text_input(key="sweep_strengths").set_value(strengths).run()
            assert "are not numbers" in calm(test).warning[0].value

    def test_one_that_fails_at_once_is_shown(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(job: Job) -> None:
            job.problem, job.finished = "It failed.", True

        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), more="Sweep"))
        with monkeypatch.context() as patched:
            patched.setattr(Job, "work", fail)
            test.button(key="start_sweep").click().run()
        assert [warning.value for warning in calm(test).warning] == [plain("It failed.")]


def test_a_table_says_what_its_features_are(run: Run) -> None:
    store = Store(run.store)
    table = pd.DataFrame({"side": ["b", "a", "a"], "feature_id": [B_FEATURE + 2, 10**6, B_FEATURE + 2], "effect": 1.0})
    told = steer_outputs.described(store, table)
    assert list(told) == ["side", "feature_id", "label", "peak_tokens", "effect"]
    known = store.feature(B_FEATURE + 2)
    assert known.label
    assert told["label"].tolist() == [known.label, "", known.label]
    assert told["peak_tokens"].tolist() == [known.peak_tokens, [], known.peak_tokens]


def test_edits_are_imported(run: Run) -> None:
    table = edit_table.to_csv(run, [Edit("a", A_FEATURE, "clamp", 0.5), Edit("b", SHARED_FEATURE, where="prompt")])
    test = calm(visit(STEER, run="steer", more="Table of edits"))
    test.get("file_uploader")[0].set_value(("edits.csv", table.encode(), "text/csv")).run()
    found = steer_address.unpack(parameter(calm(test), "edits"))
    assert found == (Row(A_FEATURE, "a", "clamp", 0.5), Row(SHARED_FEATURE, "b", "add", 1.0, "prompt"))
    test.get("file_uploader")[0].set_value(("edits.csv", b"nothing", "text/csv")).run()
    assert "the table has no rows" in calm(test).warning[0].value
