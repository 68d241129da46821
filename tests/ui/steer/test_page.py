"""The Steer page without a browser: its address, its list of edits, and what cannot be done."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest

from dfc import requests
from dfc.config import UserError
from dfc.ui.shell.text import plain
from dfc.ui.steer import edit_address
from dfc.ui.steer.edit_address import MODES, WHERES, Row, Sides
from tests.ui.folders import A_FEATURE, B_FEATURE, DEAD_FEATURE, SHARED_FEATURE, make_run
from tests.ui.pages import FINDINGS, STEER, calm, parameter, text, visit

NUMBERS = st.floats(-1e4, 1e4)
ROWS = st.builds(
    Row,
    st.none() | st.integers(0, 2**31 - 1),
    st.sampled_from(get_args(Sides)),
    st.sampled_from(list(MODES)),
    NUMBERS,
    st.sampled_from(list(WHERES)),
    NUMBERS,
)


@given(st.lists(ROWS, max_size=12))
def test_a_list_comes_back_from_the_address(rows: list[Row]) -> None:
    assert edit_address.unpack(edit_address.pack(rows)) == tuple(rows)


@given(st.text())
def test_any_other_text_is_one_sentence(text: str) -> None:
    try:
        rows = edit_address.unpack(text)
    except UserError:
        return
    assert edit_address.unpack(edit_address.pack(rows)) == rows


@pytest.mark.parametrize(
    "text",
    [
        "b_1_add",
        "c_1_add_2_all",
        "a_-1_add_2_all",
        "a_²_add_2_all",
        "a_1_sing_2_all",
        "a_1_add_nan_all",
        "a_1_add_1e5_all",
        "a_1_add_2_never",
        "a_1_conditional_2_all_inf",
        "a_99999999999_add_2_all",
        "~".join(["a_1_add_2_all"] * 13),
    ],
)
def test_edits_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        edit_address.unpack(text)


def test_words_are_those_of_the_library() -> None:
    assert tuple(MODES) == requests.MODES
    assert tuple(WHERES) == requests.WHERES


def test_a_row_of_both_models_is_an_edit_of_each() -> None:
    assert edit_address.edits([Row(3, "ab", "clamp", 1.5), Row()]) == (
        requests.Edit("a", 3, "clamp", 1.5),
        requests.Edit("b", 3, "clamp", 1.5),
    )


@pytest.fixture
def finished(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFC_DATA", str(data_folder))
    return data_folder


def generate(test: AppTest) -> bool:
    """Whether the page offers to generate."""
    return not test.button(key="generate").disabled


class TestAddress:
    def test_link_of_another_page(self, finished: Path) -> None:
        test = calm(visit(STEER, run="demo", feature=str(B_FEATURE), side="B", strength="-3.5", prompt="Tell me"))
        assert test.number_input(key="edit_0_feature").value == B_FEATURE
        assert test.selectbox(key="edit_0_sides").value == "b"
        assert test.slider(key="edit_0_strength").value == -3.5
        assert test.text_area(key="prompt").value == "Tell me"
        assert generate(test)

    @pytest.mark.parametrize(("feature", "sides"), [(A_FEATURE, "a"), (B_FEATURE, "b"), (SHARED_FEATURE, "a")])
    def test_link_without_a_model_takes_the_features_own(self, feature: int, sides: str, finished: Path) -> None:
        test = calm(visit(STEER, run="demo", feature=str(feature)))
        assert test.selectbox(key="edit_0_sides").value == sides

    def test_edits_are_there_again_after_another_page(self, finished: Path) -> None:
        test = calm(visit(STEER, run="demo", feature=str(B_FEATURE), side="B", strength="-3.5"))
        for page in (FINDINGS, STEER):
            test.switch_page(page)
            test.query_params.clear()
            test.query_params["run"] = "demo"
            calm(test.run())
        assert test.number_input(key="edit_0_feature").value == B_FEATURE
        assert test.selectbox(key="edit_0_sides").value == "b"
        assert test.slider(key="edit_0_strength").value == -3.5

    @pytest.mark.parametrize("strength", ["nan", "inf", "1e999", "strong", "999"])
    def test_impossible_strength_falls_back(self, strength: str, finished: Path) -> None:
        test = calm(visit(STEER, run="demo", feature=str(A_FEATURE), strength=strength))
        assert test.slider(key="edit_0_strength").value == 2.0

    def test_list_with_everything(self, finished: Path) -> None:
        packed = f"a_{A_FEATURE}_conditional_4_prompt_0.5~ab_{SHARED_FEATURE}_ablate_2_generated"
        test = calm(visit(STEER, run="demo", edits=packed, top_p="0.9", both="true"))
        assert test.number_input(key="edit_0_threshold").value == 0.5
        assert test.selectbox(key="edit_1_sides").value == "ab"
        assert test.selectbox(key="edit_1_mode").value == "ablate"
        assert test.slider(key="edit_1_strength").disabled
        assert test.number_input(key="top_p").value == 0.9
        assert test.toggle(key="both").value
        assert generate(test)

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            ("edits", "<b>x", "The address holds the edit “<b>x”, which is none"),
            ("edits", "![](//a.b/c)", "The address holds the edit “![](//a.b/c)”"),
            ("feature", "-1", "a feature is a whole number from 0"),
            ("feature", "9" * 30, "a feature is a whole number from 0 to 2,147,483,647"),
        ],
    )
    def test_what_makes_no_sense_is_one_sentence(self, name: str, value: str, sentence: str, finished: Path) -> None:
        test = visit(STEER, run="demo", **{name: value})
        assert not test.exception
        [error] = test.error
        assert plain(sentence) in error.value


class TestList:
    def test_without_a_feature_asks_for_one(self, finished: Path) -> None:
        test = calm(visit(STEER, run="demo"))
        assert "Choose the feature" in test.info[0].value
        assert not generate(test)
        test.number_input(key="edit_0_feature").set_value(B_FEATURE).run()
        assert parameter(test, "edits") == f"b_{B_FEATURE}_add_2_all"
        assert generate(calm(test))

    def test_rows_are_added_changed_and_removed(self, finished: Path) -> None:
        test = calm(visit(STEER, run="demo", feature=str(A_FEATURE), side="A", strength="3"))
        test.button(key="add_edit").click().run()
        assert not [name for name in ("feature", "side", "strength") if name in test.query_params]
        test.number_input(key="edit_1_feature").set_value(SHARED_FEATURE).run()
        test.selectbox(key="edit_1_sides").select("ab").run()
        test.selectbox(key="edit_1_mode").select("clamp").run()
        test.slider(key="edit_1_strength").set_value(0.5).run()
        test.selectbox(key="edit_1_where").select("generated").run()
        assert parameter(calm(test), "edits") == f"a_{A_FEATURE}_add_3_all~ab_{SHARED_FEATURE}_clamp_0.5_generated"
        test.button(key="remove_0").click().run()
        assert parameter(calm(test), "edits") == f"ab_{SHARED_FEATURE}_clamp_0.5_generated"
        assert test.selectbox(key="edit_0_mode").value == "clamp"
        test.button(key="remove_0").click().run()
        assert "Choose the feature" in calm(test).info[0].value

    @pytest.mark.parametrize(
        ("edit", "sentence"),
        [
            (f"a_{DEAD_FEATURE}_add_2_all", "is dead"),
            ("a_300_add_2_all", "Feature 300 does not exist in this run; its features are 0 to 299."),
            (f"b_{A_FEATURE}_add_2_all", "python -m dfc verify demo"),
            (f"b_{A_FEATURE}_clamp_2_all", "can only be added"),
        ],
    )
    def test_what_cannot_be_done_is_one_sentence(self, edit: str, sentence: str, finished: Path) -> None:
        test = calm(visit(STEER, run="demo", edits=edit))
        [warning] = test.warning
        assert plain(sentence) in warning.value
        assert not generate(test)

    def test_transfer_says_how_good_the_stitch_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DFC_DATA", str(tmp_path))
        run = make_run(tmp_path)
        quality = {"r2_a_to_b": np.array(0.52), "r2_b_to_a": np.array(0.61)}
        save_file(quality, run.path / "stitch.safetensors")
        test = calm(visit(STEER, run="demo", edits=f"b_{A_FEATURE}_add_2_all"))
        assert "A transfer" in text(test)
        assert "(R² 0.52)" in text(test)
        assert generate(test)
        (run.path / "stitch.safetensors").write_bytes(b"damaged")
        assert not generate(calm(visit(STEER, run="demo", edits=f"b_{A_FEATURE}_add_2_all")))


def test_prompt_of_a_set(finished: Path) -> None:
    test = calm(visit(STEER, run="demo", feature=str(A_FEATURE)))
    test.selectbox(key="prompt_set").select("open").run()
    test.selectbox(key="prompt_of_open").select("Tell me something").run()
    test.button(key="use_prompt").click().run()
    assert calm(test).text_area(key="prompt").value == "Tell me something"
