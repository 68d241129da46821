"""Features of a tiny run explained by an endpoint of the tests' own, which tells what it is asked from its words."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfc.activations import documents as stored
from dfc.activations.loader import kept_rows
from dfc.activations.shards import ActivationStore
from dfc.asking import endpoint as http
from dfc.asking.budget import Budget
from dfc.config import JudgeConfig, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.runs import Run
from dfc.screen import explain, quotes, triage, words
from dfc.screen.explain import Progress
from dfc.screen.quotes import Material
from dfc.store.explanations import LEAST, ExplanationStore
from dfc.store.reader import FeatureQuery, Store
from tests.asking.served import Answer, Endpoint, says, serving

FLAGS = {name: flag for name, flag in words.load().items() if name in ("code", "refusal")}
USED = {"prompt_tokens": 90, "completion_tokens": 10}


def kind(body: Any) -> str:
    told = json.loads(body["messages"][1]["content"])
    return "explanation" if "next_tokens" in told else "flags" if "flags" in told else "marks"


def oracle(fires: Mapping[str, bool]) -> Any:
    """An endpoint that knows in which texts a feature fires."""

    def answer(body: Any) -> Answer:
        texts = json.loads(body["messages"][1]["content"])["texts"]
        said: dict[str, dict[str, Any]] = {
            "explanation": {"explanation": "words of news"},
            "marks": {"marks": [9 if fires.get(str(text)) else 1 for text in texts]},
            "flags": {"flags": [{"flag": "code", "reason": "it is <code>"}]},
        }
        return says(json.dumps(said[kind(body)]), usage=USED)

    return answer


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(http, "_PAUSES", (0.0, 0.0, 0.0))
    with serving() as found:
        yield found


@pytest.fixture
def gathered(tiny_copy: Run) -> tuple[Material, ...]:
    """Of the four features of which there are most texts of both kinds."""
    store = Store(tiny_copy.store)
    found = quotes.gather(tiny_copy, store.feature_ids(FeatureQuery(limit=40)))
    return tuple(sorted(found, key=lambda one: min(sum(one.fires), len(one.fires) - sum(one.fires)))[-4:])


@pytest.fixture
def kept(tiny_copy: Run) -> ExplanationStore:
    return ExplanationStore(tiny_copy.explanations)


def ask(
    kept: ExplanationStore,
    endpoint: Endpoint,
    gathered: Sequence[Material],
    budget: Budget | None = None,
    **settings: Any,
) -> Progress:
    judge = JudgeConfig(model="m", url=endpoint.url, timeout=5.0, **settings)
    *_, last = explain.explain(kept, judge, gathered, FLAGS, budget or Budget())
    return last


def prints(gathered: Sequence[Material]) -> dict[int, str]:
    return {one.feature_id: one.fingerprint for one in gathered}


def test_texts_are_told_apart_by_what_really_fires_in_them(tiny_copy: Run, gathered: tuple[Material, ...]) -> None:
    documents = stored.read(tiny_copy)
    pool = quotes.stretches(tiny_copy, documents)
    store, crosscoder = ActivationStore(tiny_copy.activations), crosscoder_model.load(tiny_copy.crosscoder)
    fires_in: dict[tuple[int, int], set[int]] = {}  # of every kept pair, by its document and where it ends there
    for shard in range(len(store)):
        rows, kept = store.rows(shard), kept_rows(store, shard)
        codes = crosscoder.encode(kept.x)
        for row, feature in zip(kept.row[codes.rows].tolist(), codes.features.tolist(), strict=True):
            fires_in.setdefault((int(rows.document[row]), int(rows.end[row])), set()).add(feature)
    contents = ["".join(parts) for parts in documents["contents"].to_pylist()]
    assert len(pool) > 50
    for stretch in pool:
        start = contents[stretch.document].index(stretch.text)
        inside = [found for (of, end), found in fires_in.items()
                  if of == stretch.document and start < end <= start + len(stretch.text)]  # fmt: skip
        if contents[stretch.document].count(stretch.text) == 1:
            assert set().union(*inside) <= stretch.features
    for one in gathered:
        assert LEAST <= sum(one.fires) <= quotes.TESTED
        assert not {shown.text for shown in one.shown} & set(one.texts)
        silent = {stretch.text for stretch in pool if one.feature_id not in stretch.features}
        assert all(text in silent for text, fires in zip(one.texts, one.fires, strict=True) if not fires)
    assert quotes.gather(tiny_copy, list(prints(gathered))) == gathered


def test_each_feature_is_explained_tested_and_flagged(
    tiny_copy: Run, kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]
) -> None:
    judge, budget = JudgeConfig(model="m", url=endpoint.url), Budget()
    foreseen = explain.estimate(kept, judge, gathered, FLAGS)
    assert (foreseen.features, foreseen.requests) == (4, 12)
    for one in gathered:
        endpoint.answer = oracle(dict(zip(one.texts, one.fires, strict=True)))
        last = ask(kept, endpoint, [one], budget)
        assert (last.done, last.explained, last.wrong, last.spent) == (1, 1, 0, "")
    assert (budget.requests, budget.tokens) == (12, 1200)
    assert budget.tokens < foreseen.tokens < foreseen.most
    told = kept.told(prints(gathered))
    for one in gathered:
        explanation = told[one.feature_id].explanation
        assert explanation is not None
        assert explanation.detection is not None
        assert (explanation.text, explanation.who, explanation.origin) == ("words of news", "m", "judge")
        assert (explanation.detection.accuracy, explanation.detection.auroc) == (1, 1)
        assert explanation.detection.low < 1
        assert {name: mark.applies for name, mark in told[one.feature_id].standing.items()} == {
            "code": True,
            "refusal": False,
        }
        assert Store(tiny_copy.store).feature(one.feature_id).label == "words of news"
    assert explain.estimate(kept, judge, gathered, FLAGS).requests == 0


def test_nothing_is_asked_twice(kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]) -> None:
    endpoint.answer = oracle({})
    ask(kept, endpoint, gathered)
    before, asked = kept.told(prints(gathered)), len(endpoint.asked)
    last = ask(kept, endpoint, gathered)
    assert (last.explained, len(endpoint.asked)) == (4, asked)
    assert kept.told(prints(gathered)) == before  # its date, too
    ask(kept, endpoint, gathered, temperature=0.5)
    assert len(endpoint.asked) == 2 * asked


@pytest.mark.parametrize("requests", [0, 1, 5, 7])
def test_a_budget_is_never_exceeded_and_the_next_call_goes_on(
    requests: int, kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]
) -> None:
    endpoint.answer = oracle({})
    last = ask(kept, endpoint, gathered, Budget(most_requests=requests))
    assert last.spent == f"the budget of {requests} requests is spent"
    assert len(endpoint.asked) == requests
    assert ask(kept, endpoint, gathered).explained == 4
    assert len(endpoint.asked) == 12


def test_nor_is_one_of_tokens(kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]) -> None:
    right, used = oracle({}), {"prompt_tokens": 1190, "completion_tokens": 10}
    endpoint.answer = lambda body: says(json.loads(right(body)[2])["choices"][0]["message"]["content"], usage=used)
    budget = Budget(most_tokens=9_000)
    last = ask(kept, endpoint, gathered, budget)
    assert "tokens, and of the budget of 9,000" in last.spent
    assert 0 < budget.tokens <= 9_000
    assert budget.tokens == 1200 * len(endpoint.asked)


def test_broken_answers_are_counted_and_asked_again(
    kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]
) -> None:
    right = oracle({})
    endpoint.answer = lambda body: says("Sure! Marks:", usage=USED) if kind(body) == "marks" else right(body)
    last = ask(kept, endpoint, gathered)
    assert (last.explained, last.wrong) == (4, 4)
    assert "'Sure! Marks:', which is not JSON" in last.first
    assert all(one.explanation and one.explanation.detection is None for one in kept.told(prints(gathered)).values())
    endpoint.answer = right
    assert ask(kept, endpoint, gathered).wrong == 0
    assert len(endpoint.asked) == 16
    assert all(one.explanation and one.explanation.detection for one in kept.told(prints(gathered)).values())


def test_what_was_cut_is_no_answer(kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]) -> None:
    endpoint.answer = lambda body: says('{"explanation": "x"}', finish_reason="length")
    last = ask(kept, endpoint, gathered[:1])
    assert (last.explained, last.wrong) == (0, 1)
    assert "was cut at 600 tokens; raise `judge.answer_tokens`" in last.first
    assert kept.told(prints(gathered)) == {}


def test_failing_answers_cost_their_feature_alone(
    kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]
) -> None:
    right = oracle({})

    def answer(body: Any) -> Answer:
        with_texts = json.loads(body["messages"][1]["content"])["texts"]
        if with_texts[0] == {"text": gathered[0].shown[0].text, "fires_on": list(gathered[0].shown[0].fires_on)}:
            return 503, {}, b"busy"
        return right(body)

    endpoint.answer = answer
    last = ask(kept, endpoint, gathered)
    assert (last.done, last.explained) == (4, 3)
    assert "answered 503 (busy)" in last.first


def test_a_refusal_ends_it_and_what_was_answered_stays(
    kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]
) -> None:
    right = oracle({})
    endpoint.answer = lambda body: right(body) if len(endpoint.asked) <= 4 else (402, {}, b"no credit")
    with pytest.raises(UserError, match=r"answered 402 \(no credit\)"):
        ask(kept, endpoint, gathered, parallel=1)
    assert len(endpoint.asked) == 5
    endpoint.answer = right
    ask(kept, endpoint, gathered)
    assert len(endpoint.asked) == 5 + 8


def test_an_endpoint_that_is_not_heard_of_is_given_up(
    kept: ExplanationStore, gathered: tuple[Material, ...], endpoint: Endpoint
) -> None:
    many = [replace(one, feature_id=one.feature_id) for one in gathered for _ in range(3)]
    judge = JudgeConfig(model="m", url="http://localhost:1/v1", parallel=1)
    with pytest.raises(UserError, match="cannot be reached"):
        list(explain.explain(kept, judge, many, FLAGS, budget := Budget()))
    assert budget.requests == 5
    assert budget.tokens == 0


def test_closing_it_asks_nothing_more(
    kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]
) -> None:
    held = threading.Event()
    endpoint.answer = lambda body: (held.wait(20), oracle({})(body))[1]
    steps = explain.explain(kept, JudgeConfig(model="m", url=endpoint.url, parallel=2), gathered, FLAGS, Budget())
    next(steps)
    steps.close()
    held.set()
    for thread in [thread for thread in threading.enumerate() if thread.name == "judge"]:
        thread.join(30)
    assert len(endpoint.asked) <= 2


def test_a_person_decides_whatever_a_judge_says(
    tiny_copy: Run, kept: ExplanationStore, endpoint: Endpoint, gathered: tuple[Material, ...]
) -> None:
    [one] = gathered[:1]
    kept.label(one.feature_id, one.fingerprint, "Ada", "datelines")
    kept.flag(one.feature_id, one.fingerprint, "Ada", "code", False)
    endpoint.answer = oracle(dict(zip(one.texts, one.fires, strict=True)))
    ask(kept, endpoint, [one])
    told = kept.told(prints([one]))[one.feature_id]
    assert Store(tiny_copy.store).feature(one.feature_id).label == "datelines"
    assert not told.standing["code"].applies
    assert triage.flag(None, told) == triage.Factor(1.0, "not looked for")


def test_the_detection_makes_it_readable() -> None:
    one = Material(1, "f", (), {}, tuple("abcdefghijkl"), (True,) * 6 + (False,) * 6, 2)
    tested = explain.detected(one, [9, 9, 9, 9, 9, 1, 1, 1, 1, 1, 1, 1])
    assert tested.accuracy == pytest.approx((5 / 6 + 1) / 2)
    assert (tested.firing, tested.silent, tested.held_out, tested.holds) == (6, 6, 2, True)
    assert tested.auroc == pytest.approx(11 / 12)
    assert tested.low < tested.auroc < tested.high
    assert triage.detected(tested).value == pytest.approx(2 * tested.accuracy - 1)
    assert triage.detected(explain.detected(one, [5.0] * 12)).value == 0.25
    assert np.isfinite(explain.detected(one, [5.0] * 12).auroc)


def test_what_is_explained_is_not_what_it_is_tested_by(tiny_run: Run) -> None:
    everything = Store(tiny_run.store).contexts(3)
    texts = {one.number: f"{one.start} {one.document % 9}" for one in everything}
    contexts = quotes.apart(everything, texts)[:9]
    assert len({one.document for one in contexts}) == len({texts[one.number] for one in contexts}) == len(contexts) == 9
    held = {contexts[6].document, contexts[0].document}
    tested, shown = quotes.divided(contexts, held)
    assert len(tested) == min(quotes.TESTED, len(contexts) // 2)
    assert {contexts[6].document, contexts[0].document} <= {one.document for one in tested}
    assert not {one.document for one in tested} & {one.document for one in shown}
    assert quotes.divided(contexts[:1], held) == ([], contexts[:1])


def test_a_judge_on_this_machine(
    kept: ExplanationStore, gathered: tuple[Material, ...], tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    """Made of nothing, it says no JSON: that is counted, its budget holds, and nothing is kept as said."""
    folder = tmp_path / "judge"
    shutil.copytree(tiny_models[0], folder)
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {"max_position_embeddings": 8192}))
    judge = JudgeConfig(model=str(folder), protocol="local", answer_tokens=16)
    foreseen, budget = explain.estimate(kept, judge, gathered, FLAGS), Budget(most_requests=3)
    *_, last = explain.explain(kept, judge, gathered, FLAGS, budget)
    assert (budget.requests, last.wrong) == (3, 3)
    assert last.spent == "the budget of 3 requests is spent"
    assert "16 tokens" in last.first or "which is not JSON" in last.first
    assert kept.told(prints(gathered)) == {}
    assert 0 < budget.tokens < foreseen.most
    few = Budget(most_tokens=budget.tokens // 3 + 16)
    *_, last = explain.explain(kept, judge, gathered, FLAGS, few)
    assert few.tokens <= budget.tokens // 3 + 16
    assert "tokens, and of the budget of" in last.spent


def test_a_judge_on_this_machine_that_takes_no_such_long_requests_says_so(
    kept: ExplanationStore, gathered: tuple[Material, ...], tiny_models: tuple[Path, Path]
) -> None:
    judge, budget = JudgeConfig(model=str(tiny_models[0]), protocol="local"), Budget()
    *_, last = explain.explain(kept, judge, gathered, FLAGS, budget)
    assert "cannot be given this request: " in last.first
    assert (last.explained, budget.requests, budget.tokens) == (0, 0, 0)
