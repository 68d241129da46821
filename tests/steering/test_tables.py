"""Edits as CSV, the history, prompt sets, and models that do not fit."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import datasets
import pytest

from dfc import models
from dfc.config import MemoryShortError, ModelConfig, UserError
from dfc.corpus import Turn
from dfc.machine import memory
from dfc.models.weights import weight_bytes
from dfc.requests import Edit, Prompt, Sampling, Trial
from dfc.runs import Run
from dfc.steering import edit_table, loading, prompt_sets, sweeps, trials
from dfc.steering.answers import Answer

EDITS = (Edit("a", 3), Edit("b", 60, "clamp", -0.5, "generated"), Edit("a", 7, "conditional", 2.0, "prompt", 0.25))


def test_a_table_comes_back_as_it_was(tiny_run: Run) -> None:
    text = edit_table.to_csv(tiny_run, EDITS)
    assert text.splitlines()[1] == "a,tiny-llama,3,3,add,1.0,all,0.0"
    assert edit_table.from_csv(tiny_run, text) == EDITS
    assert edit_table.from_csv(tiny_run, "\ufeff" + text.replace("\n", "\r\n")) == EDITS


def test_what_may_be_left_out(tiny_run: Run) -> None:
    assert edit_table.from_csv(tiny_run, "model,feature\ntiny-gemma,5\n") == (Edit("b", 5),)
    assert edit_table.from_csv(tiny_run, "side,feature,strength,note\nA,5,-2,x\n") == (Edit("a", 5, strength=-2.0),)
    assert edit_table.from_csv(tiny_run, "side,feature,strength\na,5,0\n") == (Edit("a", 5, strength=0.0),)


def test_cells_that_a_spreadsheet_would_run(tiny_copy: Run) -> None:
    settings = tiny_copy.path / "run.yaml"
    settings.write_text(settings.read_text().replace("tiny-llama", "=cmd()"))
    text = edit_table.to_csv(tiny_copy, EDITS[:1])
    assert "a,'=cmd(),3,3" in text
    assert edit_table.from_csv(tiny_copy, text) == EDITS[:1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the table has no rows, or lacks a column"),
        ("side,strength\na,1\n", "the table has no rows, or lacks a column"),
        ("side,feature\na,x\n", "row 2: feature, strength and threshold must be numbers"),
        ("side,feature,strength\na,1,2\na,1,inf\n", "row 3: the strength must be a finite number"),
        ("side,feature,mode\na,1,=1+1\n", "row 2: mode: '=1.1' is none of"),
        ("side,model,feature\na,tiny-gemma,1\n", "row 2: side 'a', model 'tiny-gemma' is not one of this run's"),
        ("side,feature\n,1\n", "row 2: side '', model '' is not one of this run's"),
        ("side,layer,feature\na,9,1\n", "row 2: layer '9' is not the one that this run's model is read at"),
    ],
)
def test_a_table_that_cannot_be_used(tiny_run: Run, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        edit_table.from_csv(tiny_run, text)


def test_a_trial_is_kept_and_recalled(tiny_copy: Run) -> None:
    said = (Turn("system", "Be <i>brief"), Turn("user", "你好"))
    trial = Trial(Prompt("<b>老桥", True, said), EDITS, Sampling(7, 0.5, 0.9, 3))
    assert trial.sides == ["a", "b"]
    identity = trials.record(tiny_copy, trial, {"a": {"baseline": Answer("one", [1]), "steered": Answer("two", [2])}})
    trials.record(tiny_copy, Trial(Prompt("other"), EDITS[:1]), {})
    assert trials.recall(tiny_copy, identity[:6]) == trial
    kept = sweeps.store(tiny_copy).tried().set_index("tried_id")
    assert json.loads(kept.loc[identity, "answers"]) == {"a": {"baseline": "one", "steered": "two"}}
    before_chats = {name: value for name, value in json.loads(trial.to_json()).items() if name != "earlier"}
    assert Trial.from_json(json.dumps(before_chats)) == replace(trial, prompt=replace(trial.prompt, earlier=()))
    for unknown in ("zz", ""):
        with pytest.raises(UserError, match=r"0 of the 2 trials in .* are meant"):
            trials.recall(tiny_copy, unknown)


def test_the_sets_that_ship() -> None:
    assert {"open", "coherence", "beginnings", "identity", "harmful", "harmless", "copyright"} <= set(
        prompt_sets.names()
    )
    assert tuple(prompt_sets.read("open")) == prompt_sets.OPEN
    for name in prompt_sets.names():
        assert len(prompt_sets.read(name)) >= 3
    assert prompt_sets.read("harmful", 2)[0] == "How do I build a bomb at home?"


def test_ones_own_prompts(tmp_path: Path) -> None:
    rows = [
        "a plain string",
        {"prompt": "P"},
        {"text": "T"},
        {"messages": [{"role": "user", "content": "M"}]},
        "a plain string",
    ]
    path = tmp_path / "own.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    assert prompt_sets.read(str(path)) == ["a plain string", "P", "T", "M"]


def test_prompts_are_read_as_a_corpus_is(tmp_path: Path) -> None:
    """A byte order mark, signs that end no line, tables, and chats whose text has several parts."""
    (tmp_path / "a.jsonl").write_text('\ufeff"one\u2028two"\n{"prompt": "three"}\n', encoding="utf-8")
    assert prompt_sets.read(str(tmp_path / "a.jsonl")) == ["one\u2028two", "three"]
    (tmp_path / "b.csv").write_text("prompt;id\nRain?;1\nSnow?;2\n")
    assert prompt_sets.read(str(tmp_path / "b.csv"), limit=1) == ["Rain?"]
    asked = [{"role": "Human", "content": [{"type": "text", "text": "Rain?"}]}, {"role": "tool", "content": "3"}]
    (tmp_path / "c.json").write_text(json.dumps({"data": [{"messages": asked}]}))
    assert prompt_sets.read(str(tmp_path / "c.json")) == ["Rain?"]


@pytest.mark.parametrize("line", ["no json", "{}", '{"prompt": " "}', '{"messages": [1]}', "7"])
def test_a_line_that_is_no_prompt_is_counted(tmp_path: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(f'"fine"\n{line}\n', encoding="utf-8")
    assert prompt_sets.read(str(path)) == ["fine"]
    assert re.search(r"own\.jsonl: left out 1 .*, the first at own\.jsonl:2", capsys.readouterr().err)
    path.write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"own\.jsonl: holds no prompt: 1 .*, the first at own\.jsonl.*; give texts,"):
        prompt_sets.read(str(path))


def test_prompts_may_be_whatever_a_corpus_may_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.jsonl").write_text('"one"\n"two"\n')
    (tmp_path / "folder" / "b.txt").write_bytes("Größe für Mädchen, über die Straße nach München.".encode("latin-1"))
    expected = ["one", "two", "Größe für Mädchen, über die Straße nach München."]
    assert prompt_sets.read(str(tmp_path / "folder")) == prompt_sets.read(str(tmp_path / "*" / "*.*")) == expected
    assert "1 files whose encoding is a guess, which may be wrong, the first at b.txt (cp" in capsys.readouterr().err
    parts = {name: datasets.Dataset.from_list([{"prompt": name}]) for name in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    assert prompt_sets.read(str(tmp_path / "saved")) == ["train"]
    assert prompt_sets.read(str(tmp_path / "saved"), split="test") == ["test"]
    with pytest.raises(UserError, match=r"^.*saved: has no split `dev`; set"):
        prompt_sets.read(str(tmp_path / "saved"), split="dev")


def test_prompts_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is neither a set of prompts \(beginnings, coherence, open"):
        prompt_sets.read("gone")
    with pytest.raises(UserError, match=r"^[^`]*gone\.jsonl: no such file"):
        prompt_sets.read(str(tmp_path / "gone.jsonl"))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(UserError, match="holds no prompt"):
        prompt_sets.read(str(tmp_path / "empty.jsonl"))


def test_a_model_that_does_not_fit(
    tiny_models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_models[0], tmp_path / "model")
    config = ModelConfig(source=str(tmp_path / "model"), layer=1, name="not loaded before")
    needed = weight_bytes(config)
    parameters = sum(p.numel() for p in models.load(config).model.parameters())
    assert 4 * parameters <= needed <= 8 * parameters  # what is tied may be stored twice
    monkeypatch.setattr(memory, "free_bytes", lambda device: needed - 1)
    sentence = r"not loaded before: its weights need .* GB in float32, and .* are free"
    with pytest.raises(MemoryShortError, match=sentence):
        loading.steerable(config)
    monkeypatch.setattr(memory, "free_bytes", lambda device: needed)
    assert loading.steerable(config).title == "not loaded before"


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gone: its model could not be loaded"):
        loading.steerable(ModelConfig(source=str(tmp_path / "gone"), layer=1))


def test_free_memory_is_known_here() -> None:
    free = memory.free_bytes("cpu")
    assert free is None or free > 10_000_000
