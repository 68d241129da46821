from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from dfc.config import PARTITIONS, EvidenceConfig
from dfc.store import attached
from dfc.store.query import FeatureQuery
from dfc.store.reader import Store
from dfc.ui.findings import texts
from dfc.ui.shell import address, paging
from dfc.ui.shell.address import Place
from dfc.ui.shell.notebook import book
from tests.screen.test_themes import mean
from tests.ui.folders import FOUND, ONLY_IN_CORPUS, find, judge, make_run
from tests.ui.pages import FEATURE, FINDINGS, OVERVIEW, calm, parameter, text, visit

OF_A = [members[0] for side, members in FOUND.values() if side == "a"]


@pytest.fixture
def found(data: Path) -> Path:
    """A run with findings."""
    find(make_run(data).store)
    return data


def listed(test: AppTest) -> list[int]:
    """Best features of the findings on the page, in order."""
    links = [link.proto for link in test.get("page_link") if "\u2002" in link.proto.label]
    return [int(unquote(link.query_string).split("feature=")[1].split("&")[0]) for link in links]


def test_both_models_beside_each_other_by_rank(found: Path) -> None:
    test = calm(visit(FINDINGS, run="demo"))
    assert listed(test) == [*OF_A, 60]
    words = text(test)
    assert ">12 findings; bars" in words
    assert ">1 finding; bars" in words
    assert "Both may use it: A expects what follows better than B, by more than in like texts." in words
    assert "Only B may use it: B expects what follows better than A, by more than in like texts." in words
    assert "<b>exclusive</b>&ensp;evidence score 0.90" in words
    assert "0.290 ± 0.010" in words
    assert "1,000 documents" in words


@pytest.mark.parametrize(
    ("asked", "shown", "emptied"),
    [
        ({"whose": "b"}, [60], 0),
        ({"whose": "a", "rising": "true"}, OF_A[::-1], 0),
        ({"claim": "only"}, [1, 60], 0),
        ({"claim": "shared"}, [feature for feature in OF_A if feature != 1], 1),
        ({"verdict": "exclusive"}, [60], 1),
    ],
)
def test_the_address_narrows_the_list(asked: dict[str, str], shown: list[int], emptied: int, found: Path) -> None:
    test = calm(visit(FINDINGS, run="demo", **asked))
    assert listed(test) == shown
    assert text(test).count("No finding passes these filters") == emptied


def test_a_search_says_why_a_finding_was_found(found: Path) -> None:
    store = Store(found / "runs" / "demo" / "features.duckdb")
    held = "".join(store.strongest_contexts([OF_A[0]])[OF_A[0]].tokens_a)
    word = max(re.findall(r"[a-z]+", held), key=len)
    words = text(calm(visit(FINDINGS, run="demo", search=word)))
    assert re.search(rf"searched: .*{word}.* \(\d+ contexts?\)", words)
    assert "searched:" not in text(calm(visit(FINDINGS, run="demo")))


def test_reading_goes_from_the_end_of_one_list_to_that_beside_it(found: Path) -> None:
    query = FeatureQuery(partitions=PARTITIONS, found="a", order="finding", descending=False)
    last = Place(query, len(OF_A) - 1, beside=True)
    test = calm(visit(FEATURE, run="demo", feature=str(OF_A[-1]), list=address.pack(last)))
    test.button(key="next").click().run()
    assert parameter(calm(test), "feature") == "60"
    assert "1 of 1 findings of B" in [link.proto.label for link in test.get("page_link")]
    assert test.button(key="next").disabled
    test.button(key="previous").click().run()
    assert parameter(calm(test), "feature") == str(OF_A[-1])
    alone = address.pack(replace(last, beside=False))
    assert calm(visit(FEATURE, run="demo", feature=str(OF_A[-1]), list=alone)).button(key="next").disabled


def test_a_search_without_a_finding_says_whether_the_corpus_has_it(found: Path) -> None:
    test = calm(visit(FINDINGS, run="demo", search="no such text anywhere"))
    assert not listed(test)
    assert "and no document of the corpus has it so" in text(test)
    test = calm(visit(FINDINGS, run="demo", search=ONLY_IN_CORPUS.upper()))
    assert "No best feature of a finding that passes these filters has" in text(test)
    [link] = [link.proto for link in test.get("page_link") if "fires on it" in link.proto.label]
    assert link.query_string.startswith("run=demo&document=")


def test_readers_marks_narrow_it_too(found: Path) -> None:
    book().mark("demo", {1: "", 160: ""}, "favourite")
    assert listed(calm(visit(FINDINGS, run="demo", starred="true"))) == [1, 160]


def test_a_row_passes_on_its_list_which_leads_back(found: Path) -> None:
    test = calm(visit(FINDINGS, run="demo", whose="a", claim="shared"))
    link = [link.proto for link in test.get("page_link") if "\u2002" in link.proto.label][1]
    place = address.unpack(unquote(unquote(link.query_string).split("list=")[1]))
    assert place is not None
    assert (place.position, place.query.found, place.query.partitions) == (1, "a", ("shared",))
    back = calm(visit(FINDINGS, run="demo", list=address.pack(place)))
    assert (parameter(back, "whose"), parameter(back, "claim")) == ("a", "shared")
    assert listed(back) == listed(test)


def test_the_features_of_a_finding_unfold(found: Path) -> None:
    test = calm(visit(FINDINGS, run="demo"))
    assert not test.dataframe
    test.button(key="unfold_0").click().run()
    assert parameter(calm(test), "group") == "0"
    [table] = [frame.value for frame in test.dataframe]
    assert table["feature_id"].tolist() == [150, 0, 151]
    assert table["toward"].tolist() == pytest.approx([0.3, 0.299, 0.298])
    test.button(key="unfold_0").click().run()
    assert not calm(test).dataframe
    assert [button.label for button in test.button if button.key.startswith("unfold")] == ["3 features", "2 features"]


def test_a_feature_leads_back_to_the_page_on_which_its_finding_stands(
    found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "FINDING_ROWS", 1)
    query = FeatureQuery(partitions=("a", "b", "shared"), finding=2, alive_only=False, order="place", descending=False)
    test = calm(visit(FINDINGS, run="demo", list=address.pack(Place(query, 1))))
    assert (parameter(test, "group"), parameter(test, "page")) == ("2", "2")
    [table] = [frame.value for frame in test.dataframe]
    assert table["feature_id"].tolist() == [1, 61]
    assert table["toward"].tolist() == pytest.approx([0.28, 0.279])  # the store has the second in favour of B


def test_many_are_chosen_by_ticks(found: Path) -> None:
    test = calm(visit(FINDINGS, run="demo", select="true"))
    assert "<b>0</b>" in text(test)
    next(box for box in test.checkbox if box.label == "Choose feature 150").check().run()
    assert "<b>1</b>" in text(calm(test))
    test.button(key="mark_favourite").click().run()
    assert [one.feature_id for one in book().read().of("demo").marks] == [150]
    test.button(key="choose_all").click().run()
    assert "<b>13</b>" in text(calm(test))
    assert all(box.value for box in test.checkbox if box.label.startswith("Choose"))


def test_by_which_rule_is_said(found: Path) -> None:
    least = EvidenceConfig().surprise_gap
    captions = [caption.value.replace("\\", "") for caption in calm(visit(FINDINGS, run="demo")).caption]
    assert any(
        "299 features whose firing is spread over 5 documents' worth were tested" in caption for caption in captions
    )
    assert any(f"more than {least:g} nats a character" in caption and "at most 5 %" in caption for caption in captions)


def test_kinds_of_text_and_the_features_of_each(found: Path) -> None:
    test = calm(visit(FINDINGS, run="demo"))
    words = text(test)
    places = [words.index(told) for told in ("B 0.300 ± 0.020", "A 0.200 ± 0.010", "A 0.010 ± 0.020", "B 0.040<small>")]
    assert places == sorted(places)
    assert 'dfc-both dfc-shared"><span class="dfc-bar"><i style="left:50.0%;width:1.6%' in words  # no sure difference
    links = {link.proto.label: link.proto.query_string for link in test.get("page_link")}
    assert "fires_on=code" in links["code"]
    assert "role=text" in links["text \\(no chat\\)"]
    assert "latin" not in links


def test_many_sources_are_cut_and_it_is_said(found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = calm(visit(FINDINGS, run="demo"))
    assert "all_source" not in [toggle.key for toggle in whole.toggle]
    monkeypatch.setattr(texts, "SHOWN", 2)
    cut = calm(visit(FINDINGS, run="demo"))
    assert cut.toggle(key="all_source").label == "all 3; the others differ by at most 0.010"
    assert "A 0.010 ± 0.020" not in text(cut)
    assert "A 0.010 ± 0.020" in text(calm(visit(FINDINGS, run="demo", all_source="true")))


def test_where_there_are_none_one_sentence_says_why(data: Path) -> None:
    run = make_run(data)
    assert "Not judged yet: `python -m dfc verify demo`" in calm(visit(FINDINGS, run="demo")).info[0].value
    judge(run.store)
    assert "without the models' surprise" in calm(visit(FINDINGS, run="demo")).info[0].value
    find(run.store, passing=False)
    test = calm(visit(FINDINGS, run="demo"))
    assert "There is no finding: 299 features" in test.info[0].value
    assert "Kinds of text that one model expects better" in text(test)
    assert not listed(test)


def test_clear_all_takes_back_the_choice_of_partitions_too(found: Path) -> None:
    assert not [button for button in calm(visit(FINDINGS, run="demo")).button if button.key == "clear"]
    test = calm(visit(FINDINGS, run="demo", claim="only", search="no such text anywhere"))
    assert not listed(test)
    test.button(key="clear").click().run()
    assert listed(calm(test)) == [*OF_A, 60]
    assert "claim" not in test.query_params
    chosen = calm(visit(FINDINGS, run="demo", claim="only"))
    assert chosen.button(key="clear")


def test_a_feature_links_to_its_finding_without_a_detour(found: Path) -> None:
    test = calm(visit(FEATURE, run="demo", feature="150"))
    [link] = [link.proto for link in test.get("page_link") if link.proto.label == "Its 3 features among the findings"]
    assert link.query_string == "run=demo&group=0"
    listed_in = "at=0&in=a&found=a&by=finding&up=1"
    back = calm(visit(FEATURE, run="demo", feature="1", list=listed_in))
    [link] = [link.proto for link in back.get("page_link") if link.proto.label == "1 of 1 findings of A"]
    assert link.query_string == "run=demo&whose=a&claim=only"


def test_a_model_against_itself_expects_no_kind_of_text_better(found: Path) -> None:
    with duckdb.connect(str(attached.evidence_path(found / "runs" / "demo" / "features.duckdb"))) as connection:
        connection.execute("UPDATE texts SET gap = 0, error = 0")
    test = calm(visit(FINDINGS, run="demo"))
    assert "No kind of text differs by 2 standard errors" in test.info[0].value
    words = text(test)
    assert "<span>0.000 ± 0.000<small>" in words
    assert 'dfc-both dfc-b"' not in words


def test_a_finding_of_neither_model_is_one_sentence(found: Path) -> None:
    with duckdb.connect(str(attached.evidence_path(found / "runs" / "demo" / "features.duckdb"))) as connection:
        connection.execute("UPDATE findings SET side = 'c' WHERE finding = 3")
    for page in (FINDINGS, OVERVIEW):
        test = visit(page, run="demo")
        assert not test.exception
        assert "is damaged \\(a finding of neither model\\)" in test.error[0].value


def test_another_run_is_shown_without_the_filters_of_the_one_before(found: Path) -> None:
    find(make_run(found, "other").store)
    asked = {"claim": "only", "search": "no such text anywhere", "starred": "true", "rising": "true"}
    test = calm(visit(FINDINGS, run="demo", **asked))
    assert not listed(test)
    test.selectbox(key="run_choice").select("other").run()
    assert listed(calm(test)) == [*OF_A, 60]
    assert set(test.query_params) == {"run"}


def test_themes_need_what_the_findings_mean(found: Path) -> None:
    test = calm(visit(FINDINGS, run="demo", view="themes"))
    assert "python -m dfc meaning demo" in test.info[0].value
    assert not test.get("plotly_chart")


def test_a_theme_unfolds_its_findings_which_lead_to_their_features(found: Path) -> None:
    mean(found / "runs" / "demo" / "features.duckdb")
    test = calm(visit(FINDINGS, run="demo"))
    test.segmented_control(key="view").set_value("themes").run()
    assert parameter(calm(test), "view") == "themes"
    assert len(test.get("plotly_chart")) == 1
    words = text(test)
    assert "of SmolLM2-135M-Instruct&#x27;s findings" in words
    assert re.search(r"The picture keeps \d+ % of the variance of 13 vectors", words.replace("\\", ""))
    assert not listed(test)
    button = next(button for button in test.button if (button.key or "").startswith("unfold_theme_"))
    number = int(button.label.split()[0])
    button.click().run()
    assert parameter(calm(test), "theme") == button.key.removeprefix("unfold_theme_")
    features = listed(test)
    assert len(features) == number
    assert set(features) <= {members[0] for _, members in FOUND.values()}
    link = next(link.proto for link in test.get("page_link") if "\u2002" in link.proto.label)
    place = address.unpack(unquote(unquote(link.query_string).split("list=")[1]))
    assert place is not None
    side = next(side for side, members in FOUND.values() if members[0] == features[0])
    assert (place.query.found, place.beside) == (side, True)
    other = calm(visit(FINDINGS, run="demo", view="themes", theme=parameter(test, "theme")))
    assert listed(other) == features


def test_more_themes_are_asked_for_in_the_address(found: Path) -> None:
    mean(found / "runs" / "demo" / "features.duckdb")
    test = calm(visit(FINDINGS, run="demo", view="themes", themes="9", theme_colour="theme"))
    assert sum((button.key or "").startswith("unfold_theme_") for button in test.button) == 9
    assert "9 themes, by Ward" in text(test).replace("\\", "")
