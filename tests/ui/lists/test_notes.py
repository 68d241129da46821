"""Notes, tags, favourites and lists through the pages: kept at once, filtered for, chosen many at a time."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from streamlit.testing.v1 import AppTest

from dfc.report.document import of_list, report_html
from dfc.runs import Run
from dfc.store.book import Book
from dfc.store.explanations import ExplanationStore
from dfc.store.notes import Notebook
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import address, selection
from dfc.ui.shell.address import Place
from dfc.ui.shell.notebook import Kept
from dfc.ui.shell.text import plain
from tests.ui.folders import A_FEATURE, HOSTILE_FEATURE, judge, make_run
from tests.ui.pages import FEATURE, LISTS, TABLE, calm, text, visit

SIZE = 60
B_FEATURE = SIZE // 5
BAIT = "<img src=x onerror=alert(1)> [a](b) :red[x] 党"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of one small run, judged."""
    monkeypatch.setenv("DFC_DATA", str(tmp_path))
    judge(make_run(tmp_path, features=SIZE).store)
    return tmp_path


@pytest.fixture
def notebook(data: Path) -> Notebook:
    return Notebook(data / "notes.duckdb")


def store(data: Path) -> Store:
    return Store(data / "runs" / "demo" / "features.duckdb")


def shown(test: AppTest) -> list[list[int]]:
    return [frame.value["feature_id"].tolist() for frame in calm(test).dataframe]


class TestFeaturePanel:
    def test_star_tags_lists_and_notes_are_kept_at_once(self, notebook: Notebook) -> None:
        test = visit(FEATURE, run="demo", feature=str(A_FEATURE))
        test.button(key="star").click().run()
        test.multiselect(key=f"tags_of_{A_FEATURE}").set_value(["dates"]).run()
        test.multiselect(key=f"lists_of_{A_FEATURE}").set_value(["for the report"]).run()
        test.text_input(key=f"reason_{A_FEATURE}_for the report").set_value("strong").run()
        test.text_area(key=f"new_note_{A_FEATURE}_0").set_value("Xinhua").run()
        assert [note.text for note in notebook.read().feature("demo", A_FEATURE).notes] == ["Xinhua"], (
            "kept without a button"
        )
        test.text_area(key=f"new_note_{A_FEATURE}_0").set_value("Xinhua datelines").run()
        test.button(key="keep_note").click().run()
        found = notebook.read().feature("demo", A_FEATURE)
        assert [(mark.kind, mark.name, mark.note) for mark in found.marks] == [
            ("favourite", "", ""),
            ("list", "for the report", "strong"),
            ("tag", "dates", ""),
        ]
        assert {mark.fingerprint for mark in found.marks} == {f"{A_FEATURE:016x}"}
        assert [note.text for note in found.notes] == ["Xinhua datelines"]
        assert "Xinhua datelines" in text(calm(test))
        assert test.text_area(key=f"new_note_{A_FEATURE}_1").value == ""
        test.button(key="star").click().run()
        test.multiselect(key=f"tags_of_{A_FEATURE}").set_value([]).run()
        test.button(key=f"erase_{found.notes[0].written}").click().run()
        found = notebook.read().feature("demo", A_FEATURE)
        assert [mark.kind for mark in found.marks] == ["list"]
        assert found.notes == ()
        calm(test)

    def test_what_cannot_be_kept_is_one_sentence(self, notebook: Notebook) -> None:
        test = visit(FEATURE, run="demo", feature=str(A_FEATURE))
        test.button(key="keep_note").click().run()
        assert [error.value for error in test.error] == [plain("The note is empty; write something.")]
        assert not test.exception

    def test_a_note_that_is_emptied_while_it_is_written_goes(self, notebook: Notebook) -> None:
        test = visit(FEATURE, run="demo", feature=str(A_FEATURE))
        for typed, kept in (("a thought", 1), ("  ", 0), ("another", 1)):
            test.text_area(key=f"new_note_{A_FEATURE}_0").set_value(typed).run()
            assert len(notebook.read().feature("demo", A_FEATURE).notes) == kept
        calm(test)

    def test_another_version_is_flagged_until_it_is_confirmed(self, notebook: Notebook) -> None:
        notebook.write("demo", A_FEATURE, "old", "said before")
        notebook.mark("demo", {A_FEATURE: "old"}, "tag", "dates")
        test = calm(visit(FEATURE, run="demo", feature=str(A_FEATURE)))
        assert text(test).count("earlier version") >= 2
        test.button(key="confirm").click().run()
        found = notebook.read().feature("demo", A_FEATURE)
        assert [mark.fingerprint for mark in found.marks] == [f"{A_FEATURE:016x}"]
        assert not [button for button in calm(test).button if button.key == "confirm"]
        assert "earlier version" in text(test)  # the note's, for good

    def test_hostile_text_is_escaped(self, notebook: Notebook) -> None:
        notebook.write("demo", A_FEATURE, "f", BAIT)
        notebook.mark("demo", {A_FEATURE: "f"}, "list", BAIT, note=BAIT)
        for page in (FEATURE, LISTS):
            test = calm(visit(page, run="demo", feature=str(A_FEATURE), kept="notes"))
            assert "<img" not in text(test)
            assert "&lt;img" in text(test)
        assert "<img" not in text(calm(visit(LISTS, run="demo", kept=f"list: {BAIT}")))


class TestLists:
    def test_nothing_yet_says_how_to_begin(self, data: Path) -> None:
        assert "Nothing is marked in this run yet" in text(calm(visit(LISTS, run="demo")))

    def test_a_list_is_begun_filled_explained_and_deleted(self, data: Path, notebook: Notebook) -> None:
        test = visit(LISTS, run="demo")
        test.text_input(key="new_list").set_value("for the  report").run()
        test.button(key="begin").click().run()
        assert notebook.read().list_names == ("for the report",)
        kept = calm(test).selectbox(key="kept")
        assert kept.options[kept.index] == "list: for the report"
        notebook.mark("demo", store(data).fingerprints([A_FEATURE, B_FEATURE]), "list", "for the report")
        notebook.mark("demo", {999: "f"}, "list", "for the report", note="gone since")
        test = calm(visit(LISTS, run="demo", kept="list: for the report"))
        links = [link.proto.label for link in test.get("page_link")]
        assert {f"Feature {A_FEATURE}", "open in the table"} <= set(links)
        assert "Feature 999 is no longer in this run: gone since" in text(test)
        test.text_input(key=f"note_for the report_{A_FEATURE}").set_value("strong").run()
        assert [mark.note for mark in notebook.read().feature("demo", A_FEATURE).marks] == ["strong"]
        test.button(key="off_999").click().run()
        assert len(notebook.read().of("demo").marks) == 2
        test.text_input(key="name_for the report").set_value("for the paper").run()
        test.button(key="rename").click().run()
        kept = calm(test).selectbox(key="kept")
        assert kept.options[kept.index] == "list: for the paper"
        test.checkbox(key="sure").set_value(True).run()
        test.button(key="delete").click().run()
        calm(test)
        assert notebook.read().list_names == ()

    def test_a_list_is_put_in_order_and_described_for_its_report(self, data: Path, notebook: Notebook) -> None:
        notebook.mark("demo", store(data).fingerprints([A_FEATURE]), "list", "for the report")
        notebook.mark("demo", store(data).fingerprints([3]), "list", "for the report")
        test = calm(visit(LISTS, run="demo"))
        assert test.query_params["kept"] in ("list:for the report", ["list:for the report"])
        assert test.button(key=f"up_{A_FEATURE}").disabled
        assert test.button(key="down_3").disabled
        test.button(key="up_3").click().run()
        assert [one.feature_id for one in notebook.read().of("demo").marks] == [3, A_FEATURE]
        listed = [link.proto.label for link in calm(test).get("page_link") if link.proto.label.startswith("Feature ")]
        assert listed == ["Feature 3", f"Feature {A_FEATURE}"]
        link = next(link.proto for link in test.get("page_link") if link.proto.label == "Feature 3")
        packed = unquote(link.query_string).split("list=")[1]
        first = calm(visit(FEATURE, run="demo", feature="3", list=unquote(packed)))
        first.button(key="next").click().run()
        assert f"Feature {A_FEATURE} " in text(calm(first)), "in the order of the list"
        [back] = [one.proto for one in first.get("page_link") if one.proto.label == "2 of 2 in the list"]
        assert back.query_string == "run=demo&kept=list%3Afor+the+report"
        test.text_input(key="title_for the report").set_value("Three differences").run()
        test.text_area(key="summary_for the report").set_value("What B <b>knows</b>.").run()
        test.toggle(key="pick_3").set_value(True).run()
        second = store(data).contexts(3)[1]
        test.multiselect(key="contexts_for the report_3").set_value([second.number]).run()
        assert "1 chosen" in calm(test).toggle(key="pick_3").label
        run = Run(data / "runs" / "demo")
        html = report_html(run, of_list(notebook, "demo", "for the report"), notebook, None)
        assert "<h1>Three differences</h1>" in html
        assert "What B &lt;b&gt;knows&lt;/b&gt;." in html
        assert html.index('id="f3"') < html.index(f'id="f{A_FEATURE}"')
        assert "Contexts, 1 chosen of 40" in html

    def test_a_favourite_shows_its_last_note(self, data: Path, notebook: Notebook) -> None:
        [(_, version)] = fingerprints = store(data).fingerprints([A_FEATURE]).items()
        notebook.mark("demo", dict(fingerprints), "favourite")
        for words in ("what it was", "what it is <b>now</b>"):
            notebook.write("demo", A_FEATURE, version, words)
        test = calm(visit(LISTS, run="demo", kept="favourites"))
        assert "what it is &lt;b&gt;now&lt;/b&gt;" in text(test)
        assert "what it was" not in text(test)
        assert "1 older note on its page." in [caption.value for caption in test.caption]

    def test_notes_of_the_run_the_latest_first(self, notebook: Notebook) -> None:
        for number in range(25):
            notebook.write("demo", number, f"{number:016x}", f"said of {number}")
        notebook.write("other", 1, "f", "elsewhere")
        words = text(calm(visit(LISTS, run="demo", kept="notes")))
        assert words.index("said of 24") < words.index("said of 5<")
        assert "said of 4<" not in words
        assert "other (1)" in words
        assert "said of 4<" in text(calm(visit(LISTS, run="demo", kept="notes", page="2")))

    def test_decisions_of_the_run_the_last_of_each_person(self, notebook: Notebook) -> None:
        notebook.decide("demo", 3, f"{3:016x}", "Ada", "unreadable", "")
        notebook.decide("demo", 3, f"{3:016x}", "Ada", "finding", "Party prose <b>")
        notebook.decide("demo", 3, "of before", "Ben", "later", "")
        notebook.decide("other", 3, f"{3:016x}", "Ada", "finding", "elsewhere")
        test = calm(visit(LISTS, run="demo", kept="decisions"))
        words = text(test)
        assert "A finding, says Ada" in words
        assert "Party prose &lt;b&gt;" in words
        assert "ot readable, says" not in words
        assert words.count('<div class="dfc-said">') == 2
        assert words.count("earlier version") == 1
        assert "elsewhere" not in words
        assert "decisions" in test.selectbox(key="kept").options

    @pytest.mark.parametrize("page", [LISTS, TABLE, FEATURE])
    def test_a_damaged_notebook_costs_the_notes_alone(self, page: str, data: Path) -> None:
        (data / "notes.duckdb").write_bytes(b"no database" * 1_000)
        test = visit(page, run="demo", feature=str(A_FEATURE))
        assert not test.exception
        [error] = test.error
        assert "is not a readable notebook" in error.value
        if page == TABLE:
            assert len(test.dataframe) == 2


class TestFilters:
    def test_the_surest_come_first_once_judged(self, data: Path) -> None:
        for ids, first in zip(shown(visit(TABLE, run="demo")), (A_FEATURE, SIZE // 5), strict=True):
            assert ids[0] == first

    def test_verdict_confidence_and_label(self, data: Path) -> None:
        assert shown(visit(TABLE, run="demo", show="only A", verdict="exclusive")) == [[A_FEATURE]]
        narrow = visit(TABLE, run="demo", show="only A", confidence=["0.5", "1"])
        assert shown(narrow) == [[A_FEATURE]]
        narrow.button(key="clear").click().run()
        assert len(shown(narrow)[0]) == SIZE // 5 - 1
        label = store(data).feature(HOSTILE_FEATURE).label
        assert HOSTILE_FEATURE in shown(visit(TABLE, run="demo", show="only A", label=label))[0]

    def test_marks(self, data: Path, notebook: Notebook) -> None:
        notebook.mark("demo", store(data).fingerprints([1, 2, 3]), "favourite")
        notebook.mark("demo", store(data).fingerprints([2, 3, 4]), "tag", "dates")
        notebook.mark("demo", store(data).fingerprints([3, 4, 5]), "list", "for the report")
        notebook.write("demo", 3, "f", "noted")
        only_a = {"run": "demo", "show": "only A", "order": "number", "rising": "true"}
        for asked, expected in (
            ({"starred": "true"}, [1, 2, 3]),
            ({"tag": "dates"}, [2, 3, 4]),
            ({"tag": "dates", "starred": "true"}, [2, 3]),
            ({"on": "for the report"}, [3, 4, 5]),
            ({"noted": "true"}, [3]),
        ):
            test = visit(TABLE, **only_a, **asked)
            assert shown(test) == [expected]
        assert calm(visit(TABLE, **only_a)).dataframe[0].value["marks"].tolist()[:5] == [
            "", "★", "★ dates", "★ dates", "dates",
        ]  # fmt: skip

    def test_a_list_of_marked_features_is_read_in_order(self, data: Path, notebook: Notebook) -> None:
        notebook.mark("demo", store(data).fingerprints([2, 5, 7]), "tag", "dates")
        test = visit(TABLE, run="demo", show="only A", order="number", rising="true", tag="dates")
        test.button(key="read").click().run()
        assert "Feature 2 " in text(calm(test))
        query = FeatureQuery(partitions=("a",), order="feature_id", descending=False)
        place = address.pack(Place(query, 0, kept=Kept(tag="dates")))
        test = visit(FEATURE, run="demo", feature="2", list=place)
        test.button(key="next").click().run()
        test.button(key="next").click().run()
        assert "Feature 7 " in text(calm(test))
        assert test.button(key="next").disabled


class TestSelection:
    def test_many_are_marked_at_once(self, notebook: Notebook) -> None:
        notebook.mark("other", {1: "f"}, "tag", "dates")
        notebook.begin_list("for the report")
        test = visit(TABLE, run="demo", show="only A", select="true")
        assert test.button(key="mark_favourite").disabled
        test.button(key="choose_all").click().run()
        size = SIZE // 5 - 1
        assert len(selection_of(test)) == size
        test.button(key="mark_favourite").click().run()
        test.selectbox(key="name_of_tag").set_value("dates").run()
        test.button(key="add_tag").click().run()
        test.selectbox(key="name_of_list").set_value("for the report").run()
        test.button(key="add_list").click().run()
        calm(test)
        marks = notebook.read().of("demo").marks
        assert Counter(mark.kind for mark in marks) == {"favourite": size, "tag": size, "list": size}
        test.button(key="choose_none").click().run()
        assert selection_of(test) == set()
        assert test.button(key="mark_favourite").disabled

    def test_a_name_is_asked_for(self, notebook: Notebook) -> None:
        test = visit(TABLE, run="demo", show="only A", select="true")
        test.button(key="choose_all").click().run()
        test.button(key="add_tag").click().run()
        assert [error.value for error in test.error] == [plain("The name is empty; type one.")]

    def test_what_is_ticked_on_other_pages_stays(self, data: Path) -> None:
        def page() -> None:
            import streamlit as st

            from dfc.ui.shell import selection

            selection.take("demo", [1, 2, 3], [2])
            selection.take("demo", [4, 5], [4, 5])
            selection.take("demo", [1, 2, 3], [1])
            st.text(str(sorted(selection.chosen("demo"))))

        assert AppTest.from_function(page).run().text[0].value == "[1, 4, 5]"

    def test_csv_has_figures_marks_and_no_formulas(self, data: Path, notebook: Notebook) -> None:
        notebook.mark("demo", {3: "f"}, "favourite")
        notebook.mark("demo", {3: "f", 4: "f"}, "tag", "=1+1")
        content = selection.table(store(data), "demo", [3, 4, 9]).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(content)))
        assert [row["feature_id"] for row in rows] == ["3", "4", "9"]
        assert [row["favourite"] for row in rows] == ["True", "False", "False"]
        assert [row["tags"] for row in rows] == ["'=1+1", "'=1+1", ""]
        assert float(rows[0]["confidence"]) == pytest.approx(0.1)


def selection_of(test: AppTest) -> set[int]:
    return set(calm(test).session_state["chosen_features"]["demo"])


def test_what_people_call_features_leaves_with_the_export_and_comes_back(data: Path) -> None:
    run = Run(data / "runs" / "demo")
    ExplanationStore(run.explanations).label(3, f"{3:016x}", "Ada", "datelines")
    calm(visit(LISTS, run="demo"))
    [label] = Book.model_validate_json(Notebook(data / "notes.duckdb").export()).labels
    assert (label.run, label.who, label.text) == ("demo", "Ada", "datelines")
    run.explanations.unlink()
    assert Store(run.store).feature(3).label != "datelines"
    calm(visit(LISTS, run="demo"))
    assert Store(run.store).feature(3).label == "datelines"
    run.explanations.write_bytes(b"no database" * 100)
    assert str(run.explanations) in text(visit(LISTS, run="demo")).replace("\\", "")
