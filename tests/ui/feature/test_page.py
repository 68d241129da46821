from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest

from dfc.store import attached
from dfc.ui.shell import address
from dfc.ui.shell.text import plain
from tests.stores import make_older
from tests.ui.folders import (
    A_FEATURE,
    B_FEATURE,
    DEAD_FEATURE,
    HOSTILE_FEATURE,
    SHARED_FEATURE,
    find,
    judge,
    make_run,
)
from tests.ui.pages import FEATURE, TABLE, calm, parameter, text, visit


@pytest.mark.parametrize("feature", [A_FEATURE, B_FEATURE, SHARED_FEATURE, HOSTILE_FEATURE, DEAD_FEATURE])
def test_every_kind_opens_by_address(feature: int, finished: Path) -> None:
    test = calm(visit(FEATURE, run="demo", feature=str(feature)))
    assert f"Feature {feature} " in text(test)


def test_contexts_by_band(finished: Path) -> None:
    words = text(calm(visit(FEATURE, run="demo", feature=str(A_FEATURE))))
    titles = ["Strongest contexts", "Upper quarter", "Second quarter", "Third quarter", "Weakest quarter"]
    places = [words.index(title) for title in titles]
    assert places == sorted(places)
    assert words.count('class="dfc-context dfc-a"') == 40


def test_both_tokenisations(finished: Path) -> None:
    words = text(calm(visit(FEATURE, run="demo", feature=str(A_FEATURE), tokens="both")))
    assert words.count('class="dfc-context dfc-a"') == 80


def test_hostile_text_is_escaped(finished: Path) -> None:
    words = text(calm(visit(FEATURE, run="demo", feature=str(HOSTILE_FEATURE), tokens="both")))
    for bait in ("<script", "<img", "onerror=alert(1)>", "<h1>owned"):
        assert bait not in words


def test_dead_feature_says_so(finished: Path) -> None:
    test = calm(visit(FEATURE, run="demo", feature=str(DEAD_FEATURE)))
    assert "This feature is dead" in test.info[0].value


def test_it_says_what_it_reads_and_how_it_moves_all_tokens(finished: Path) -> None:
    for feature, cells in ((A_FEATURE, ("0.70", "–")), (SHARED_FEATURE, ("0.70", "0.60"))):
        test = calm(visit(FEATURE, run="demo", feature=str(feature)))
        row = text(test).split("cosine of encoder and decoder</td>")[1].split("</tr>")[0]
        assert tuple(re.findall(r">([^<>]+)</td>", row)) == cells
        alts = [one.proto.alt for one in test.get("plotly_chart")]
        assert sum(alt.startswith("Histogram of what it adds to the logits") for alt in alts) == 1 + ("–" not in cells)


def test_an_older_store_says_how_to_get_what_it_lacks(data: Path) -> None:
    make_older(make_run(data).store)
    captions = [one.value for one in calm(visit(FEATURE, run="demo", feature=str(A_FEATURE))).caption]
    assert sum("`python -m dfc index --again demo`" in caption for caption in captions) == 2


def test_next_goes_on_by_number(finished: Path) -> None:
    test = visit(FEATURE, run="demo", feature=str(A_FEATURE))
    test.button(key="next").click().run()
    assert parameter(calm(test), "feature") == str(A_FEATURE + 1)
    test.button(key="previous").click().run()
    assert parameter(test, "feature") == str(A_FEATURE)
    assert test.button(key="previous").disabled


def test_next_follows_the_list_it_came_from(finished: Path) -> None:
    order = visit(TABLE, run="demo", show="only B", order="density").dataframe[0].value["feature_id"].tolist()
    test = visit(FEATURE, run="demo", feature=str(order[0]), list="at=0&in=b&by=density")
    assert "1 of 59 in the list, by density" in [link.proto.label for link in test.get("page_link")]
    test.button(key="next").click().run()
    test.button(key="next").click().run()
    assert parameter(calm(test), "feature") == str(order[2])


@pytest.mark.parametrize("list_", ["", "nonsense", "at=x&in=a", "at=-1&in=a", "at=1&in=q", "at=1&in=a&by=drop"])
def test_a_list_that_makes_no_sense_is_ignored(list_: str, finished: Path) -> None:
    test = calm(visit(FEATURE, run="demo", feature="3", list=list_))
    assert "by number, in its partition" in text(test)


def test_without_a_feature_offers_some(finished: Path) -> None:
    test = calm(visit(FEATURE, run="demo"))
    assert len([link for link in test.get("page_link") if link.proto.label.startswith("Feature ")]) == 10
    test.number_input(key="jump").set_value(7).run()
    assert parameter(test, "feature") == "7"


def test_the_surest_findings_are_offered_first(data: Path) -> None:
    judge(make_run(data).store)
    links = [link.proto.label for link in calm(visit(FEATURE, run="demo")).get("page_link")]
    offered = [label for label in links if label.startswith("Feature ")]
    assert [offered[0], offered[5]] == [f"Feature {A_FEATURE}", f"Feature {B_FEATURE}"]


@pytest.mark.parametrize(("feature", "like"), [(A_FEATURE, True), (SHARED_FEATURE, False)])
def test_what_fires_like_it_is_named_where_there_is_some(feature: int, like: bool, data: Path) -> None:
    judge(make_run(data).store)
    test = calm(visit(FEATURE, run="demo", feature=str(feature)))
    assert "Predicted from" in text(test)
    assert ("Fires most like it" in text(test)) is like


@pytest.mark.parametrize(
    ("feature", "sentence"),
    [
        ("99999", "Feature 99999 does not exist in this run; its features are 0 to 299."),
        ("-1", "The address asks for the feature “-1”; a feature is a whole number from 0 to 2,147,483,647."),
        ("<b>x", "The address asks for the feature “<b>x”; a feature is a whole number from 0 to 2,147,483,647."),
        (str(address.LARGEST), "Feature 2147483647 does not exist in this run; its features are 0 to 299."),
    ],
)
def test_wrong_feature_is_one_sentence(feature: str, sentence: str, finished: Path) -> None:
    test = visit(FEATURE, run="demo", feature=feature)
    assert not test.exception
    assert [error.value for error in test.error] == [plain(sentence)]


def test_it_says_to_which_finding_it_belongs_and_links_the_others(data: Path) -> None:
    find(make_run(data).store)
    test = calm(visit(FEATURE, run="demo", feature="0"))
    words = text(test)
    assert (
        "Finding 1 of 12 where SmolLM2-135M-Instruct does better than in like texts; this is number 2 of its 3" in words
    )
    assert words.index(">0.299 ± 0.010</span>") < words.index(">0.598 ± 0.030</span>")
    links = {link.proto.label.split("\u2002")[0]: link.proto for link in test.get("page_link")}
    assert {"150", "151"} < links.keys()
    assert "0" not in links
    back = links["Its 3 features among the findings"]
    assert back.query_string == "run=demo&group=0"
    assert "Which finding it belongs to" not in text(calm(visit(FEATURE, run="demo", feature="2")))


def test_steering_begins_with_the_model_whose_finding_it_is(data: Path) -> None:
    for side in ("a", "b"):
        run = make_run(data, side)
        find(run.store)
        with duckdb.connect(str(attached.evidence_path(run.store))) as connection:
            connection.execute("UPDATE findings SET side = ? WHERE finding = 0", [side])
            connection.execute("UPDATE evidence SET knows = ? WHERE finding = 0", [side])
        for feature, expected in ((150, side), (0, "a"), (B_FEATURE, "b"), (SHARED_FEATURE + 2, "a")):
            links = calm(visit(FEATURE, run=side, feature=str(feature))).get("page_link")
            [link] = [link.proto for link in links if link.proto.label == "Steer with it"]
            assert link.query_string == f"run={side}&feature={feature}&side={expected.upper()}"


def test_next_follows_the_findings_and_the_features_of_one(data: Path) -> None:
    find(make_run(data).store)
    for place, at, then in (
        ("at=0&in=a,b,shared&found=a&by=finding&up=1", "1 of 12 findings of A", "1"),
        ("at=0&in=a,b,shared&dead=1&finding=0&by=place&up=1", "1 of 3 in its finding", "0"),
    ):
        test = calm(visit(FEATURE, run="demo", feature="150", list=place))
        assert at in [link.proto.label for link in test.get("page_link")]
        test.button(key="next").click().run()
        assert parameter(calm(test), "feature") == then


def test_a_model_without_a_lens_is_said(data: Path) -> None:
    note = "its logits do not come from its last block alone (72% off); the key `final_norm` names a <b>norm</b>"
    run = make_run(data)
    with duckdb.connect(str(run.store)) as connection:
        connection.execute("DELETE FROM logits WHERE side = 'b'")
        connection.execute("INSERT INTO run VALUES ('lens_note_b', ?)", [json.dumps(note)])
        connection.execute("INSERT INTO run VALUES ('lens_note_a', ?)", [json.dumps("`model.norm`, as was asked")])
    for feature, shown in ((A_FEATURE, False), (B_FEATURE, True), (SHARED_FEATURE, True)):
        captions = [caption.value for caption in calm(visit(FEATURE, run="demo", feature=str(feature))).caption]
        assert any("What it writes in B is not known" in caption for caption in captions) == shown
        assert not any("<b>" in caption for caption in captions)
        assert any("as was asked" in caption for caption in captions) == (feature != B_FEATURE)
