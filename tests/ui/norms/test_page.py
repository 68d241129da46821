from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import address
from dfc.ui.shell.address import Place
from dfc.ui.shell.norm_region import Region
from tests.stores import make_older
from tests.ui.folders import A_FEATURE, B_FEATURE, find, make_run
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


def drawn(test: AppTest) -> dict[str, Any]:
    """The scatter, as it reaches the browser."""
    return dict(json.loads(test.get("plotly_chart")[1].proto.spec))


def titles(test: AppTest) -> list[str]:
    return [drawn(test)["layout"][axis]["title"]["text"] for axis in ("xaxis", "yaxis")]


def test_norms_are_in_typical_deviations_and_raw_where_the_address_says_so(finished: Path) -> None:
    table = Store(finished / "runs" / "demo" / "features.duckdb").norms()
    shared = table[(table["partition"] == "shared") & table["alive"]]
    names = ("SmolLM2-135M-Instruct", "Gemma-3-270m")
    for axes, unit, prefix in ((None, "in its typical deviation", ""), ("raw", "in units of its stream", "raw_")):
        test = calm(visit(NORMS, run="demo", **({"axes": axes} if axes else {})))
        assert [title.split(", ") for title in titles(test)] == [
            [f"‖d_{side}‖ in {name}", unit] for side, name in zip("AB", names, strict=True)
        ]
        mark = drawn(test)["data"][-1]
        assert mark["name"] == "median of the shared features"
        found = mark["x"][0], mark["y"][0]
        assert found == pytest.approx(tuple(shared[f"{prefix}norm_{side}"].median() for side in "ab"))


def test_a_selection_among_raw_norms_lists_raw_norms(finished: Path) -> None:
    region = "raw~0_1000_0_1000"
    test = calm(visit(NORMS, run="demo", axes="raw", region=region))
    store = Store(finished / "runs" / "demo" / "features.duckdb")
    inside = Region("raw", ((0, 1000, 0, 1000),)).members(store.norms(), alive_only=True)
    assert f"**{len(inside):,} selected**" in text(test)
    shown = set(test.dataframe[0].proto.column_order)
    assert {"raw_norm_a", "raw_norm_b"} <= shown
    assert not {"norm_a", "norm_b"} & shown
    place = Place(FeatureQuery(order="density"), 1, region=region)
    feature = calm(visit(FEATURE, run="demo", feature=str(inside[1]), list=address.pack(place)))
    assert parameter(feature, "feature") == str(inside[1])


def test_an_older_store_says_in_what_its_norms_are(data: Path) -> None:
    run = make_run(data, features=40)
    assert "index --again" not in text(calm(visit(NORMS, run="demo")))
    make_older(run.store)
    test = calm(visit(NORMS, run="demo", axes="raw"))
    assert [title.split(", ")[1] for title in titles(test)] == ["in the crosscoder's scaled space"] * 2
    assert "python -m dfc index --again demo" in text(test)


def test_a_selection_goes_to_the_table_as_what_is_chosen(finished: Path) -> None:
    test = visit(NORMS, run="demo", region=f"norms~f{A_FEATURE}_{B_FEATURE}")
    test.button(key="choose_region").click().run()
    assert test.toggle(key="select").value is True
    assert "<b>2</b>" in text(calm(test))


@pytest.mark.parametrize("region", ["nonsense", "norms~1_2", "cosine~0_1_0_1"])
def test_a_selection_that_makes_no_sense_is_none(region: str, finished: Path) -> None:
    assert "Nothing is selected" in text(calm(visit(NORMS, run="demo", region=region)))


def test_a_selection_stays_when_the_axes_change(finished: Path) -> None:
    region = "norms~0.5_9_-0.1_0.01"
    inside = Region("norms", ((0.5, 9, -0.1, 0.01),)).members(
        Store(finished / "runs" / "demo" / "features.duckdb").norms(), alive_only=True
    )
    test = calm(visit(NORMS, run="demo", region=region, axes="raw"))
    assert f"**{len(inside):,} selected**" in text(test)
    assert "What was selected among both norms stays selected" in text(test)
    assert not drawn(test)["layout"].get("selections")


def test_the_cosine_says_which_features_it_has_no_place_for(data: Path) -> None:
    run = make_run(data, features=40)
    find(run.store)
    evidence = run.store.with_name("evidence.duckdb")
    with duckdb.connect(str(evidence)) as connection:
        connection.execute("UPDATE evidence SET decoder_cosine = 0.5 WHERE feature_id >= 16")
    test = calm(visit(NORMS, run="demo", axes="cosine"))
    assert "14 features are not drawn: those that may act in one model alone" in text(test)
    assert "not drawn" not in text(calm(visit(NORMS, run="demo")))
