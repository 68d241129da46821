"""What models say themselves: written and read by real tiny models, scored plainly, interrupted and resumed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfc import corpus, models
from dfc.activations import documents as stored
from dfc.config import SIDES, Side, UserError
from dfc.features import expected, live
from dfc.features.fired import fired
from dfc.runs import Run
from dfc.screen import own_words
from dfc.screen.own_words import Asked
from dfc.screen.words_of_own import own_words_in_words
from dfc.store import attached
from dfc.store.own_words import OwnWords
from dfc.store.writer import own_words_writer

FEW = Asked(beginnings=6, tokens=12)


@pytest.fixture
def run(tiny_copy: Run) -> Run:
    return tiny_copy


def all_of(run: Run) -> list[Any]:
    words = OwnWords(run.store)
    return [one for side in SIDES for one in words.continuations(side, 100)]


def nats(run: Run, side: Side, text: str, since: int) -> float:
    """What a model loses on the tokens of a plain text that end beyond a character, computed plainly."""
    model = models.shared(run.config().models.side(side))
    encoded = model.tokenizer(text, return_offsets_mapping=True)
    ids = torch.tensor([encoded["input_ids"]])
    with torch.no_grad():
        logs = model.model(input_ids=ids).logits[0].log_softmax(-1)
    ends = [end for _, end in encoded["offset_mapping"]]
    return sum(-float(logs[n - 1, ids[0, n]]) for n in range(1, len(ends)) if ends[n] > since)


def test_nats_a_character_are_those_of_what_follows_the_beginning(run: Run) -> None:
    begun, text = "the river carried", " a boat under the old bridge while people watched and rain"
    opened = live.open_run(run)
    reading = live.read(opened, corpus.plain(begun + text), lead=len(begun))
    made = own_words._told_apart(reading, expected.expected(opened, reading), "a", text)
    assert "".join(made["pieces"]) == text
    assert made["characters"] == len(text)
    for side in SIDES:
        assert made[f"nats_{side}"] * len(text) == pytest.approx(nats(run, side, begun + text, len(begun)), abs=1e-2)
    assert sum(made["gaps"]) == pytest.approx(len(text) * (made["nats_b"] - made["nats_a"]), abs=0.05)
    short = live.read(opened, corpus.plain(begun + text[:15]), lead=len(begun))
    assert "shorter than 20" in own_words._told_apart(short, expected.expected(opened, short), "a", "")["left_out"]


@pytest.mark.parametrize(
    ("tokens", "said", "end"),
    [
        (["<|im_start|>", "assistant", "\n", "Tai", "wan"], "Taiwan is an island", "Taiwan"),
        (["\n", "Bon", "jour"], "Bonjour", "Bonjour"),
        ([" a", "b"], "ab", " ab"),
        (["assistant", "x"], "y", "x"),
    ],
)
def test_the_first_piece_of_an_answer_is_whole_without_the_template(tokens: list[str], said: str, end: str) -> None:
    assert own_words._end(tokens, said) == end


def test_both_go_on_and_are_scored_in_nats_a_character(run: Run) -> None:
    own_words.write(run, FEW)
    words, facts = OwnWords(run.store), OwnWords(run.store).facts()
    left_out = sum(sum(facts["left_out"][side].values()) for side in SIDES)
    assert len(all_of(run)) + left_out == 2 * 6
    for side in SIDES:
        listed = words.continuations(side, 100)
        assert len(listed) == words.count(side) > 0
        assert [one.beyond for one in listed] == sorted((one.beyond for one in listed), reverse=True)
        for one in listed:
            assert one.characters >= own_words.LEAST
            assert len(one.pieces) == len(one.gaps)
            known = sum(gap for gap in one.gaps if gap is not None)
            assert known == pytest.approx(one.characters * (one.nats_b - one.nats_a), abs=0.02 * len(one.gaps))


def test_what_fires_is_what_reading_the_text_says_beyond_its_beginning(run: Run) -> None:
    own_words.write(run, FEW)
    opened = live.open_run(run)
    with duckdb.connect(str(attached.own_words_path(run.store)), read_only=True) as connection:
        rows = connection.execute("SELECT number, side, feature_id, max FROM heard").fetchall()
    heard: dict[tuple[int, str], dict[int, float]] = {}
    for number, side, feature, most in rows:
        heard.setdefault((number, side), {})[feature] = most
    assert heard
    for one in (one for one in all_of(run) if not one.chat):
        reading = live.read(opened, corpus.plain(one.beginning + one.text), lead=len(one.beginning))
        table = fired(reading)
        known = dict(zip(table["feature_id"].tolist(), table["max"].tolist(), strict=True))
        assert heard.get((one.number, one.side), {}) == pytest.approx(known, rel=0.02, abs=0.02)


def test_interrupted_it_goes_on_and_ends_the_same(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_words, "_TOGETHER", 2)
    own_words.write(run, FEW)
    whole = all_of(run)
    path = attached.own_words_path(run.store)
    path.unlink()
    batch, done = own_words._batch, 0

    def twice(*arguments: Any) -> Any:
        nonlocal done
        done += 1
        if done == 2:
            raise KeyboardInterrupt
        return batch(*arguments)

    monkeypatch.setattr(own_words, "_batch", twice)
    with pytest.raises(KeyboardInterrupt):
        own_words.write(run, FEW)
    [kept] = path.parent.glob("own_words.duckdb.*")
    with kept.open("a", encoding="utf-8") as file:
        file.write('[[4, {"left_')  # a line that was cut short
    own_words.write(run, FEW)
    assert done == 4  # three batches, one of them begun twice
    assert not list(path.parent.glob("own_words.duckdb.*"))
    assert [(one.number, one.side, one.text) for one in all_of(run)] == [
        (one.number, one.side, one.text) for one in whole
    ]
    stamp = path.stat().st_mtime_ns
    own_words.write(run, FEW)
    assert (done, path.stat().st_mtime_ns) == (4, stamp)  # it is there already
    own_words.write(run, replace(FEW, seed=1))
    assert OwnWords(run.store).facts()["asked"]["seed"] == 1


def test_chats_of_a_file_are_answered_and_texts_gone_on_from(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    chat = {"messages": [{"role": "user", "content": "Will the old bridge carry a boat?"}]}
    path.write_text("\n".join(["{broken", *map(json.dumps, [chat, {"text": "the river carried a boat under"}])]))
    own_words.write(run, Asked(beginnings=5, tokens=24, prompts=str(path)))
    begun = {one.beginning: one.chat for one in all_of(run)}
    assert begun
    assert (
        begun.items()
        <= {
            "Will the old bridge carry a boat?": True,
            "the river carried a boat under": False,
        }.items()
    )
    said = own_words_in_words(OwnWords(run.store).facts())
    assert said[0].startswith(f"2 beginnings of 5 asked for, from {path}; at most 24 tokens each")
    assert any("left out 1 rows" in sentence and "prompts.jsonl:1" in sentence for sentence in said)


def test_beginnings_are_short_and_whole_words_each_once(run: Run) -> None:
    table = stored.read(run)
    contents = ["".join(row) for row in table["contents"].to_pylist()]
    found = own_words.beginnings(run, Asked(beginnings=1_000))
    assert len(found.documents) + sum(found.left_out.values()) == len(table)
    assert len(set(found.documents)) == len(found.documents)
    assert found.left_out  # six chats begin alike
    for one in found.documents:
        said = "".join(turn.content for turn in one.turns)
        assert any(content.startswith(said) for content in contents)
        if one.is_chat:
            assert one.turns[-1].role == "user"
        else:
            assert 0 < len(said) <= 60
            if one.source == "english":
                assert any(content.startswith(f"{said} ") for content in contents)
    fewer = own_words.beginnings(run, Asked(beginnings=5))
    assert fewer.documents == found.documents[:5]
    assert own_words.beginnings(run, Asked(beginnings=5, seed=3)).documents != fewer.documents


def test_those_of_other_features_count_as_none(run: Run) -> None:
    with own_words_writer(attached.own_words_path(run.store)) as writer:
        writer.facts({"identity": "of others", "digest": "some"})
        writer.append("heard", pa.table({"number": [0], "side": ["a"], "feature_id": [0], "max": [1.0], "piece": [0]}))
    words = OwnWords(run.store)
    assert (words.facts(), words.count("a"), words.seen([(0, "a")])) == ({}, 0, {})


def test_a_damaged_file_is_said_with_what_mends_it(run: Run) -> None:
    attached.own_words_path(run.store).write_bytes(b"nonsense")
    with pytest.raises(UserError, match=f"dfc screen {run.path} --rollouts"):
        OwnWords(run.store).facts()


def test_in_how_many_a_feature_fires_by_counting(run: Run) -> None:
    own_words.write(run, FEW)
    with duckdb.connect(str(attached.own_words_path(run.store)), read_only=True) as connection:
        heard = connection.execute("SELECT side, feature_id FROM heard").fetchall()
    words, feature = OwnWords(run.store), heard[0][1]
    counted = {side: sum(row == (side, feature) for row in heard) for side in SIDES}
    for side, other in (SIDES, SIDES[::-1]):
        seen = words.seen([(feature, side)])[feature]
        assert (seen.own, seen.other) == (counted[side], counted[other])
        assert (seen.of_own, seen.of_other) == (words.count(side), words.count(other))


@given(st.lists(st.floats(-3, 3).map(lambda gap: round(gap, 1)), min_size=1, max_size=40), st.integers(1, 20))
def test_the_passage_that_tells_most_is_the_best_of_all_as_long(gaps: list[float], most: int) -> None:
    first, last = own_words.telling(gaps, most)
    assert 0 <= first <= last < len(gaps)
    assert last - first < most
    size = min(most, len(gaps))
    best = max(sum(gaps[start : start + size]) for start in range(len(gaps) - size + 1))
    assert sum(gaps[first : last + 1]) >= best - 1e-9
    assert first == last or (gaps[first] > 0 and gaps[last] > 0)
