from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from dfc.runs import Run
from dfc.store.reader import FeatureQuery, Store
from dfc.store.writer import StoreUpdate
from dfc.ui import address
from dfc.ui.address import Place
from dfc.ui.norm_region import Region
from dfc.ui.text import plain
from tests.ui.folders import (
    A_FEATURE,
    B_FEATURE,
    DEAD_FEATURE,
    FEATURES,
    HOSTILE_FEATURE,
    SHARED_FEATURE,
    make_broken_run,
    make_half_run,
    make_old_run,
    make_run,
)

ROOT = Path(__file__).resolve().parents[2]
OVERVIEW = "app.py"
TABLE, FEATURE, NORMS, STEER, PROMPT, RUNS, LISTS = (
    "pages/1_Exclusive_features.py",
    "pages/2_Feature.py",
    "pages/3_Decoder_norms.py",
    "pages/4_Steer.py",
    "pages/5_Prompt.py",
    "pages/6_Runs.py",
    "pages/7_Lists.py",
)
PAGES = [OVERVIEW, TABLE, FEATURE, NORMS, STEER, PROMPT, RUNS, LISTS]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFC_DATA", str(tmp_path))
    return tmp_path


@pytest.fixture
def finished(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFC_DATA", str(data_folder))
    return data_folder


def visit(page: str, /, **parameters: str) -> AppTest:
    """Open a page with an address, as a reader who follows a link."""
    test = AppTest.from_file(str(ROOT / OVERVIEW), default_timeout=60)
    test.query_params.update(parameters)
    test.run()
    if page != OVERVIEW:
        test.switch_page(page)
        test.query_params.update(parameters)
        test.run()
    return test


def text(test: AppTest) -> str:
    """Everything that is written on the page."""
    elements = [*test.get("html"), *test.markdown, *test.code, *test.caption, *test.error, *test.warning, *test.info]
    return "\n".join(str(getattr(element, "value", None) or element.proto.body) for element in elements)


def parameter(test: AppTest, name: str) -> str:
    """One parameter of the address; AppTest gives it alone or in a list."""
    value = test.query_params[name]
    return value if isinstance(value, str) else value[0]


def calm(test: AppTest) -> AppTest:
    """The page itself, if nothing on it is an error."""
    assert not test.exception, test.exception[0].message
    assert not test.error, test.error[0].value
    return test


@pytest.mark.parametrize("page", PAGES)
class TestEveryPage:
    def test_without_runs_says_how_to_make_one(self, page: str, data: Path) -> None:
        test = calm(visit(page))
        assert [code.value for code in test.code] == ["make demo", "python -m dfc run data/presets/….yaml"]

    def test_shows_a_run(self, page: str, finished: Path) -> None:
        test = calm(visit(page, run="demo"))
        assert "SmolLM2-135M-Instruct" in text(test)
        assert "Gemma-3-270m" in text(test)

    def test_without_a_run_in_the_address_takes_the_one_that_is_finished(self, page: str, finished: Path) -> None:
        test = calm(visit(page))
        assert parameter(test, "run") == "demo"

    def test_half_written_run_names_the_stage_and_the_command(self, page: str, data: Path) -> None:
        run = make_half_run(data)
        test = calm(visit(page, run="half"))
        assert "The stage “Dictionary trained” (train) is missing" in text(test)
        assert [code.value for code in test.code] == [f"python -m dfc run {run.path / 'run.yaml'}"]

    def test_unknown_run_lists_those_there_are(self, page: str, finished: Path) -> None:
        test = visit(page, run="nobody")
        assert not test.exception
        assert [error.value for error in test.error] == [
            plain("There is no run called “nobody”; the runs are: demo, half.")
        ]

    def test_broken_store_is_one_sentence_with_the_remedy(self, page: str, data: Path) -> None:
        run = make_broken_run(data)
        test = visit(page, run="broken")
        assert not test.exception
        [error] = test.error
        assert plain(str(run.store)) in error.value
        assert plain(f"python -m dfc index --again {run.path}") in error.value

    def test_older_schema_is_one_sentence_with_the_remedy(self, page: str, data: Path) -> None:
        run = make_old_run(data)
        test = visit(page, run="old")
        assert not test.exception
        [error] = test.error
        assert "schema 0" in error.value
        assert plain(f"python -m dfc index --again {run.path}") in error.value

    def test_broken_settings_are_one_sentence(self, page: str, data: Path) -> None:
        run = make_run(data, "typo", features=20)
        settings = run.path / "run.yaml"
        settings.write_text(settings.read_text().replace("crosscoder:", "croscoder:"))
        test = visit(page, run="typo")
        assert not test.exception
        assert plain("did you mean `crosscoder`?") in test.error[0].value

    @pytest.mark.parametrize("number", [str(2**63), "9" * 5_000])
    def test_no_number_in_the_address_is_too_large(self, page: str, number: str, finished: Path) -> None:
        packed = {"list": f"at={number}&in=a", "edits": f"a_{number}_add_2_all", "region": f"norms~f{number}"}
        counts = dict.fromkeys(("page", "span", "document", "seed", "max_tokens"), number)
        for parameters in ({"feature": number}, {**packed, "feature": "3"}, {**packed, "feature": "3", **counts}):
            test = visit(page, run="demo", **parameters)
            assert not test.exception, test.exception[0].message
            assert not any("--again" in error.value for error in test.error)

    def test_every_link_passes_the_run_on(self, page: str, finished: Path) -> None:
        test = visit(page, run="demo")
        links = [link.proto for link in test.get("page_link") if not link.proto.external]
        assert len(links) >= 5
        assert all("run=demo" in link.query_string for link in links)


@pytest.mark.parametrize(("make", "place"), [(make_half_run, "layer 0.5 of depth"), (make_run, "layer 15")])
def test_a_fraction_of_depth_is_shown_as_the_block_that_was_read(
    make: Callable[[Path], Run], place: str, data: Path
) -> None:
    settings = make(data).path / "run.yaml"
    settings.write_text(settings.read_text().replace("layer: 15", "layer: 0.5"))
    test = calm(visit(OVERVIEW))
    assert f"<small>{place}</small>" in text(test)
    assert "<small>layer 9</small>" in text(test)


class TestOverview:
    def test_ten_findings_for_each_model_with_their_contexts(self, finished: Path) -> None:
        test = calm(visit(OVERVIEW, run="demo"))
        links = [link.proto for link in test.get("page_link") if link.proto.label.startswith("Feature ")]
        assert len(links) == 20
        assert len([body for body in text(test).split("\n") if 'class="dfc-context dfc-a"' in body]) == 10
        assert len([body for body in text(test).split("\n") if 'class="dfc-context dfc-b"' in body]) == 10

    def test_health_figures(self, finished: Path) -> None:
        test = calm(visit(OVERVIEW, run="demo"))
        figures = {metric.label: metric.value for metric in test.metric}
        assert figures["Explained, A"] == "69.5 %"
        assert figures["Explained, B"] == "69.8 %"
        assert figures["Active at once"] == "32.0"
        assert figures["Token pairs"] == "166,000"
        assert all(metric.help for metric in test.metric)

    def test_what_each_partition_adds(self, finished: Path) -> None:
        words = text(calm(visit(OVERVIEW, run="demo")))
        assert "<td>+7.0 points</td><td>–</td></tr>" in words
        assert "<td>–</td><td>+6.0 points</td></tr>" in words
        assert "<td>+61.0 points</td><td>+64.0 points</td></tr>" in words


class TestExclusiveFeatures:
    def test_both_sides_beside_each_other(self, finished: Path) -> None:
        a, b = (frame.value for frame in calm(visit(TABLE, run="demo")).dataframe)
        assert set(a["partition"]) == {"a"}
        assert set(b["partition"]) == {"b"}
        assert a["specificity"].is_monotonic_decreasing

    def test_address_sets_the_filters(self, finished: Path) -> None:
        test = visit(TABLE, run="demo", show="only A", order="density", source="code", rising="true")
        [table] = [frame.value for frame in calm(test).dataframe]
        assert set(table["main_source"]) == {"code"}
        assert table["density"].is_monotonic_increasing

    @pytest.mark.parametrize("turned", [False, True])
    def test_texts_are_sorted_from_the_beginning_of_the_alphabet(self, turned: bool, finished: Path) -> None:
        asked = {"order": "label", "show": "only A"} | ({"rising": "true"} if turned else {})
        test = calm(visit(TABLE, run="demo", **asked))
        assert test.toggle(key="rising").label == "Z first"
        labels = [label.lower() for label in test.dataframe[0].value["label"] if label]
        assert len(set(labels)) > 5
        assert labels == sorted(labels, reverse=turned)
        query = FeatureQuery(partitions=("a",), order="label", descending=turned)
        back = calm(visit(TABLE, run="demo", list=address.pack(Place(query, 0))))  # as the feature's page links back
        assert back.toggle(key="rising").value is turned
        assert back.dataframe[0].value["feature_id"].tolist() == test.dataframe[0].value["feature_id"].tolist()

    def test_a_source_it_fires_more_on_is_a_filter_that_the_list_keeps(self, finished: Path) -> None:
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

    def test_pages_are_cut_by_the_store(self, finished: Path) -> None:
        first = visit(TABLE, run="demo", show="only A").dataframe[0].value
        second = visit(TABLE, run="demo", show="only A", page="2").dataframe[0].value
        assert len(first) == 50
        assert len(second) == FEATURES // 5 - 1 - 50  # one of the partition is dead
        assert not set(first["feature_id"]) & set(second["feature_id"])

    def test_search_finds_contexts(self, finished: Path) -> None:
        test = calm(visit(TABLE, run="demo", search="caesar", show="only B"))
        found = test.dataframe[0].value
        assert len(found) > 0
        assert set(found["main_source"]) & {"scripture"}

    def test_nothing_found_says_so(self, finished: Path) -> None:
        test = calm(visit(TABLE, run="demo", search="no such text anywhere"))
        assert not test.dataframe
        assert "No feature passes these filters" in text(test)

    def test_another_filter_starts_at_the_first_page(self, finished: Path) -> None:
        test = visit(TABLE, run="demo", show="only A", page="2")
        test.toggle(key="rising").set_value(True).run()
        assert calm(test).session_state["page"] == 1
        assert len(test.dataframe[0].value) == 50


class TestFeature:
    @pytest.mark.parametrize("feature", [A_FEATURE, B_FEATURE, SHARED_FEATURE, HOSTILE_FEATURE, DEAD_FEATURE])
    def test_every_kind_opens_by_address(self, feature: int, finished: Path) -> None:
        test = calm(visit(FEATURE, run="demo", feature=str(feature)))
        assert f"Feature {feature} " in text(test)

    def test_contexts_by_band(self, finished: Path) -> None:
        words = text(calm(visit(FEATURE, run="demo", feature=str(A_FEATURE))))
        titles = ["Strongest contexts", "Upper quarter", "Second quarter", "Third quarter", "Weakest quarter"]
        places = [words.index(title) for title in titles]
        assert places == sorted(places)
        assert words.count('class="dfc-context dfc-a"') == 40

    def test_both_tokenisations(self, finished: Path) -> None:
        words = text(calm(visit(FEATURE, run="demo", feature=str(A_FEATURE), tokens="both")))
        assert words.count('class="dfc-context dfc-a"') == 80

    def test_hostile_text_is_escaped(self, finished: Path) -> None:
        words = text(calm(visit(FEATURE, run="demo", feature=str(HOSTILE_FEATURE), tokens="both")))
        for bait in ("<script", "<img", "onerror=alert(1)>", "<h1>owned"):
            assert bait not in words

    def test_dead_feature_says_so(self, finished: Path) -> None:
        test = calm(visit(FEATURE, run="demo", feature=str(DEAD_FEATURE)))
        assert "This feature is dead" in test.info[0].value

    def test_next_goes_on_by_number(self, finished: Path) -> None:
        test = visit(FEATURE, run="demo", feature=str(A_FEATURE))
        test.button(key="next").click().run()
        assert parameter(calm(test), "feature") == str(A_FEATURE + 1)
        test.button(key="previous").click().run()
        assert parameter(test, "feature") == str(A_FEATURE)
        assert test.button(key="previous").disabled

    def test_next_follows_the_list_it_came_from(self, finished: Path) -> None:
        order = visit(TABLE, run="demo", show="only B", order="density").dataframe[0].value["feature_id"].tolist()
        test = visit(FEATURE, run="demo", feature=str(order[0]), list="at=0&in=b&by=density")
        assert "1 of 59 in the list, by density" in [link.proto.label for link in test.get("page_link")]
        test.button(key="next").click().run()
        test.button(key="next").click().run()
        assert parameter(calm(test), "feature") == str(order[2])

    @pytest.mark.parametrize("list_", ["", "nonsense", "at=x&in=a", "at=-1&in=a", "at=1&in=q", "at=1&in=a&by=drop"])
    def test_a_list_that_makes_no_sense_is_ignored(self, list_: str, finished: Path) -> None:
        test = calm(visit(FEATURE, run="demo", feature="3", list=list_))
        assert "by number, in its partition" in text(test)

    def test_without_a_feature_offers_some(self, finished: Path) -> None:
        test = calm(visit(FEATURE, run="demo"))
        assert len([link for link in test.get("page_link") if link.proto.label.startswith("Feature ")]) == 10
        test.number_input(key="jump").set_value(7).run()
        assert parameter(test, "feature") == "7"

    @pytest.mark.parametrize(
        ("feature", "sentence"),
        [
            ("99999", "Feature 99999 does not exist in this run; its features are 0 to 299."),
            ("-1", "The address asks for the feature “-1”; a feature is a whole number from 0 to 2,147,483,647."),
            ("<b>x", "The address asks for the feature “<b>x”; a feature is a whole number from 0 to 2,147,483,647."),
            (str(address.LARGEST), "Feature 2147483647 does not exist in this run; its features are 0 to 299."),
        ],
    )
    def test_wrong_feature_is_one_sentence(self, feature: str, sentence: str, finished: Path) -> None:
        test = visit(FEATURE, run="demo", feature=feature)
        assert not test.exception
        assert [error.value for error in test.error] == [plain(sentence)]


class TestDecoderNorms:
    def test_dead_features_can_be_shown(self, finished: Path) -> None:
        test = calm(visit(NORMS, run="demo", alive="false"))
        assert test.toggle(key="alive").value is False
        assert len(test.get("plotly_chart")) == 2

    def test_a_selection_in_the_address_is_drawn_listed_and_read_through(self, finished: Path) -> None:
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

    def test_a_selection_goes_to_the_table_as_what_is_chosen(self, finished: Path) -> None:
        test = visit(NORMS, run="demo", region=f"norms~f{A_FEATURE}_{B_FEATURE}")
        test.button(key="choose_region").click().run()
        assert test.toggle(key="select").value is True
        assert "<b>2</b>" in text(calm(test))

    @pytest.mark.parametrize("region", ["nonsense", "norms~1_2", "cosine~0_1_0_1"])
    def test_a_selection_that_makes_no_sense_is_none(self, region: str, finished: Path) -> None:
        assert "Nothing is selected" in text(calm(visit(NORMS, run="demo", region=region)))


def test_pages_load_without_torch() -> None:
    code = (
        "import sys, dfc.ui.overview, dfc.ui.feature_view, dfc.ui.norms_view, dfc.ui.exclusive_view, dfc.ui.steer_view"
        ", dfc.ui.prompt_view, dfc.ui.runs_view"
    )
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\nprint(sorted({{'torch', 'transformers', 'nnsight'}} & set(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def judge(path: Path) -> None:
    """Evidence for every feature of a store; the first of each partition is exclusive."""
    table = Store(path).norms()
    size = len(table)
    first = table.groupby("partition")["feature_id"].min().to_dict()
    verdicts = ["exclusive" if row.feature_id == first[row.partition] else "unclear" for row in table.itertuples()]
    none = pa.nulls(size, pa.float32())
    with StoreUpdate(path) as writer:
        writer.replace(
            "evidence",
            pa.table(
                {
                    "feature_id": table["feature_id"].to_numpy(),
                    "held_out_count": [50] * size,
                    "documents": [40] * size,
                    **{f"probe_r2_{side}": [value] * size for side, value in (("a", 0.41), ("b", 0.07))},
                    **{f"auroc_{side}": [0.9] * size for side in "ab"},
                    "probe_ratio": [0.17] * size,
                    "mirror_id": [int(first["b"])] * size,
                    "mirror_correlation": [0.12] * size,
                    "shared_id": pa.nulls(size, pa.int32()),
                    **dict.fromkeys(("shared_correlation", "decoder_cosine", "nu_epsilon", "nu_r"), none),
                    "verdict": verdicts,
                    "confidence": [0.9 if verdict == "exclusive" else 0.1 for verdict in verdicts],
                }
            ),
        )


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


def test_evidence_is_shown_once_it_is_there(data: Path) -> None:
    run = make_run(data)
    assert "python -m dfc verify demo" in text(calm(visit("app.py", run="demo")))
    assert "python -m dfc verify demo" in text(calm(visit("pages/2_Feature.py", run="demo", feature="0")))
    judge(run.store)
    page = text(calm(visit("pages/2_Feature.py", run="demo", feature="0")))
    assert "<b>exclusive</b>&ensp;confidence 0.90" in page
    assert "R² 0.41" in page
    overview = text(calm(visit("app.py", run="demo")))
    assert "What the evidence says" in overview
    assert "that the evidence calls exclusive, the surest first" in overview
    assert "As exclusive stand 1 of 60 in" in overview
    assert overview.count("<b>exclusive</b>&ensp;confidence 0.90") == 2
    assert "<td>1</td><td>0</td><td>0</td><td>59</td><td>0</td>" in overview
    assert "null run, dedicated" not in overview
    assert "python -m dfc null demo" in overview
    (run.path / "null.json").write_text(
        '{"dedicated": 400, "exclusive": 2, "verdicts": {"a": {"exclusive": 2}, "b": {"unclear": 7}, "shared": {}}}'
    )
    overview = text(calm(visit("app.py", run="demo")))
    assert "2 of 400 dedicated features (0.500 %) came out exclusive" in overview
    assert "judged by probes and correlations alone" in overview
    assert "null run, dedicated</td><td>2</td><td>0</td><td>0</td><td>7</td><td>0</td>" in overview
