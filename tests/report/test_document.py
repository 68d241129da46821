from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest

from dfc.config import UserError
from dfc.report import document, steered
from dfc.report.card import feature_card_html
from dfc.report.document import Chosen, of_features, of_list, report_html
from dfc.report.heatmap import called
from dfc.runs import Run
from dfc.store import attached
from dfc.store.explanations import ExplanationStore
from dfc.store.notes import Notebook
from dfc.store.reader import FeatureQuery, Store
from dfc.store.steering import SteeringStore
from dfc.worlds.null_result import NullResult
from tests.report.test_card import Page
from tests.ui.folders import (
    A_FEATURE,
    B_FEATURE,
    DEAD_FEATURE,
    FEATURES,
    HOSTILE_FEATURE,
    SHARED_FEATURE,
    find,
    judge,
    make_run,
)

BAIT = "<img src=x onerror=alert(1)> {{ 7 * 7 }} 党"
KINDS = (A_FEATURE, HOSTILE_FEATURE, DEAD_FEATURE, B_FEATURE, SHARED_FEATURE)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A judged run; nobody writes to it."""
    made = make_run(tmp_path_factory.mktemp("report"))
    judge(made.store)
    return made


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path / "notes.duckdb")


def write(run: Run, notebook: Notebook, features: tuple[int, ...] = KINDS, null: NullResult | None = None) -> Page:
    return Page(report_html(run, Chosen("Findings", features), notebook, null))


def test_every_kind_of_feature_is_reported_in_order_and_nothing_is_loaded(run: Run, notebook: Notebook) -> None:
    html, card = (
        report_html(run, Chosen("Findings", KINDS), notebook, None),
        feature_card_html(Store(run.store), 0, "demo"),
    )
    page = Page(html)
    found = [int(number) for number in re.findall(r'<article id="f(\d+)"', html)]
    assert found == list(KINDS)
    assert not {"src", "onload", "onclick"} & page.attributes
    assert not {"script", "img", "link", "iframe"} & page.tags
    head = html[: html.index("<title>")]
    assert "default-src 'none'" in head
    assert head == card[: card.index("<title>")], "a card and a report may load as little"
    assert set(re.findall(r'href="(.)', html)) == {"#"}
    assert "url(" not in html
    whose = ("may act only in SmolLM2", "may act only in Gemma", "may act in both")
    for words in ("Strongest contexts", *whose, "This feature is dead"):
        assert words in page.text
    assert "prefers-color-scheme:dark" in html
    assert "@media print" in html


def test_the_evidence_stands_beside_other_features(run: Run, notebook: Notebook) -> None:
    null = NullResult(400, 2, {}, {"probe_ratio": {"a": [0.0, 0.1, 0.2]}})
    text = " ".join(write(run, notebook, (A_FEATURE,), null).text.split())
    assert "exclusive evidence score 0.90" in text
    assert "predicted with R² 0.41 from SmolLM2-135M-Instruct and R² 0.07 from Gemma-3-270m" in text
    assert "2 of 400 dedicated features (0.50 %) came out exclusive; in truth none is" in text
    assert "It is judged by probes and correlations alone" in text
    assert "85% of the null run" in text  # 0.17 among 0, 0.1 and 0.2
    assert "the evidence calls 1 exclusive" in text
    assert "how often the rule calls a feature exclusive by mistake was not measured" in write(run, notebook).text


def test_what_readers_said_is_told_and_escaped(run: Run, notebook: Notebook) -> None:
    marks = Store(run.store).fingerprints([A_FEATURE, B_FEATURE])
    notebook.mark("demo", {B_FEATURE: marks[B_FEATURE]}, "list", "paper & co", note=BAIT)
    notebook.mark("demo", {A_FEATURE: "an older one"}, "list", "paper & co", note="see twice")
    notebook.mark("demo", {9999: "f"}, "list", "paper & co", note="gone since")
    notebook.mark("demo", {B_FEATURE: marks[B_FEATURE]}, "tag", "politics")
    notebook.mark("demo", {B_FEATURE: marks[B_FEATURE]}, "favourite")
    notebook.write("demo", B_FEATURE, marks[B_FEATURE], f"line one\n{BAIT}")
    chosen = of_list(notebook, "demo", "paper & co")
    assert chosen.features == (B_FEATURE, A_FEATURE, 9999)
    html = report_html(run, chosen, notebook, None)
    page = Page(html)
    assert "img" not in page.tags
    assert page.text.count(BAIT) == 3  # in the contents, as the reason, in the note
    assert f"★ Feature {B_FEATURE}" in page.text
    assert "politics" in page.text
    assert page.text.count("earlier version of the feature") == 1
    assert "Feature 9999: gone since" in page.text


def test_what_people_call_a_feature_is_told_with_their_names_and_escaped(tmp_path: Path, notebook: Notebook) -> None:
    made = make_run(tmp_path)
    store = Store(made.store)
    said = ExplanationStore(attached.explanations_path(store.path))
    print_ = store.feature(A_FEATURE).fingerprint
    said.label(A_FEATURE, print_, "Ann", f"news {BAIT}")
    said.flag(A_FEATURE, print_, "Bob", "code", applies=True)
    html = report_html(made, Chosen("Findings", (A_FEATURE, B_FEATURE)), notebook, None)
    words = " ".join(Page(html).text.split())
    assert f"news {BAIT} (Ann, " in words
    assert "flag code (Bob, " in words
    assert "<img src=x" not in html


def test_a_list_is_named_or_one_sentence_says_which_there_are(run: Run, notebook: Notebook) -> None:
    notebook.begin_list("empty")
    with pytest.raises(UserError, match="the lists are: empty"):
        of_list(notebook, "demo", "other")
    with pytest.raises(UserError, match="No feature of the run demo is on the list “empty”"):
        of_list(notebook, "demo", "empty")
    for features in ((), tuple(range(document.MOST + 1))):
        with pytest.raises(UserError, match=f"1 to {document.MOST} features"):
            report_html(run, Chosen("too many or none", features), notebook, None)


def test_features_by_number_are_those_of_the_run(run: Run) -> None:
    assert of_features(run, [B_FEATURE, A_FEATURE, B_FEATURE]).features == (B_FEATURE, A_FEATURE)
    with pytest.raises(UserError, match=f"run demo has no feature 999999, -1; its features are 0 to {FEATURES - 1}"):
        of_features(run, [A_FEATURE, 999_999, -1])


def test_before_verify_nothing_is_judged(tmp_path: Path, notebook: Notebook) -> None:
    text = write(make_run(tmp_path / "fresh"), notebook, (A_FEATURE,)).text
    assert "not judged" in text
    assert "the evidence calls" not in text


def output(strength: float, prompt: int, promoted: float) -> dict[str, object]:
    return {
        "sweep_id": "s",
        "side": "b",
        "feature_id": B_FEATURE,
        "direction": "feature" if strength else "none",
        "mode": "add",
        "strength": strength,
        "prompt_id": prompt,
        "prompt": "p",
        "text": "t",
        "tokens": ["t"],
        "kl": [0.5],
        "activation": [],
        "promoted": [promoted],
        "perplexity": None,
        "distinct_tokens": 1.0,
        "coverage": None,
        "refusal": False,
    }


def test_what_was_kept_of_steering_is_told(tmp_path: Path, notebook: Notebook) -> None:
    made = make_run(tmp_path / "steered")
    store = SteeringStore(made.path / "steering.duckdb")
    edit = {"side": "b", "feature": B_FEATURE, "mode": "add", "strength": 2.0}
    for number in range(steered.MOST_TRIALS + 2):
        answers = {"b": {"baseline": "calm", "steered": f"{BAIT}\u202e{number}"}}
        request = json.dumps({"edits": [edit, {**edit, "feature": 7}]})
        store.add_tried(f"t{number}", f"prompt {number}", request, json.dumps(answers))
    store.begin_sweep("s", "title", 4, "{}")
    store.add_outputs([output(0, 0, 0.1), output(0, 1, 0.3), output(2, 0, 0.5), output(2, 1, 0.7)])
    found = steered.kept(store, {B_FEATURE, A_FEATURE})
    assert set(found) == {B_FEATURE}
    assert len(found[B_FEATURE].trials) == steered.MOST_TRIALS
    steps = found[B_FEATURE].steps
    assert [(step.direction, step.strength, step.prompts) for step in steps] == [
        ("left alone", 0.0, 2),
        ("with the feature", 2.0, 2),
    ]
    assert [step.promoted for step in steps] == pytest.approx([0.2, 0.6])
    assert steps[0].perplexity is None
    page = write(made, notebook, (B_FEATURE, A_FEATURE))
    assert page.text.count("Steering with it") == 1
    assert f"prompt {steered.MOST_TRIALS + 1}" in page.text
    assert "‹U+202E›" in page.text
    assert "img" not in page.tags


def test_modes_of_one_feature_are_told_apart(tmp_path: Path) -> None:
    store = SteeringStore(tmp_path / "steering.duckdb")
    store.begin_sweep("s", "title", 6, "{}")
    modes = [
        {**output(strength, prompt, promoted), "mode": mode}
        for mode, promoted in (("add", 0.2), ("clamp", 0.8))
        for strength, prompt in ((0, 0), (2, 0), (2, 1))
    ]
    store.add_outputs([*modes, {**output(1, 0, 0.5), "direction": "<new>"}])
    store.begin_sweep("later", "title", 1, "{}")
    store.add_outputs([{**output(1, 0, 0.5), "sweep_id": "later", "feature_id": A_FEATURE}])
    found = steered.kept(store, {B_FEATURE, A_FEATURE})
    assert [(step.direction, step.strength, step.prompts) for step in found[B_FEATURE].steps] == [
        ("left alone", 0.0, 1),
        ("with the feature", 2.0, 2),
        ("<new>", 1.0, 1),
        ("with the feature (clamp)", 2.0, 2),
    ]
    assert [step.promoted for step in found[B_FEATURE].steps[1::2]] == pytest.approx([0.2, 0.8])
    assert [step.direction for step in found[A_FEATURE].steps] == ["with the feature"]


def test_a_report_says_what_the_app_does_of_contexts_labels_and_the_lens(run: Run, notebook: Notebook) -> None:
    store = Store(run.store)
    feature, text = store.feature(A_FEATURE), " ".join(write(run, notebook, (A_FEATURE,)).text.split())
    context = store.contexts(A_FEATURE)[0]
    assert f"{context.peak:,.2f}{context.source}document {context.document:,}" in text
    assert "Rough: 14 of 30 blocks come after it and change what it writes." in text
    assert "of 18 blocks" not in text, "nothing is said of the model in which it may not act"
    assert f"{feature.max:,.2f}, its strongest activation" in text
    card = Page(feature_card_html(store, A_FEATURE, "demo"))
    assert f"document {context.document:,}" in card.text
    assert "Rough: 14 of 30 blocks" in card.text
    unnamed = next(row.feature_id for row in store.features(FeatureQuery(limit=FEATURES)).itertuples() if not row.label)
    assert called("") in " ".join(write(run, notebook, (unnamed,)).text.split())


def test_each_count_of_documents_is_explained(tmp_path: Path, notebook: Notebook) -> None:
    made = make_run(tmp_path)
    find(made.store)
    with duckdb.connect(str(attached.evidence_path(made.store))) as connection:
        connection.execute("UPDATE evidence SET matched_documents = 12.4")
    text = " ".join(write(made, notebook, (A_FEATURE,)).text.split())
    assert "in 40 documents of the corpus; as evidence of a gap these count as 12: those alone in which" in text
