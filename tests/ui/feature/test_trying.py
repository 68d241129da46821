"""A text of one's own on the page of a feature, read by the tiny models."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc.runs import Run
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import turns
from tests.ui.folders import A_FEATURE, make_run
from tests.ui.pages import FEATURE, calm, parameter, text, visit

BRIDGE = "the old bridge and the river carried a boat under the old bridge while people watched"


@pytest.fixture
def tiny(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The run on the tiny models, as the app's data folder."""
    monkeypatch.setenv("DFC_DATA", str(tiny_run.path.parent.parent))
    return Store(tiny_run.store)


def commonest(store: Store) -> str:
    """The feature that fires most often."""
    query = FeatureQuery(order="density", limit=1)
    return str(int(store.features(query)["feature_id"].iloc[0]))


def test_it_is_read_on_the_page_and_stands_in_the_address(tiny: Store) -> None:
    test = calm(visit(FEATURE, run="tiny", feature=commonest(tiny)))
    assert "The models are loaded when they are first needed" in text(test)
    test.text_area(key="try_text").set_value(BRIDGE)
    test.button(key="try_read").click().run()
    assert parameter(calm(test), "text") == BRIDGE
    said = text(test)
    assert "It fires on " in said
    assert "left out: at the first positions" in said
    link = next(one.proto for one in test.get("page_link") if one.proto.label == "All that fires on it")
    assert "text=the+old+bridge" in link.query_string
    [reading] = test.session_state["prompt_readings"].values()
    silent = next(number for number in range(64) if number not in reading.features)
    test.query_params["feature"] = str(silent)  # the same text on another feature's page
    assert "It never fires on this text, of " in text(calm(test.run()))
    test.button(key="try_clear").click().run()
    assert "never fires" not in text(calm(test))
    assert test.text_area(key="try_text").value == ""


def test_a_text_that_came_with_the_address_is_read(tiny: Store) -> None:
    test = calm(visit(FEATURE, run="tiny", feature=commonest(tiny), text=BRIDGE))
    assert test.text_area(key="try_text").value == BRIDGE
    assert "It fires on " in text(test)


def test_a_text_too_long_for_the_address_is_kept(tiny: Store) -> None:
    test = calm(visit(FEATURE, run="tiny", feature=commonest(tiny)))
    long = BRIDGE + " " * turns.LONGEST
    test.text_area(key="try_text").set_value(long)
    test.button(key="try_read").click().run()
    assert "text" not in test.query_params
    assert "It fires on " in text(calm(test))
    assert "too long for the address" in text(test)


def test_without_models_the_page_says_so(data: Path) -> None:
    settings = make_run(data).path / "run.yaml"
    settings.write_text(settings.read_text().replace("HuggingFaceTB/SmolLM2-135M-Instruct", str(data / "gone")))
    test = calm(visit(FEATURE, run="demo", feature=str(A_FEATURE), text=BRIDGE))
    assert len(test.warning) == 1
    assert "Strongest contexts" in text(test)
