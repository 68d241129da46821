"""The Prompt page: its editor and address, what it computes from a reading, and the page on a run of tiny models."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dfc.runs import Run
from dfc.store.reader import Store
from dfc.ui.prompt import compare, reader, token_strips
from dfc.ui.shell.text import plain
from tests.readings import example
from tests.ui.folders import make_run
from tests.ui.pages import calm, parameter, text, visit

PROMPT = "pages/6_Prompt.py"
BRIDGE = "the old bridge and the river carried a boat under the old bridge while people watched"

NO_SPANS = ("3-1", "0-5", "", "-1", "x", "²", "1-2-3")


@pytest.fixture
def tiny(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run on the tiny models, as the app's data folder."""
    monkeypatch.setenv("DFC_DATA", str(tiny_run.path.parent.parent))
    return tiny_run


def test_outline_is_the_strongest_share_of_each_pair() -> None:
    known = pd.DataFrame({"feature_id": [3, 7], "partition": ["a", "b"], "corpus_max": [4.0, 2.0]})
    np.testing.assert_allclose(reader.outline(example(), known, "a"), [np.nan, 0.125, 0.5, 0, 0.25])
    np.testing.assert_allclose(reader.outline(example(), known, "b"), [np.nan, 0, 0, 1, 0])  # at most 1
    np.testing.assert_allclose(reader.outline(example(), known, "shared"), [np.nan, 0, 0, 0, 0])


class TestStrips:
    def test_tokens_without_a_partner_go_with_the_next_that_has_one(self) -> None:
        assert token_strips.pair_of_token(example(), "a").tolist() == [0, 0, 1, 2, 2, 3, 4]
        assert token_strips.pair_of_token(example(), "b").tolist() == [0, 1, 2, 3, 4]

    def test_what_a_span_says(self) -> None:
        assert token_strips.words(example(), "a", (1, 2)) == " old bridge"
        assert token_strips.words(example(), "b", (4, 4)) == ".\n"

    @pytest.mark.parametrize(
        ("address", "span"),
        [("2", (2, 2)), ("1-3", (1, 3)), ("1-", (1, 1)), *((text, None) for text in (*NO_SPANS, None))],
    )
    def test_span_in_the_address(self, address: str | None, span: tuple[int, int] | None) -> None:
        assert token_strips.chosen_span(address, 5) == span


def test_two_texts_compared() -> None:
    shared = {"partition": "a", "corpus_max": 9.0}
    first = pd.DataFrame(
        [{"feature_id": 1, "max": 3.0, "mean": 1.0, **shared}, {"feature_id": 2, "max": 1.0, **shared}]
    )
    second = pd.DataFrame([{"feature_id": 2, "max": 5.0, **shared}, {"feature_id": 4, "max": 0.5, **shared}])
    table = compare.compared(first, second, "max")
    assert table[["feature_id", "first", "second", "difference"]].to_numpy().tolist() == [
        [2, 1, 5, -4],
        [1, 3, 0, 3],
        [4, 0, 0.5, -0.5],
    ]


def links(test: AppTest) -> list[str]:
    return [str(link.proto.label) for link in test.get("page_link")]


class TestPage:
    def test_before_there_is_a_text(self, tiny: Run) -> None:
        test = calm(visit(PROMPT, run="tiny"))
        assert "Type a text and read it" in text(test)
        assert not test.dataframe

    def test_a_text_in_the_address_is_read(self, tiny: Run) -> None:
        test = calm(visit(PROMPT, run="tiny", text=BRIDGE, **{"in": "shared"}))
        assert test.text_area[0].value == BRIDGE
        [table] = [frame.value for frame in test.dataframe]
        assert set(table["partition"]) == {"shared"}
        assert table["share"].is_monotonic_decreasing
        assert "bridge" in text(test)

    def test_figures_are_those_that_are_stored(self, tiny: Run) -> None:
        store = Store(tiny.store)
        context = next(c for feature in range(64) for c in store.contexts(feature) if c.rank == 0 and c.band == 0)
        partition = store.feature(context.feature_id).partition
        shown = {"a": "only A", "b": "only B", "shared": "shared"}[partition]
        test = calm(
            visit(PROMPT, run="tiny", document=str(context.document), feature=str(context.feature_id), **{"in": shown})
        )
        [table] = [frame.value for frame in test.dataframe]
        found = table.loc[table["feature_id"] == context.feature_id, "max"]
        assert found.iloc[0] == pytest.approx(context.peak, rel=1e-3)
        assert f"Feature {context.feature_id}" in text(test)
        assert "Open the feature" in links(test)

    def test_a_span_lists_what_fires_on_it_alone(self, tiny: Run) -> None:
        whole = calm(visit(PROMPT, run="tiny", text=BRIDGE, **{"in": "shared"})).dataframe[0].value
        part = calm(visit(PROMPT, run="tiny", text=BRIDGE, span="9", **{"in": "shared"})).dataframe[0].value
        assert set(part["firings"]) == {1}
        assert set(part["feature_id"]) < set(whole["feature_id"])

    def test_a_chat_in_the_address(self, tiny: Run) -> None:
        chat = json.dumps([["user", "Will it rain under the old bridge?"], ["assistant", "今天会下雨。 今天会下雨。"]])
        test = calm(visit(PROMPT, run="tiny", chat=chat))
        assert [area.value for area in test.text_area][:2] == [
            "Will it rain under the old bridge?",
            "今天会下雨。 今天会下雨。",
        ]
        assert "Pairs that count" in text(test)

    @pytest.mark.parametrize("pasted", ['[{"role": "user"}]', '[{"role": "user", "content": ""}]', "[]"])
    def test_messages_without_words_take_nothing_away(self, tiny: Run, pasted: str) -> None:
        test = calm(visit(PROMPT, run="tiny", chat=json.dumps([["user", "Will it rain?"]])))
        test.text_area(key="prompt_json").set_value(pasted)
        calm(test.button(key="take").click().run())
        assert [area.value for area in test.text_area][:1] == ["Will it rain?"]
        assert test.warning

    def test_reading_puts_the_text_into_the_address(self, tiny: Run) -> None:
        test = calm(visit(PROMPT, run="tiny"))
        test.text_area[0].set_value(BRIDGE)
        test.button(key="read").click().run()
        calm(test)
        assert test.query_params["text"] in (BRIDGE, [BRIDGE])
        assert "Token by token" in text(test)

    def test_a_text_too_long_for_the_address_stays_in_the_session(self, tiny: Run) -> None:
        test = calm(visit(PROMPT, run="tiny"))
        test.text_area[0].set_value(BRIDGE * 100)
        test.button(key="read").click().run()
        calm(test)
        assert "text" not in test.query_params
        assert "too long for the address" in text(test)
        assert "takes no more tokens" in text(test)

    def test_two_prompts(self, tiny: Run) -> None:
        chinese = "今天新闻说会下雨，记者王波报道。"
        test = calm(visit(PROMPT, run="tiny", compare="true", text=BRIDGE, text2=chinese, where="on either"))
        [table] = [frame.value for frame in test.dataframe]
        assert (table["difference"] == table["first"] - table["second"]).all()
        assert table["difference"].abs().is_monotonic_decreasing

    def test_both_are_read_by_one_button(self, tiny: Run) -> None:
        test = calm(visit(PROMPT, run="tiny", compare="true", where="either", **{"in": "shared"}))
        for area, words in zip(test.text_area, (BRIDGE, BRIDGE[::-1]), strict=True):
            area.set_value(words)
        next(button for button in test.button if button.label == "Read both").click().run()
        assert len(calm(test).dataframe) == 1
        assert [parameter(test, name) for name in ("text", "text2")] == [BRIDGE, BRIDGE[::-1]]

    def test_both_models_nats_colour_the_text(self, tiny: Run) -> None:
        test = calm(visit(PROMPT, run="tiny", text=BRIDGE, colours_of="gap", span="9"))
        assert "nats a character, over" in text(test)
        assert "expects it better; strongest from" in text(test)
        assert "log-probabilities in place of" in text(test)

    def test_a_lead_in_is_in_the_address(self, tiny: Run) -> None:
        plain_reading = calm(visit(PROMPT, run="tiny", text=BRIDGE))
        test = calm(visit(PROMPT, run="tiny", text=BRIDGE, lead="people watched a boat and the river"))
        assert test.text_input(key="prompt_lead").value == "people watched a boat and the river"
        assert "left out: in the lead-in" in text(test)
        assert "left out: in the lead-in" not in text(plain_reading)
        assert "left out: at the first positions" in text(plain_reading)

    def test_a_text_that_is_too_short_says_so(self, tiny: Run) -> None:
        test = calm(visit(PROMPT, run="tiny", text="the"))
        assert "None of this text counts" in test.info[0].value

    @pytest.mark.parametrize(
        ("parameters", "sentence"),
        [
            ({"document": "100000"}, "Document 100000 does not exist in this run"),
            ({"text": " "}, "There is nothing to read"),
        ],
    )
    def test_what_cannot_be_read_is_one_sentence(self, tiny: Run, parameters: dict[str, str], sentence: str) -> None:
        test = calm(visit(PROMPT, run="tiny", **parameters))
        assert sentence in test.warning[0].value

    @pytest.mark.parametrize(
        ("parameters", "sentence"),
        [
            ({"document": "many"}, "asks for the document “many”"),
            ({"chat": "[1]"}, "The chat in the address cannot be read"),
            ({"chat": '[["wizard", "a"]]'}, "The chat in the address cannot be read"),
            ({"text": BRIDGE, "feature": "4096"}, "Feature 4096 does not exist"),
        ],
    )
    def test_an_address_that_makes_no_sense(self, tiny: Run, parameters: dict[str, str], sentence: str) -> None:
        test = visit(PROMPT, run="tiny", **parameters)
        assert not test.exception
        assert plain(sentence) in test.error[0].value

    def test_without_models_the_page_says_so(self, data: Path) -> None:
        run = make_run(data)
        settings = run.path / "run.yaml"
        settings.write_text(settings.read_text().replace("HuggingFaceTB/SmolLM2-135M-Instruct", str(data / "gone")))
        test = calm(visit(PROMPT, run="demo", text=BRIDGE))
        assert len(test.warning) == 1
        calm(visit("app.py", run="demo"))

    def test_a_model_that_cannot_be_loaded_is_named_as_such(self, tiny_copy: Run) -> None:
        settings, source = tiny_copy.path / "run.yaml", tiny_copy.config().models.a.source
        settings.write_text(settings.read_text().replace(source, "gone/away"))
        test = calm(visit(PROMPT, run="tiny", text=BRIDGE))
        [warning] = test.warning
        assert warning.value.startswith("Reading a prompt needs both models on this machine, and one is not to be had")
        assert plain("gone/away: its model could not be loaded") in warning.value


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFC_DATA", str(tmp_path))
    return tmp_path
