from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb

from dfc.store import attached
from tests.stores import make_older, make_store
from tests.ui.folders import find, judge, make_run
from tests.ui.pages import FEATURE, FINDINGS, OVERVIEW, RUNS, TABLE, calm, text, visit


def test_ten_findings_for_each_model_with_their_contexts(finished: Path) -> None:
    test = calm(visit(OVERVIEW, run="demo"))
    links = [link.proto for link in test.get("page_link") if link.proto.label.startswith("Feature ")]
    assert len(links) == 20
    assert len([body for body in text(test).split("\n") if 'class="dfc-context dfc-a"' in body]) == 10
    assert len([body for body in text(test).split("\n") if 'class="dfc-context dfc-b"' in body]) == 10


def test_health_figures(finished: Path) -> None:
    test = calm(visit(OVERVIEW, run="demo"))
    figures = {metric.label: metric.value for metric in test.metric}
    assert figures["Explained, A"] == "69.5 %"
    assert figures["Explained, B"] == "69.8 %"
    assert figures["Active at once"] == "32.0"
    assert figures["Token pairs"] == "166,000"
    assert all(metric.help for metric in test.metric)


def test_what_was_not_read_as_it_stands_is_said(data: Path) -> None:
    run = make_run(data)
    source = run.config().corpus.sources[0].name
    tally = {"rows": {"bad row": 3}, "first": {"bad row": "a.jsonl:7"}, "found": {"bad row": "role `<b>`"}}
    framed = {"rows": {"framed": 2}, "first": {"framed": "document 4 of `x`"}, "found": {}}
    remarks = {"left_out": {source: tally}, "noted": {}, "models": {"b": framed}}
    with duckdb.connect(str(run.store)) as store:
        store.execute("INSERT INTO run VALUES ('remarks', ?)", [json.dumps(remarks)])
    words = text(calm(visit(OVERVIEW, run="demo")))
    assert f"Corpus source `{source}`: left out 3 rows without a usable" in words
    assert "the first at a.jsonl:7 (role `&lt;b&gt;`)" in words
    assert "2 chats given as “User: …”, since it has no chat template" in words


def test_what_each_partition_adds(data: Path) -> None:
    make_run(data)
    words = text(calm(visit(OVERVIEW, run="demo")))
    assert "<td>+7.0 points</td><td>–</td></tr>" in words
    assert "<td>–</td><td>+6.0 points</td></tr>" in words
    assert "<td>+61.0 points</td><td>+64.0 points</td></tr>" in words
    assert "may add more" not in words
    with duckdb.connect(str(make_run(data, "few").store)) as store:
        store.execute(
            "UPDATE run SET value = ? WHERE key = 'fve_added'",
            [json.dumps({"a": {"a": 0.43, "b": 0.0}, "b": {"a": 0.0, "b": 0.1}, "shared": {"a": 0.406, "b": 0.4}})],
        )
    told = text(calm(visit(OVERVIEW, run="few")))
    assert "and 60 may add more to SmolLM2\\-135M\\-Instruct than 180 shared ones: what counts is" in told


def test_evidence_is_shown_once_it_is_there(data: Path) -> None:
    run = make_run(data)
    assert "python -m dfc verify demo" in text(calm(visit("app.py", run="demo")))
    assert "python -m dfc verify demo" in text(calm(visit("pages/3_Feature.py", run="demo", feature="0")))
    judge(run.store)
    page = text(calm(visit("pages/3_Feature.py", run="demo", feature="0")))
    assert "<b>exclusive</b>&ensp;evidence score 0.90" in page
    assert "R² 0.41" in page
    overview = text(calm(visit("app.py", run="demo")))
    assert "What the evidence says" in overview
    assert "Shared features are judged by the same rule" in overview
    assert "that the evidence calls exclusive, the surest first" in overview
    assert "As exclusive stand 1 of 60 in" in overview
    assert "Dead, as a verdict: fires on fewer than 20 pairs, too few to judge by (0 features)." in overview
    assert "fires at all, as 297 of 300 do" in overview
    assert overview.count("<b>exclusive</b>&ensp;evidence score 0.90") == 2
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


def test_the_first_findings_of_each_model_come_before_the_corpus(data: Path) -> None:
    run = make_run(data)
    find(run.store)
    test = calm(visit(OVERVIEW, run="demo"))
    words = text(test)
    places = [words.index(part) for part in ("against", "Where one model does better", "What they read", "What only ")]
    assert places == sorted(places)
    assert "12 findings, " in words
    assert "1 finding, peaking on " in words
    assert words.count('class="dfc-gap') == 11
    assert "<b>news-zh</b> · 3 of all 12" in words
    assert "<b>web</b> · 3 of all 12, the first 2 here" in words
    links = [link.proto for link in test.get("page_link")]
    first = next(link for link in links if link.label.startswith("1\u2002"))
    assert "feature=150" in first.query_string
    assert "found%3Da" in first.query_string
    assert [link.query_string for link in links if link.label == "All 12 with filters"] == ["run=demo&whose=a"]
    exclusive = [link.label for link in links if link.label.startswith("Feature ")]
    assert exclusive == ["Feature 0", "Feature 60"]


def test_that_a_model_falls_behind_all_the_same_is_said_above_its_findings(data: Path) -> None:
    run = make_run(data)
    find(run.store)
    with duckdb.connect(str(attached.evidence_path(run.store))) as evidence:
        evidence.execute("UPDATE findings SET plain_gap = -9, plain_error = 0.1 WHERE side = 'a' AND finding < 3")
    words = text(calm(visit(OVERVIEW, run="demo")))
    assert words.count("of them it falls behind ") == 1


def test_where_none_passed_the_overview_says_so_and_is_as_before(data: Path) -> None:
    run = make_run(data)
    find(run.store, passing=False)
    test = calm(visit(OVERVIEW, run="demo"))
    assert "There is no finding: 299 features" in text(test)
    assert "Where one model does better" not in text(test)
    links = [link.proto.label for link in test.get("page_link")]
    assert "Which kinds of text one model expects better as a whole" in links
    assert len([label for label in links if label.startswith("Feature ")]) == 2  # those called exclusive


def test_a_model_that_outweighs_the_other_is_named(data: Path) -> None:
    run = make_run(data, features=60)
    said = "The loss looks at"
    assert not any(said in warning.value for warning in calm(visit(OVERVIEW, run="demo")).warning)
    copy = run.store.with_name("other.duckdb")
    for a, b, sentence in (
        (292.0, 97.5, ""),
        (292.0, 32.0, "SmolLM2\\-135M\\-Instruct 9.1 times as much as at Gemma\\-3\\-270m"),
        (30.0, 90.0, "Gemma\\-3\\-270m 3.0 times as much as at SmolLM2\\-135M\\-Instruct"),
    ):
        shutil.copy(run.store, copy)
        with duckdb.connect(str(copy)) as connection:
            for side, value in (("a", a), ("b", b)):
                connection.execute("UPDATE run SET value = ? WHERE key = ?", [str(value), f"variance_{side}"])
        copy.replace(run.store)
        found = [one.value for one in calm(visit(OVERVIEW, run="demo")).warning if said in one.value]
        assert len(found) == bool(sentence)
        if sentence:
            assert f"{said} {sentence}" in found[0]
            assert f"are {max(a, b):.1f} and {min(a, b):.1f}," in found[0]
            assert "`harvest.scale: variance` or `columns`" in found[0]


def test_a_store_that_does_not_know_the_variances_warns_of_nothing(data: Path) -> None:
    make_older(make_run(data, features=60).store)
    assert "The loss looks at" not in text(calm(visit(OVERVIEW, run="demo")))


def test_what_was_not_asked_is_not_claimed_and_why_there_are_no_findings_is_said(data: Path) -> None:
    run = make_run(data)
    surprise, missing = (
        "surprises the other model more than at places like it",
        "was judged without the models' surprise",
    )
    judge(run.store)
    by_probes = text(calm(visit(OVERVIEW, run="demo")))
    assert surprise not in by_probes
    assert "How surprised the models are by the text was not asked. As exclusive stand" in by_probes
    assert missing in by_probes
    find(run.store)
    by_surprise = text(calm(visit(OVERVIEW, run="demo")))
    assert f"{surprise}. As exclusive stand" in by_surprise
    assert missing not in by_surprise


def test_evidence_of_another_training_is_called_that(data: Path) -> None:
    run = make_run(data)
    judge(run.store)
    make_store(run.store, features=20)
    for page, asked in ((OVERVIEW, {}), (FEATURE, {"feature": "3"}), (TABLE, {}), (FINDINGS, {}), (RUNS, {})):
        words = text(calm(visit(page, run="demo", **asked))).replace("\\", "").replace("&#x27;", "'")
        assert "of another training's features and left out" in words, page
        assert "Not judged yet" not in words


def test_where_no_kind_of_text_differs_the_link_does_not_say_that_one_does(data: Path) -> None:
    run = make_run(data)
    find(run.store, passing=False)
    with duckdb.connect(str(attached.evidence_path(run.store))) as connection:
        connection.execute("UPDATE texts SET gap = 0, error = 0")
    links = [link.proto.label for link in calm(visit(OVERVIEW, run="demo")).get("page_link")]
    assert "No kind of text is clearly expected better by one model" in links


def test_a_damaged_null_run_hides_nothing_else(data: Path) -> None:
    run = make_run(data)
    judge(run.store)
    (run.path / "null.json").write_text('{"dedicated": 4')
    for page, asked in ((OVERVIEW, {}), (FEATURE, {"feature": "0"})):
        test = calm(visit(page, run="demo", **asked))
        assert ["null.json: is damaged" in one.value.replace("\\", "") for one in test.warning] == [True]
        assert "exclusive</b>&ensp;evidence score 0.90" in text(test)
    runs = text(calm(visit(RUNS, run="demo")))
    assert "null.json: is damaged" in runs
    assert "1 of 60" in runs
