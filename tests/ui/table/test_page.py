from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import address
from dfc.ui.shell.address import Place
from dfc.ui.shell.notebook import book
from tests.stores import DOCUMENTS
from tests.ui.folders import A_FEATURE, B_FEATURE, FEATURES, ONLY_IN_CORPUS, judge, make_run
from tests.ui.pages import TABLE, calm, parameter, text, visit


def test_both_sides_beside_each_other(finished: Path) -> None:
    a, b = (frame.value for frame in calm(visit(TABLE, run="demo")).dataframe)
    assert set(a["partition"]) == {"a"}
    assert set(b["partition"]) == {"b"}
    assert a["specificity"].is_monotonic_decreasing


def test_address_sets_the_filters(finished: Path) -> None:
    test = visit(TABLE, run="demo", show="only A", order="density", source="code", rising="true")
    [table] = [frame.value for frame in calm(test).dataframe]
    assert set(table["main_source"]) == {"code"}
    assert table["density"].is_monotonic_increasing


@pytest.mark.parametrize("turned", [False, True])
def test_texts_are_sorted_from_the_beginning_of_the_alphabet(turned: bool, finished: Path) -> None:
    asked = {"order": "label", "show": "only A"} | ({"rising": "true"} if turned else {})
    test = calm(visit(TABLE, run="demo", **asked))
    labels = [label.lower() for label in test.dataframe[0].value["label"] if label]
    assert len(set(labels)) > 5
    assert labels == sorted(labels, reverse=turned)
    query = FeatureQuery(partitions=("a",), order="label", descending=turned)
    back = calm(visit(TABLE, run="demo", list=address.pack(Place(query, 0))))  # as the feature's page links back
    assert back.toggle(key="rising").value is turned
    assert back.dataframe[0].value["feature_id"].tolist() == test.dataframe[0].value["feature_id"].tolist()


def test_a_source_it_fires_more_on_is_a_filter_that_the_list_keeps(finished: Path) -> None:
    store = Store(finished / "runs" / "demo" / "features.duckdb")
    query = FeatureQuery(partitions=("a",), source="code", order="feature_id", descending=False)
    wanted = store.feature_ids(query)
    assert 0 < len(wanted) < len(store.feature_ids(replace(query, source=None)))
    test = calm(visit(TABLE, run="demo", show="only A", order="number", rising="true", fires_on="code"))
    assert test.dataframe[0].value["feature_id"].tolist() == wanted[:50]
    place = address.pack(Place(query, 0))
    test = calm(visit(TABLE, run="demo", list=place))  # as the feature's page links back
    assert test.selectbox(key="fires_on").value == "code"
    assert test.dataframe[0].value["feature_id"].tolist() == wanted[:50]


def test_pages_are_cut_by_the_store(finished: Path) -> None:
    first = visit(TABLE, run="demo", show="only A").dataframe[0].value
    second = visit(TABLE, run="demo", show="only A", page="2").dataframe[0].value
    assert len(first) == 50
    assert len(second) == FEATURES // 5 - 1 - 50  # one of the partition is dead
    assert not set(first["feature_id"]) & set(second["feature_id"])


def test_search_finds_contexts(finished: Path) -> None:
    test = calm(visit(TABLE, run="demo", search="caesar", show="only B"))
    found = test.dataframe[0].value
    assert len(found) > 0
    assert set(found["main_source"]) & {"scripture"}
    assert found["match"].str.lower().str.contains("caesar").all()
    assert found["hits"].is_monotonic_decreasing
    assert test.selectbox(key="order").value == "relevance"
    test.text_input(key="search").set_value("").run()
    assert calm(test).selectbox(key="order").value == "specificity"
    test.text_input(key="search").set_value("caesar").run()
    assert calm(test).selectbox(key="order").value == "relevance"
    test.toggle(key="strongest").set_value(True).run()
    assert calm(test).dataframe[0].value["hits"].max() < found["hits"].max()


def test_a_speaker_is_called_what_the_address_calls_it(finished: Path) -> None:
    test = calm(visit(TABLE, run="demo", role="text"))
    choice = test.selectbox(key="role")
    assert choice.value == "text"
    assert "text: what is no chat" in choice.help
    assert "plain" not in choice.help


def test_another_run_may_be_chosen_while_filters_are_set(finished: Path) -> None:
    test = calm(visit(TABLE, run="demo", show="b", search="caesar"))
    test.selectbox(key="run_choice").set_value("half").run()
    assert parameter(calm(test), "run") == "half"
    assert "is missing. What is done is kept" in text(test)


def test_nothing_found_says_so(finished: Path) -> None:
    test = calm(visit(TABLE, run="demo", search="no such text anywhere"))
    assert not test.dataframe
    assert "and no document of the corpus has it so" in text(test)


def test_what_the_corpus_alone_has_is_read_on_the_prompt_page(finished: Path) -> None:
    test = calm(visit(TABLE, run="demo", search=ONLY_IN_CORPUS.upper()))
    assert not test.dataframe
    [link] = [link.proto for link in test.get("page_link") if "fires on it" in link.proto.label]
    last = sum(len(documents) for documents in DOCUMENTS.values())
    assert f"document={last}" in link.query_string


def test_another_filter_starts_at_the_first_page(finished: Path) -> None:
    test = visit(TABLE, run="demo", show="only A", page="2")
    test.toggle(key="rising").set_value(True).run()
    assert calm(test).session_state["page"] == 1
    assert len(test.dataframe[0].value) == 50


def test_a_table_shows_the_evidence_that_it_is_sorted_by(data: Path) -> None:
    judge(make_run(data).store)
    for show, around in (
        ("only A", ("mirror_correlation", "specificity")),
        ("side by side", ("confidence", "histogram")),
    ):
        for order, shown in (("R² from its own model", True), ("confidence", False)):
            listed = list(calm(visit(TABLE, run="demo", show=show, order=order)).dataframe[0].proto.column_order)
            at = listed.index(around[0]) + 1
            assert (listed[at : at + 2] == ["own_r2", around[1]]) is shown
            assert ("own_r2" in listed) is shown


def test_shared_features_are_called_so_and_have_no_column_for_a_mirror(data: Path) -> None:
    judge(make_run(data).store)
    for show, words, mirrored in (("only A", "lets one model use alone", True), ("shared", "lets both models", False)):
        test = calm(visit(TABLE, run="demo", show=show))
        assert words in text(test)
        assert ("mirror_correlation" in test.dataframe[0].proto.column_order) is mirrored


@pytest.mark.parametrize("starred", [False, True])
def test_tables_beside_each_other_fit_a_window_of_1440_pixels(starred: bool, data: Path) -> None:
    run = make_run(data)
    if starred:
        book().mark("demo", {A_FEATURE: "", B_FEATURE: ""}, "favourite")
    for judged in (False, True):
        if judged:
            judge(run.store)
        for table in calm(visit(TABLE, run="demo", order="number", rising="true")).dataframe:
            assert ("marks" in table.proto.column_order) is starred
            looks = json.loads(table.proto.columns)
            shown = list(table.proto.column_order)
            last = shown.index("main_source") if judged else len(shown) - 1  # the density is one to scroll to then
            assert sum(looks[name]["width"] for name in shown[: last + 1]) <= 510


def test_the_heading_says_what_comes_first_as_it_is_sorted(data: Path) -> None:
    judge(make_run(data).store)
    surest = "Those come first of which the evidence is surest"
    assert surest in text(visit(TABLE, run="demo"))
    for asked in ({"order": "density"}, {"rising": "true"}):
        said = text(calm(visit(TABLE, run="demo", **asked)))
        assert surest not in said
        assert f"They are sorted by {'density' if 'order' in asked else 'evidence'}" in said
