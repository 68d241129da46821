"""Links that people have kept: addresses as the app wrote them when labels stood in it, and what each opened.

A link is never taken out of this list; one that the app writes otherwise today is understood all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dfc.runs import Run
from dfc.store.notes import Notebook
from dfc.store.reader import Store
from dfc.ui.shell import data as read
from tests.ui.folders import A_FEATURE, B_FEATURE, find, judge, make_half_run, make_run
from tests.ui.pages import PAGES, ROOT, calm, text

Opened = Callable[[AppTest], bool]
BRIDGE = "the+old+bridge+and+the+river+carried+a+boat+under+the+old+bridge"


def follow(link: str) -> AppTest:
    """Open a page by a link, as a browser does."""
    path, _, query = link.partition("?")
    page = next(page for page in PAGES if page == path or page.endswith(f"_{path}.py"))
    test = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    test.run()
    test.switch_page(page)
    test.query_params = {name: values if len(values) > 1 else values[0] for name, values in parse_qs(query).items()}
    return calm(test.run())


def seen(test: AppTest, key: str) -> str | list[str]:
    """What a choice shows to be chosen, as it is read."""
    for widget in (*test.selectbox, *test.button_group):
        if widget.key == key:
            chosen = [widget.index] if hasattr(widget, "index") else widget.indices
            words = [widget.options[place] for place in chosen]
            return words if key == "in" else words[0]
    raise AssertionError(f"nothing on the page is called {key}")


def tables(test: AppTest) -> list[pd.DataFrame]:
    return [frame.value for frame in test.dataframe]


def lists(*partitions: str, by: str, rising: bool = False) -> Opened:
    """Tables of these partitions beside each other, sorted."""

    def right(test: AppTest) -> bool:
        found = tables(test)
        sorts = [table[by].is_monotonic_increasing if rising else table[by].is_monotonic_decreasing for table in found]
        return [set(table["partition"]) for table in found] == [{one} for one in partitions] and all(sorts)

    return right


def says(*words: str) -> Opened:
    """A page on which this is to be read, or stands on a link."""

    def right(test: AppTest) -> bool:
        links = " ".join(str(link.proto.label) for link in test.get("page_link"))
        return all(word in text(test) or word in links for word in words)

    return right


def features(*numbers: int) -> Opened:
    """A list of these features."""
    return says(*(f"Feature {number}" for number in numbers))


def in_two_tokenisations(test: AppTest) -> bool:
    return text(test).count('class="dfc-text"') == 2 * text(test).count('class="dfc-row"') > 0


def charts(count: int) -> Opened:
    return lambda test: len(test.get("plotly_chart")) == count


MADE: list[tuple[str, dict[str, str], Opened]] = [
    (
        "Exclusive_features?run=demo&show=only+B&order=density",
        {"show": "only B", "order": "density"},
        lists("b", by="density"),
    ),
    (
        "Exclusive_features?run=demo&show=shared&order=relative+norm&rising=true",
        {"show": "shared", "order": "relative norm"},
        lists("shared", by="relative_norm", rising=True),
    ),
    (
        "Exclusive_features?run=demo&show=side+by+side&order=number&rising=true",
        {"show": "side by side", "order": "number"},
        lists("a", "b", by="feature_id", rising=True),
    ),
    (
        "Exclusive_features?run=demo&show=only+A&order=decoder+norm+in+A&page=2&max=0.5&max=any",
        {"show": "only A", "order": "decoder norm in A"},
        lambda test: lists("a", by="norm_a")(test) and test.session_state["page"] == 2,
    ),
    (
        "Exclusive_features?run=demo&order=strongest+activation&source=code&search=def",
        {"show": "side by side", "order": "strongest activation", "source": "code"},
        lists("a", "b", by="max"),
    ),
    (
        "Exclusive_features?run=demo&list=at%3D0%26in%3Da%26by%3Dfeature_id%26up%3D1",
        {"show": "only A", "order": "number"},
        lists("a", by="feature_id", rising=True),
    ),
    ("Exclusive_features?run=demo&show=only+C&order=luck", {"show": "side by side"}, lists("a", "b", by="specificity")),
    (
        f"Feature?run=demo&feature={A_FEATURE}&tokens=both",
        {"tokens": "both"},
        lambda test: says(f"<h1>Feature {A_FEATURE} ")(test) and in_two_tokenisations(test),
    ),
    (
        f"Feature?run=demo&feature={B_FEATURE}&tokens=A&list=at%3D0%26in%3Db%26by%3Ddensity",
        {"tokens": "A"},
        says(f"<h1>Feature {B_FEATURE} ", "1 of 59 in the list, by density"),
    ),
    ("Decoder_norms?run=demo&colour=density&alive=false", {"colour": "density"}, charts(2)),
    (
        f"Decoder_norms?run=demo&region=norms~f{A_FEATURE}_{B_FEATURE}",
        {"colour": "partition"},
        lambda test: sorted(tables(test)[0]["feature_id"]) == [A_FEATURE, B_FEATURE],
    ),
    (
        f"Steer?run=demo&edits=b_{B_FEATURE}_add_4_all&more=Sweep&sweep_set=beginnings&sweep_limit=2",
        {"more": "Sweep", "sweep_set": "beginnings"},
        says("Several strengths on several prompts", f"Open feature {B_FEATURE}"),
    ),
    (
        f"Steer?run=demo&feature={A_FEATURE}&more=Sweep&sweep_set=the+prompt+above",
        {"more": "Sweep", "sweep_set": "the prompt above"},
        says("Several strengths on several prompts", f"Open feature {A_FEATURE}"),
    ),
    (f"Steer?run=demo&feature={A_FEATURE}&side=A&more=History", {"more": "History"}, says("Nothing was tried yet")),
    (
        f"Steer?run=demo&edits=a_{A_FEATURE}_ablate_2_all&more=Table+of+edits",
        {"more": "Table of edits"},
        says("A row for each edit"),
    ),
    (
        "Runs?run=demo&metric=variance+explained%2C+training&runs=demo&runs=half",
        {"metric": "variance explained, training"},
        says("The same on the batches", "half"),
    ),
    ("Runs?run=demo&metric=loss", {"metric": "loss"}, says("Squared error")),
    (
        "Lists?run=demo&kept=list%3A+for+the+report",
        {"kept": "list: for the report"},
        lambda test: features(A_FEATURE, B_FEATURE)(test) and not features(3)(test),
    ),
    ("Lists?run=demo&kept=tag%3A+party", {"kept": "tag: party"}, features(3)),
    ("Lists?run=demo&kept=notes", {"kept": "notes"}, says("nothing but weather")),
]
"""A link, what its choices show, and what it opens, on runs that are made in a moment."""

READ: list[tuple[str, dict[str, str | list[str]], Opened]] = [
    (
        f"Prompt?run=tiny&text={BRIDGE}&in=only+A&in=shared&by=activation",
        {"in": ["only A", "shared"], "by": "activation"},
        lambda test: tables(test)[0]["max"].is_monotonic_decreasing and "b" not in set(tables(test)[0]["partition"]),
    ),
    (
        f"Prompt?run=tiny&compare=true&text={BRIDGE}&text2=a+boat+on+the+river&in=shared&where=only+on+the+first"
        "&measure=average",
        {"in": ["shared"], "where": "only on the first", "measure": "average"},
        lambda test: bool((tables(test)[0]["first"] > 0).all() and (tables(test)[0]["second"] == 0).all()),
    ),
]
"""The same on a run whose models are there to read a text."""


@pytest.fixture
def made(data: Path) -> Path:
    """A finished run, an unfinished one, and what a reader said."""
    run = make_run(data)
    make_half_run(data)
    notebook, store = Notebook(data / "notes.duckdb"), Store(run.store)
    notebook.mark("demo", store.fingerprints([A_FEATURE, B_FEATURE]), "list", "for the report")
    notebook.mark("demo", store.fingerprints([3]), "tag", "party")
    notebook.write("demo", 5, f"{5:016x}", "nothing but weather")
    return data


@pytest.mark.parametrize(("link", "choices", "opened"), MADE, ids=[link for link, _, _ in MADE])
def test_a_link_opens_what_it_opened(link: str, choices: dict[str, str], opened: Opened, made: Path) -> None:
    test = follow(link)
    assert {key: seen(test, key) for key in choices} == choices
    assert opened(test)


@pytest.mark.parametrize(("link", "choices", "opened"), READ, ids=[link for link, _, _ in READ])
def test_a_link_to_a_text_opens_what_it_opened(
    link: str,
    choices: dict[str, str | list[str]],
    opened: Opened,
    tiny_run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DFC_DATA", str(tiny_run.path.parent.parent))
    test = follow(link)
    assert {key: seen(test, key) for key in choices} == choices
    assert opened(test)


def test_a_link_to_what_was_judged_opens_what_it_opened(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(make_run(data).store)
    test = follow("Exclusive_features?run=demo&show=only+A&order=knows+better+what+follows&verdict=exclusive")
    assert seen(test, "order") == "gap compared with nothing"
    assert tables(test)[0]["feature_id"].tolist() == [A_FEATURE]
    norms = read.norms
    monkeypatch.setattr(read, "norms", lambda *of: norms(*of).assign(decoder_cosine=0.5))
    test = follow("Decoder_norms?run=demo&axes=relative+norm+and+cosine&colour=verdict")
    assert (seen(test, "axes"), seen(test, "colour")) == ("relative norm and cosine", "verdict")


def test_a_link_to_findings_opens_what_it_opened(data: Path) -> None:
    find(make_run(data).store)
    test = follow("Findings?run=demo&whose=b&claim=only&sort=density")
    assert [seen(test, key) for key in ("whose", "claim", "sort")] == ["of B", "dedicated", "density"]
    assert says("Only B may use it: B expects what follows better than A, by more than in like texts.")(test)
    test = follow("Findings?run=demo&list=at%3D0%26in%3Da%2Cb%2Cshared%26dead%3D1%26up%3D1%26by%3Dplace%26finding%3D0")
    assert tables(test)[0]["feature_id"].tolist() == [150, 0, 151]


def test_a_link_to_texts_opens_what_it_opened(steerable: Run) -> None:
    test = follow(f"Steer?run=steer&feature={A_FEATURE}&prompt=The+old&max_tokens=3&colours=changed+odds")
    test.button(key="generate").click().run()
    assert seen(calm(test), "colours") == "changed odds"
