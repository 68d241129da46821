"""Texts on the Steer page, on two small random models: written, stopped, written anew; chats; proposed strengths."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dfc import models
from dfc.requests import Prompt, Sampling, Trial
from dfc.runs import Run
from dfc.steering import sweeps
from dfc.steering.analysis import Analysis
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell.text import plain
from dfc.ui.steer import edit_address, panes
from dfc.ui.steer.writing import Doing, Pane, Request, Texts, _Work
from tests.ui.folders import A_FEATURE, SHARED_FEATURE
from tests.ui.pages import STEER, calm, parameter, text, visit, wait_until


@pytest.fixture
def run(steerable: Run) -> Run:
    return steerable


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


class TestGenerating:
    def test_random_directions_write_beside_the_feature(self, run: Run) -> None:
        test = calm(visit(STEER, run="steer", edits=f"a_{A_FEATURE}_add_4_all", max_tokens="6", control="true"))
        texts = write(test)
        [written] = texts.panes.values()
        assert [pane.found is not None for pane in written] == [True] * 3
        _, steered, other = (pane.found for pane in written)
        assert steered is not None
        assert other is not None
        assert other.added_norm == pytest.approx(steered.added_norm, rel=1e-4)
        assert other.steered.tolist() != steered.steered.tolist()
        assert "log-probabilities" in text(test)
        test.segmented_control(key="more").set_value("history").run()
        for words in ("left alone: ", "steered: ", "along random directions: "):
            assert words in text(calm(test))

    def test_a_feature_is_found_by_what_it_is_called(self, run: Run) -> None:
        store = Store(run.store)
        known = next(one for one in store.features(FeatureQuery(limit=200)).itertuples() if len(one.label) > 4)
        test = calm(visit(STEER, run="steer"))
        test.text_input(key="find_words_0").set_value(known.label).run()
        [first, *_] = [one for one in calm(test).button if (one.key or "").startswith("match_0_")]
        feature = int(first.key.rpartition("_")[2])
        assert known.label.lower() in store.feature(feature).label.lower()
        first.click().run()
        [row] = edit_address.unpack(parameter(calm(test), "edits"))
        assert row.feature == feature
        partition = store.feature(feature).partition
        assert row.sides == partition or partition == "shared"

    def test_a_feature_that_never_fires_is_said_to(self, run: Run) -> None:
        request = Request("", (), Prompt(""), Sampling(), both=False)
        nothing = np.zeros(2)
        for values, silent in (([0.0, 0.0], True), ([0.0, 0.5], False)):
            found = Analysis(["a", "b"], nothing, nothing, nothing, np.array([[9.0, 9.0], values]), 1.0, 0.0)
            pane = Pane(pieces=[("ab", 2)], tokens=[1, 2], found=found)
            texts = Texts(request, {"a": [pane]}, scales={"a": {3: 1.0, 7: 1.0}})
            assert panes.silent(texts, "a", 7) is silent
            assert not panes.silent(texts, "a", 3)
            assert not panes.silent(texts, "a", 5)  # not read there
            shown = panes.pane_html(pane, texts, "a", False, "activation", 7)
            assert ("feature 7 never fires on this text" in shown) is silent
            assert "never fires" not in panes.pane_html(pane, texts, "a", False, "odds", 7)

    def test_texts_are_measured_and_put_into_the_history(self, run: Run) -> None:
        edits = f"a_{A_FEATURE}_add_4_all~ab_{SHARED_FEATURE}_clamp_1_generated"
        test = calm(visit(STEER, run="steer", edits=edits, max_tokens="6", temperature="1.0", seed="3"))
        write(test)
        assert text(test).count('<div class="dfc-answer') == 4
        assert "perplexity" in text(test)
        [kept] = sweeps.store(run).tried().to_dict("records")
        trial = Trial.from_json(kept["request"])
        assert trial.edits == edit_address.edits(edit_address.unpack(edits))
        assert trial.sampling == Sampling(6, 1.0, 1.0, 3)
        for colours in ("text", "odds"):
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
            wait_until(lambda: texts.panes["a"][0].doing is Doing.WAITING)
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
        [row] = edit_address.unpack(f"a_{A_FEATURE}_add_2_all")
        request = Request(str(run.path), (row,), Prompt("The old"), Sampling(500), False)
        panes = [Pane(doing=Doing.WRITING), Pane(doing=Doing.WRITING)]
        texts = Texts(request, {"a": panes})
        _Work(texts, settings, 0, watched=lambda: len(panes[0].tokens) < 3).do({"a": [0, 1]})
        assert all(3 <= len(pane.tokens) < 20 and pane.stopped and pane.doing is Doing.NOTHING for pane in panes)
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
        assert [(turn.role, turn.content) for turn in trial.prompt.earlier] == [tuple(turn) for turn in said]
        test.text_area(key="earlier_1_text").set_value("The new").run()
        test.selectbox(key="earlier_0_role").set_value("user").run()
        test.button(key="earlier_2_drop").click().run()
        test.button(key="earlier_add").click().run()
        said = json.loads(parameter(calm(test), "earlier"))
        assert said == [["user", "Be brief"], ["user", "The new"], ["assistant", ""]]
        test.toggle(key="chat").set_value(False).run()
        assert "earlier_0_role" not in [one.key for one in calm(test).selectbox]
        identity = sweeps.store(run).tried()["tried_id"].iloc[0]
        test.segmented_control(key="more").set_value("history").run()
        calm(test.button(key=f"again_{identity}").click().run())
        assert json.loads(parameter(test, "earlier")) == [[turn.role, turn.content] for turn in trial.prompt.earlier]

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
            wait_until(lambda: texts.panes["a"][1].doing is Doing.WAITING)
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


def test_thoughts_are_drawn_apart_from_the_answer() -> None:
    texts = cast(Any, SimpleNamespace(scales={}, request=SimpleNamespace(sampling=SimpleNamespace(seed=0)), panes={}))

    def drawn(*pieces: str) -> str:
        pane = Pane(pieces=[(piece, 1) for piece in pieces])
        return re.sub(r"\s+", " ", panes.pane_html(pane, texts, "a", False, "text", None))

    shown = drawn("<think>", "It is <wet>", "</think>\n\n", "Yes.")
    assert '<div class="dfc-thoughts"><div class="dfc-small">thinks</div>&lt;think&gt;It is &lt;wet&gt;' in shown
    assert '<div class="dfc-said"><div class="dfc-small">answers</div>Yes.</div>' in shown
    assert "dfc-said" not in drawn("<think>", "It is")  # as far as it came
    assert ">Yes.</div>" in drawn("Yes.")
    assert "dfc-thoughts" not in drawn("Yes.")
