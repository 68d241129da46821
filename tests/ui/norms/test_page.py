from __future__ import annotations

import json
from pathlib import Path

import pytest

from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import address
from dfc.ui.shell.address import Place
from dfc.ui.shell.norm_region import Region
from tests.ui.folders import A_FEATURE, B_FEATURE
from tests.ui.pages import FEATURE, NORMS, calm, parameter, text, visit


def test_dead_features_can_be_shown(finished: Path) -> None:
    test = calm(visit(NORMS, run="demo", alive="false"))
    assert test.toggle(key="alive").value is False
    assert len(test.get("plotly_chart")) == 2


def test_a_selection_in_the_address_is_drawn_listed_and_read_through(finished: Path) -> None:
    region = "norms~0.5_9_-0.1_0.01"
    store = Store(finished / "runs" / "demo" / "features.duckdb")
    inside = Region("norms", ((0.5, 9, -0.1, 0.01),)).members(store.norms(), alive_only=True)
    assert len(inside) > 2
    test = calm(visit(NORMS, run="demo", region=region))
    assert f"**{len(inside):,} selected**" in text(test)
    assert test.dataframe[0].value["feature_id"].tolist() == inside[:50]
    drawn = json.loads(test.get("plotly_chart")[1].proto.spec)
    assert [(box["x0"], box["x1"]) for box in drawn["layout"]["selections"]] == [(0.5, 9)]
    place = Place(FeatureQuery(order="density"), 1, region=region)
    feature = calm(visit(FEATURE, run="demo", feature=str(inside[1]), list=address.pack(place)))
    assert f"2 of {len(inside)} selected in the norms, by density" in [
        link.proto.label for link in feature.get("page_link")
    ]
    feature.button(key="next").click().run()
    assert parameter(feature, "feature") == str(inside[2])
    test.button(key="clear_region").click().run()
    assert "region" not in test.query_params
    assert "Nothing is selected" in text(calm(test))


def test_a_selection_goes_to_the_table_as_what_is_chosen(finished: Path) -> None:
    test = visit(NORMS, run="demo", region=f"norms~f{A_FEATURE}_{B_FEATURE}")
    test.button(key="choose_region").click().run()
    assert test.toggle(key="select").value is True
    assert "<b>2</b>" in text(calm(test))


@pytest.mark.parametrize("region", ["nonsense", "norms~1_2", "cosine~0_1_0_1"])
def test_a_selection_that_makes_no_sense_is_none(region: str, finished: Path) -> None:
    assert "Nothing is selected" in text(calm(visit(NORMS, run="demo", region=region)))
