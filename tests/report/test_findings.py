"""Findings in words."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dfc.config import Partition
from dfc.report import findings, tables
from dfc.report.card import feature_card_html
from dfc.report.document import Chosen, report_html
from dfc.report.heatmap import called
from dfc.runs import Run
from dfc.store.contexts import Context
from dfc.store.notes import Notebook
from dfc.store.reader import Store
from tests.report.test_card import Page
from tests.ui.folders import FOUND, find, judge, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with findings; nobody writes to it."""
    made = make_run(tmp_path_factory.mktemp("findings"))
    find(made.store)
    return made


@pytest.fixture
def store(run: Run) -> Store:
    return Store(run.store)


def test_findings_are_ranked_within_their_model(store: Store) -> None:
    found = findings.of(store)
    assert [(one.finding, one.side, one.rank) for one in found[:4]] == [
        (0, "a", 1),
        (1, "b", 1),
        (2, "a", 2),
        (3, "a", 3),
    ]
    assert [(one.feature_id, one.members) for one in found] == [(of[0], len(of)) for _, of in FOUND.values()]
    assert [one.partition for one in found[:4]] == ["shared", "b", "a", "shared"]
    assert (found[0].held_out_gap, found[1].held_out_gap) == (pytest.approx(0.30), None)
    assert store.tested() == 299


def test_before_verify_and_without_surprise_there_are_none(data: Path) -> None:
    made = make_run(data)
    assert (findings.of(Store(made.store)), Store(made.store).tested()) == ((), 0)
    judge(made.store)
    assert (findings.of(Store(made.store)), Store(made.store).tested()) == ((), 0)


@pytest.mark.parametrize(
    ("side", "partition", "plain", "words"),
    [
        ("a", "shared", 0.3, "both may use it: A expects what follows better than B, by more than in like texts"),
        ("b", "shared", -0.3, "both may use it: B falls behind A by less than in like texts"),
        ("a", "a", 0.1, "only A may use it: A does better than in like texts; which of the two expects it better is"),
        ("b", "a", 0.3, "only A may use it, and yet: B expects what follows better than A"),
    ],
)
def test_what_is_claimed(
    store: Store, side: findings.Side, partition: findings.Partition, plain: float, words: str
) -> None:
    one = replace(findings.of(store)[0], side=side, partition=partition, plain_gap=plain, plain_error=0.1)
    assert findings.claim(one).startswith(words)


@pytest.mark.parametrize(("effective", "words"), [(60.0, "100 documents"), (6.9, "100 documents that count as 7")])
def test_documents_that_weigh_unevenly_are_said_to(store: Store, effective: float, words: str) -> None:
    assert findings.spread(replace(findings.of(store)[0], documents=100, effective=effective)) == words


@pytest.mark.parametrize(
    ("gap", "error", "shown"), [(0.1234, 0.01, "0.123 ± 0.010"), (0.1234, None, "0.123"), (None, None, "–")]
)
def test_a_gap_with_its_error(gap: float | None, error: float | None, shown: str) -> None:
    assert findings.amount(gap, error) == shown


def test_they_are_counted_by_source(store: Store) -> None:
    one = findings.of(store)[0]
    sources = ["web"] * 3 + ["code"] * 2 + ["news", "zh", "chats"]
    assert findings.counts([replace(one, main_source=source) for source in sources]) == (
        f"8 findings, all peaking on {one.writing}; densest on web (3), code (2), news (1), 2 other sources (2)"
    )
    assert findings.counts([one]) == f"1 finding, peaking on {one.writing}; densest on {one.main_source} (1)"
    assert findings.counts([]) == "no finding"


def test_by_which_rule_they_were_found() -> None:
    asked = {"false_discovery": 0.05, "surprise_gap": 0.04, "finding_documents": 5}
    assert findings.settings({"evidence": asked}, 1_200) == (
        "1,200 features whose firing is spread over 5 documents' worth were tested, each for a gap of more than 0.04 "
        "nats a character in favour of either model; of those that pass, at most 5 % are expected to do so by chance "
        "(false discovery rate)."
    )
    assert findings.settings({}, 3) == "3 features were tested."


@pytest.mark.parametrize(
    ("facts", "tested", "words"),
    [
        ({}, 0, "Not judged yet: `python -m dfc verify demo`"),
        (
            {"verified": True, "rule": "surprise", "evidence": {"false_discovery": 0.1}},
            7,
            "7 features were tested, and none",
        ),
        ({"verified": True, "rule": "probes"}, 0, "judged without the models' surprise"),
        ({"verified": True, "rule": "probes", "evidence": {"surprise_pairs": 0}}, 0, "`evidence.surprise_pairs` is 0"),
        ({"verified": True, "rule": "surprise", "outdated": True}, 7, "An earlier version of dfc made this run's"),
        ({"stale": True}, 0, "of another training's features and left out: `python -m dfc verify demo`"),
        ({"verified": True, "rule": "surprise", "evidence": {"false_discovery": 0.1}}, 0, "no feature fires in enough"),
    ],
)
def test_why_there_are_none(facts: dict[str, object], tested: int, words: str) -> None:
    assert words in findings.lacking(facts, tested, "demo")


def test_a_context_is_quoted_on_one_line_with_its_peak() -> None:
    a, b = ["a\n", " old", "", " b\x1b"], ["a\n old", " b\x1b"]
    context = Context(0, 0, 0, 1, "web", 2.0, a, b, [0.0, 2.0, 0.0, 0.0], [2.0, 0.0], 1, 0, "text", 0, 8)
    assert findings.quoted(context, "a") == "a↵ [old] b‹U+001B›"
    assert findings.quoted(context, "b") == "[a↵ old] b‹U+001B›"


def test_lines_of_the_command_line(store: Store) -> None:
    first, second, *_ = findings.of(store)
    assert findings.lines(first, "here") == [
        "0.300 ± 0.010 nats a character beyond matched places; held out 0.300 ± 0.020; plainly 0.600 ± 0.030",
        "both may use it: A expects what follows better than B, by more than in like texts",
        f"feature 150, 3 features, 1,000 documents that count as 300, densest on {first.main_source}",
        "here",
    ]
    assert findings.lines(second, None) == [
        "0.290 ± 0.010 nats a character beyond matched places; held out –; plainly 0.580 ± 0.030",
        "only B may use it: B expects what follows better than A, by more than in like texts (evidence: exclusive)",
        f"feature 60, 1 feature, 1,001 documents that count as 300, densest on {second.main_source}",
    ]
    assert called("") == called(None) == "no label"
    assert called("a\x1b[31m") == "a‹U+001B›[31m"


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (
            0,
            "this is number 2 of its 3 features. By 0.299 ± 0.010 nats a character beyond matched places (0.299",
        ),
        (60, "Finding 1 of 1 where Bee does better than in like texts; this is its only feature. By 0.290"),
        (61, "Finding 2 of 12 where Ay does better than in like texts; this is number 2 of its 2 features. By 0.279"),
        (2, ""),
    ],
)
def test_to_which_one_a_feature_belongs(feature: int, words: str, store: Store) -> None:
    evidence = store.evidence(feature)
    assert evidence is not None
    told = findings.belonging(evidence, findings.of(store), {"a": "Ay", "b": "Bee"})
    assert words in told
    assert bool(told) is bool(words)


def test_they_are_a_table(store: Store) -> None:
    table = pd.read_csv(io.BytesIO(tables.csv(findings.frame(findings.of(store)))))
    assert table["feature_id"].tolist() == [of[0] for _, of in FOUND.values()]
    assert table["side"].tolist().count("a") == 12
    assert findings.frame([]).columns.tolist() == table.columns.tolist()


@pytest.mark.parametrize(
    ("feature", "tile"), [(150, "A does better"), (60, "B does better"), (61, "A does better"), (2, "")]
)
def test_a_card_says_which_model_knows_better_where_it_is_sure(feature: int, tile: str, store: Store) -> None:
    words = Page(feature_card_html(store, feature, "demo")).text
    assert tile in words
    assert ("does better" in words) is bool(tile)


@pytest.mark.parametrize(
    ("partition", "gap", "plain", "knows", "title"),
    [
        ("a", 0.2, 0.3, "a", "A does better"),
        ("a", 0.2, 0.01, "a", "A does better"),
        ("a", 0.2, -0.3, "a", "A falls behind by less"),
        ("a", -0.2, -0.3, "", "B does better"),
        ("b", -0.2, 0.3, "", "A falls behind by less"),
        ("shared", -0.2, -0.3, "b", "B does better"),
        ("shared", -0.2, 0.3, "b", "B falls behind by less"),
        ("shared", 0.2, 0.3, "", ""),
        ("a", 0.01, 0.3, "a", ""),
    ],
)
def test_in_whose_favour_a_gap_speaks(
    partition: Partition, gap: float, plain: float, knows: str, title: str, store: Store
) -> None:
    """Gaps are kept as of one model; both turn with it."""
    known = store.evidence(60)
    assert known is not None
    figures = {"matched_gap": gap, "matched_error": 0.01, "plain_gap": plain, "plain_error": 0.01}
    found = findings.favour(replace(known, values={**known.values, **figures, "knows": knows or None}), partition)
    assert ("" if found is None else found.title) == title


def test_a_model_that_falls_behind_is_said_to_wherever_its_finding_is(store: Store) -> None:
    found = [replace(one, plain_gap=-1.0) for one in findings.of(store)]
    evidence = store.evidence(60)
    assert evidence is not None
    told = findings.belonging(evidence, found, {"a": "Ay", "b": "Bee"})
    assert "where Bee does better than in like texts, though it falls behind Ay there, too; this is" in told


def test_a_report_has_the_gap_beyond_matched_places_first_and_the_finding(run: Run, tmp_path: Path) -> None:
    html = report_html(run, Chosen("Findings", (150,)), Notebook(tmp_path / "notes.duckdb"), None)
    assert (
        "Finding 1 of 12 where SmolLM2-135M-Instruct does better than in like texts; this is the best of its 3" in html
    )
    assert html.index("<b>0.300 ± 0.010</b>") < html.index("<b>0.600 ± 0.030</b>")


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["国", " the", "新"], "Chinese characters"),
        ([" the", "é", "国"], "Latin letters"),
        (["я", "(", "д"], "Cyrillic letters"),
        (["(", "1", " "], "signs or digits"),
        ([], "nothing"),
    ],
)
def test_the_writing_of_most_peak_tokens(tokens: list[str], words: str) -> None:
    assert findings.writing(tokens) == words


def test_findings_stand_by_source_in_the_order_of_the_first_of_each(store: Store) -> None:
    one = findings.of(store)[0]
    listed = [replace(one, rank=rank, main_source=source) for rank, source in enumerate("zazb", 1)]
    groups = [(source, [member.rank for member in group]) for source, group in findings.by_source(listed)]
    assert groups == [("z", [1, 3]), ("a", [2]), ("b", [4])]


def test_the_card_states_the_verdict_the_score_and_a_caveat_no_more_than_the_evidence(store: Store) -> None:
    text = Page(feature_card_html(store, 60, "demo")).text
    assert "exclusive\u2002evidence score 0.90 of 1" in text
    assert "May act only in model B, by the dictionary's design." in text
    assert "is 0.290 ± 0.010 nats a character more surprised after it than" in text
    assert "no part in this feature" not in text
    assert "nly in model A" in Page(feature_card_html(store, 1, "demo")).text
    assert "unclear\u2002evidence score" in Page(feature_card_html(store, 1, "demo")).text


def test_the_report_s_pairs_are_those_of_its_sources(run: Run, tmp_path: Path) -> None:
    html = report_html(run, Chosen("Some", (0, 60)), Notebook(tmp_path / "none.duckdb"), None)
    text = Page(html).text
    facts = Store(run.store).facts()
    kept = sum(facts["source_pairs"].values())
    assert facts["kept_pairs"] == kept != facts["pairs"]
    assert f"{kept:,} pairs of tokens were kept of {facts['pairs']:,}" in text
    order = ["In this report", "What was compared", "What the evidence says", "Strongest contexts", "In numbers"]
    assert sorted(order, key=text.index) == order
