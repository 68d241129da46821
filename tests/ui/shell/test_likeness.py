"""The search by meaning: offered where it can be done, said where it cannot, and kept in the address."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc import pipeline
from dfc.runs import Run
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import address
from dfc.ui.shell.address import Place
from tests.tiny import make_encoder
from tests.ui.folders import find, make_run
from tests.ui.pages import FEATURE, TABLE, calm, text, visit


@pytest.fixture
def run(data: Path) -> Run:
    return make_run(data, features=12)


@pytest.fixture
def known(run: Run, data: Path) -> Run:
    pipeline.meaning(run, make_encoder(data / "models" / "tiny"), "cpu")
    return run


def test_without_vectors_the_page_says_how_to_get_them_and_searches_words(run: Run) -> None:
    page = calm(visit(TABLE, search="LORD", meaning="true"))
    toggle = page.toggle(key="meaning")
    assert toggle.disabled
    assert "`python -m dfc meaning demo`" in toggle.help
    assert page.selectbox(key="order").value == "relevance"


def test_features_are_sorted_by_how_near_they_come(known: Run) -> None:
    page = calm(visit(TABLE, search="the shepherd", meaning="true", show="shared"))
    assert page.selectbox(key="order").value == "likeness"
    [shown] = [table.value for table in page.dataframe]
    assert shown["likeness"].is_monotonic_decreasing
    assert len(shown) == Store(known.store).count(FeatureQuery(partitions=("shared",), near=(0.0,) * 32))


def test_an_encoder_that_has_gone_is_missed_in_a_sentence(known: Run, data: Path) -> None:
    (data / "models" / "tiny" / "config.json").unlink()
    toggle = calm(visit(TABLE, search="rain", meaning="true")).toggle(key="meaning")
    assert toggle.disabled
    assert "is not at" in toggle.help


def test_the_list_that_a_feature_was_opened_from_goes_on_by_meaning(known: Run) -> None:
    place = Place(FeatureQuery(partitions=("shared",), about="<b>rain & 雨</b>", order="likeness"), 0)
    assert address.unpack(address.pack(place)) == place
    page = calm(visit(FEATURE, run="demo", feature="7", list=address.pack(place)))
    assert "by nearness in meaning" in " ".join(link.proto.label for link in page.get("page_link"))


def test_the_page_of_a_feature_names_the_nearest_findings(known: Run) -> None:
    find(known.store)
    written = text(calm(visit(FEATURE, run="demo", feature="0")))
    assert "Nearest findings in meaning" in written
