"""What the Steer page keeps: the history, sweeps in the background, edits as a table; on two small random models."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dfc import config, models
from dfc.config import JudgeConfig
from dfc.requests import Edit, Prompt, Sampling, Sweep, Trial
from dfc.runs import Run
from dfc.steering import edit_table, sweeps
from dfc.steering.answers import Answer
from dfc.steering.sweeps import run_sweep
from dfc.steering.trials import record
from dfc.store.notes import Notebook
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell.background import Job
from dfc.ui.shell.text import plain
from dfc.ui.steer import edit_address, jobs, outputs
from dfc.ui.steer.edit_address import Row
from tests.asking.served import configure, says, serving
from tests.ui.folders import A_FEATURE, B_FEATURE, SHARED_FEATURE
from tests.ui.pages import STEER, calm, parameter, text, visit, wait_until

FOLLOWED = "sweep followed"


@pytest.fixture
def run(steerable: Run) -> Run:
    return steerable


def a_sweep(**changes: object) -> Sweep:
    sweep = Sweep(
        (Edit("a", A_FEATURE), Edit("b", B_FEATURE)), (1.0, 2.0), ("The old", "今天"), Sampling(4, 1.0), words=("the",)
    )
    return replace(sweep, **changes)  # type: ignore[arg-type]


def followed(test: AppTest) -> Job[str]:
    job: Job[str] = test.session_state[FOLLOWED][1]
    return job


def wait_for_job(test: AppTest) -> AppTest:
    if FOLLOWED not in test.session_state:  # it was through before the page was drawn, which shows it
        return test
    job = followed(test)
    wait_until(lambda: job.finished)
    return test.run()


class TestHistory:
    def test_again_puts_everything_back(self, run: Run) -> None:
        trial = Trial(
            Prompt("Old bridge", True), (Edit("b", B_FEATURE, "clamp", 0.5, "prompt"),), Sampling(9, 0.7, 0.9, 5)
        )
        identity = record(run, trial, {"b": {"baseline": Answer("left"), "steered": Answer("<b>pushed")}})
        test = calm(visit(STEER, run="steer", more="History"))
        assert "&lt;b&gt;pushed" in text(test)
        calm(test.button(key=f"again_{identity}").click().run())
        assert parameter(test, "edits") == f"b_{B_FEATURE}_clamp_0.5_prompt"
        assert test.text_area(key="prompt").value == "Old bridge"
        assert (test.number_input(key="max_tokens").value, test.number_input(key="seed").value) == (9, 5)
        assert (test.number_input(key="temperature").value, test.number_input(key="top_p").value) == (0.7, 0.9)

    def test_kept_as_a_note(self, run: Run) -> None:
        trial = Trial(Prompt("Old bridge"), (Edit("b", B_FEATURE),), Sampling(9))
        identity = record(run, trial, {"b": {"steered": Answer("pushed")}})
        test = calm(visit(STEER, run="steer", more="History"))
        calm(test.button(key=f"note_{identity}").click().run())
        [note] = Notebook(run.path.parent.parent / "notes.duckdb").read().feature("steer", B_FEATURE).notes
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
        assert Sweep.from_json(kept["settings"]).edits == edit_address.edits(edit_address.unpack(edits))

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
        job = followed(first)
        del first
        wait_until(lambda: job.done > 0)
        second = calm(visit(STEER, **address))
        assert followed(second) is job
        assert second.button(key="start_sweep").disabled
        assert "goes on when this page is left or closed" in text(second)
        second.button(key="stop_job").click().run()
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
        assert followed(first) is followed(second)
        second.button(key="stop_job").click().run()
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
        job = jobs.sweep(run, lambda: a_sweep(prompts=(" ",)))
        job.work("sweep")
        assert job.problem == "The prompt is empty; type what the models shall go on from."
        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), more="Sweep"))
        test.text_input(key="sweep_strengths").set_value("![](//a.b)").run()
        assert plain("“![](//a.b)” are not numbers") in calm(test).warning[0].value
        assert test.button(key="start_sweep").disabled
        for strengths in ("1, inf", "nan"):
            test.text_input(key="sweep_strengths").set_value(strengths).run()
            assert "are not numbers" in calm(test).warning[0].value

    def test_one_that_fails_at_once_is_shown(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(job: Job[str], name: str) -> None:
            job.problem, job.finished = "It failed.", True

        test = calm(visit(STEER, run="steer", feature=str(A_FEATURE), more="Sweep"))
        with monkeypatch.context() as patched:
            patched.setattr(Job, "work", fail)
            test.button(key="start_sweep").click().run()
        assert [warning.value for warning in calm(test).warning] == [plain("It failed.")]


def test_a_table_says_what_its_features_are(run: Run) -> None:
    store = Store(run.store)
    table = pd.DataFrame({"side": ["b", "a", "a"], "feature_id": [B_FEATURE + 2, 10**6, B_FEATURE + 2], "effect": 1.0})
    told = outputs.described(store, table)
    assert list(told) == ["side", "feature_id", "label", "peak_tokens", "effect"]
    known = store.feature(B_FEATURE + 2)
    assert known.label
    assert told["label"].tolist() == [known.label, "", known.label]
    assert told["peak_tokens"].tolist() == [known.peak_tokens, [], known.peak_tokens]


def test_edits_are_imported(run: Run) -> None:
    table = edit_table.to_csv(run, [Edit("a", A_FEATURE, "clamp", 0.5), Edit("b", SHARED_FEATURE, where="prompt")])
    test = calm(visit(STEER, run="steer", more="Table of edits"))
    test.get("file_uploader")[0].set_value(("edits.csv", table.encode(), "text/csv")).run()
    found = edit_address.unpack(parameter(calm(test), "edits"))
    assert found == (Row(A_FEATURE, "a", "clamp", 0.5), Row(SHARED_FEATURE, "b", "add", 1.0, "prompt"))
    test.get("file_uploader")[0].set_value(("edits.csv", b"nothing", "text/csv")).run()
    assert "the table has no rows" in calm(test).warning[0].value
