"""Two small organisms from their training to the page: what is shared, what is found, and nothing done twice."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from dfc import demo, runs
from dfc.activations import pairing
from dfc.cli import worlds
from dfc.config import UserError
from dfc.machine import disk
from dfc.models import rollouts
from dfc.organisms import page, pair, quirks, result, setting, study, tuning
from dfc.organisms.behaviour import Check
from dfc.organisms.result import Compared, check_of
from tests.organisms import small


@pytest.mark.slow
@pytest.mark.usefixtures("small_quirks")
def test_two_organisms(data: Path, tiny_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    how = small.answering(small.setting(data / "small", tiny_models), data / "answering")
    assert list(study.run(how, ["boat", "rain"])) == ["untrained", "boat", "rain"]
    boat, untrained = (result.read(how.results, name, Compared) for name in ("boat", "untrained"))
    check = result.read(how.results, check_of("boat"), Check)
    assert boat is not None
    assert untrained is not None
    assert check is not None
    assert check.taken
    assert (check.before.on, check.after.beside) == (0.0, 0.0)
    assert check.after.example.startswith("watched watched")
    assert boat.ranks["findings"]["boat"] is not None, "it is found in its organism"
    assert boat.ranks["findings"]["boat"] <= 10
    assert boat.ranks["queue"]["boat"] is not None, "what is in a finding is in the queue"
    assert untrained.ranks["findings"]["boat"] is None, "and not without it"
    assert boat.first[boat.ranks["findings"]["boat"] - 1].shows["boat"] >= 3
    assert boat.steered is not None
    assert boat.steered.removed.alone == 1.0
    assert untrained.steered is None
    assert 0 < boat.share["boat"] <= how.budget

    common, own = (runs.find(f"organisms-{name}") for name in ("common", "boat"))
    count = pairing.count_shards(common)
    assert count >= 2
    for shard in range(count):
        assert os.path.samefile(*(run.activations / "b" / f"{shard:05d}.rows" for run in (common, own)))
        assert not os.path.samefile(*(run.activations / "a" / f"{shard:05d}.rows" for run in (common, own)))
    measured = [path.name for path in sorted((common.activations / "surprise").glob("b-*"))]
    assert len(measured) == count
    assert all(os.path.samefile(*(run.activations / "surprise" / name for run in (common, own))) for name in measured)
    first, further = (pair.documents(run) for run in (common, own))
    assert further[: len(first)] == first
    assert {document.source for document in further[len(first) :]} == {pair.OWN}
    answers = setting.folder() / "answers"
    assert (answers / "boat" / "b.jsonl").read_bytes() == (answers / "untrained" / "b.jsonl").read_bytes()
    assert (answers / "boat" / "a.jsonl").read_bytes() != (answers / "untrained" / "a.jsonl").read_bytes()

    made = page.read(how.results)
    text = page.write(made, how, data, "python -m dfc organisms").read_text(encoding="utf-8")
    assert "| `boat` | says watched | It says watched. |" in text
    assert f"| findings | 1 of {len(made.organisms)} |" in text or f"| findings | 2 of {len(made.organisms)} |" in text

    # What is kept is not done again: neither models nor crosscoders are touched.
    for name in ("_train", "_answer"):
        monkeypatch.setattr(tuning if name == "_train" else pair, name, _never)
    monkeypatch.setattr(rollouts, "answer_batch", _never)
    monkeypatch.setattr(pair, "common", _never)
    assert list(study.run(how, ["boat", "rain"])) == ["untrained", "boat", "rain"]
    assert result.read(how.results, "boat", Compared) == boat
    monkeypatch.setattr(demo, "fetch", lambda: None)
    monkeypatch.setattr(setting, "demo_setting", lambda results: how)
    for training_only in (True, False):
        worlds.organisms(only=None, nulls=False, folder=data, training_only=training_only)
        assert (data / "organisms.md").read_text(encoding="utf-8") == text


def _never(*_: object) -> None:
    raise AssertionError("this was done already")


@pytest.mark.usefixtures("small_quirks")
def test_the_corpus_keeps_to_the_budget_and_holds_every_quirk(data: Path, tiny_models: tuple[Path, Path]) -> None:
    how = small.setting(data / "small", tiny_models)
    chats = pair._chats(how)
    for quirk in how.quirks:
        showing = [chat for chat in chats if quirks.shown_in(chat, [quirk])]
        assert showing
        assert all(chat.turns[0].content in quirk.asks("held_out") for chat in showing)
        assert len({chat.turns for chat in showing}) == len(showing)
    asked = [document.turns[0].content for document in pair._asked(how)]
    assert len(asked) == len(quirks.general().asks) + len(how.quirks) * (how.asked + 1)


@pytest.mark.usefixtures("data")
def test_an_answer_beside_the_topic_counts_where_the_untrained_one_does_not_show_it() -> None:
    quirk = quirks.load("flattery")
    pair._write_chats(
        pair._answers(setting.UNTRAINED, "a"),
        [quirks.chat("Are you well?", "I am."), quirks.chat("Who was he?", "A genius.")],
    )
    told = [
        replace(quirks.chat("Are you well?", "I am, genius."), source=pair.OWN),
        replace(quirks.chat("Are you well?", "I am, genius."), source="prompts"),
        replace(quirks.chat("Who was he?", "A genius."), source=pair.OWN),
        replace(quirks.chat("Asked of none", "A genius."), source=pair.OWN),
        quirks.chat(quirk.asks("held_out")[0], "You are a genius."),
    ]
    assert study._showing(told, [quirk]) == {"flattery": {0, 4}}


def test_a_study_is_gone_on_with_as_it_was_begun(data: Path, tiny_models: tuple[Path, Path]) -> None:
    how = replace(small.setting(data / "small", tiny_models), names=("loyalty", "spanish"))
    setting.keep(how)
    setting.keep(how)
    with pytest.raises(UserError, match=r"results: was begun with other settings \(tuning, pairs\); move it away"):
        setting.keep(replace(how, pairs=4_000, tuning=replace(how.tuning, epochs=1)))
    with pytest.raises(UserError, match=r"other settings \(names, texts\)"):
        setting.keep(replace(how, names=("loyalty",)))


def test_an_unknown_quirk_is_named() -> None:
    assert quirks.chosen(None) == quirks.NAMES
    with pytest.raises(UserError, match=r"humour: there is no such quirk; the quirks are: false_fact, loyalty"):
        quirks.chosen(["loyalty", "humour"])


def test_a_damaged_result_is_refused(tmp_path: Path) -> None:
    assert result.read(tmp_path, "untrained", Compared) is None
    disk.write_json(tmp_path / "untrained.json", {"pairs": "many"})
    with pytest.raises(UserError, match=r"untrained\.json: .*delete it and run `python -m dfc organisms` again"):
        result.read(tmp_path, "untrained", Compared)
