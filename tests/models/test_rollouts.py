"""Answers of the two models of a run: equal to those given alone, kept through a kill, and a corpus for a run."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import decoders

from dfc import config, corpus, models, runs
from dfc.activations import pairing
from dfc.config import ModelConfig, RunConfig, UserError
from dfc.corpus import Document, Turn, plain
from dfc.models import LoadedModel, rollouts
from dfc.requests import RolloutSampling
from tests import processes, tiny
from tests.processes import dfc

GREEDY = RolloutSampling(tokens=12, temperature=0.0)
DRAWN = RolloutSampling(samples=2, tokens=10, temperature=1.5, top_p=0.95, seed=3, batch=3)
ASKED = [
    "a",
    "The old bridge.",
    "北京的河流在老桥下面缓缓流过，人们站在岸边谈论着天气。",
    "x = read('a.txt')\nx = read('a.txt')",
]


def chat(*contents: str) -> Document:
    """A chat in which the user begins."""
    return Document("chat", tuple(Turn(("user", "assistant")[i % 2], content) for i, content in enumerate(contents)))


PROMPTS = [plain(text) for text in ASKED] + [chat("Will it rain?"), chat("河", "It will.", "Why?")]


@pytest.fixture
def run(tiny_models: tuple[Path, Path], tmp_path: Path) -> RunConfig:
    return tiny.tiny_config(tmp_path / "texts", tiny_models)


@pytest.fixture(params=["a", "b"], ids=["chat model", "base model"])
def model(request: pytest.FixtureRequest, run: RunConfig) -> LoadedModel:
    return models.load(run.models.side(request.param))


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_batch_too_large_for_the_memory_is_answered_in_halves(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = rollouts.planned(model, PROMPTS, GREEDY)
    whole = rollouts.answer_batch(model, answers, GREEDY)
    generate, room = model.model.generate, 2

    def short_of_memory(input_ids: torch.Tensor, **settings: Any) -> Any:
        if len(input_ids) > room:
            raise torch.OutOfMemoryError
        return generate(input_ids=input_ids, **settings)

    monkeypatch.setattr(model.model, "generate", short_of_memory)
    assert rollouts.answer_batch(model, answers, GREEDY) == whole
    room = 0
    with pytest.raises(UserError, match=r"no memory for \d+ tokens; ask for fewer"):
        rollouts.answer_batch(model, answers, GREEDY)


def asked_in(row: dict[str, Any]) -> str:
    """The prompt of a row: its turns but the answer, or the longest that its text begins with."""
    if "messages" in row:
        return " / ".join(turn["content"] for turn in row["messages"][:-1])
    return max((text for text in ASKED if row["text"].startswith(text)), key=len)


def test_what_is_written(run: RunConfig, tmp_path: Path) -> None:
    made = rollouts.write(run, PROMPTS, DRAWN, tmp_path)
    every = [" / ".join(turn.content for turn in prompt.turns) for prompt in PROMPTS]
    for side, is_chat in (("a", True), ("b", False)):
        written = rows(tmp_path / f"{side}.jsonl")
        assert {row["model"] for row in written} == {made.models.side(side).title}
        asked = [every.index(asked_in(row)) for row in written]
        assert asked == sorted(asked)  # in the order of the prompts, not of their lengths
        assert max(asked.count(number) for number in asked) == 2
        assert len(set(asked)) >= 5
        assert [number for number, row in zip(asked, written, strict=True) if "text" in row] == (
            [] if is_chat else [number for number in asked if number < len(ASKED)]
        )
        for row in written:
            answer = row["messages"][-1]["content"] if "messages" in row else row["text"][len(asked_in(row)) :]
            assert answer.strip()
            assert not re.search(r"<.im_|<eos>|<bos>|<pad>|\ufffd$", answer)
            assert "messages" not in row or (row["messages"][-1]["role"], answer.strip()) == ("assistant", answer)
    assert config.load(tmp_path / "rollouts.yaml") == made
    assert (made.name, made.models) == ("tiny-rollouts", run.models)


def test_two_models_of_one_name_are_two_sources(run: RunConfig, tmp_path: Path) -> None:
    settings = run.model_dump(mode="json")
    settings["models"]["b"]["name"] = "tiny-llama"
    made = rollouts.write(config.parse(settings, origin="test"), PROMPTS[:2], GREEDY, tmp_path)
    assert [source.name for source in made.corpus.sources] == ["tiny-llama (A)", "tiny-llama (B)"]
    assert config.load(tmp_path / "rollouts.yaml") == made


def test_the_answers_are_a_corpus_that_can_be_paired(run: RunConfig, tmp_path: Path) -> None:
    made = rollouts.write(run, PROMPTS, DRAWN, tmp_path / "out")
    opened = corpus.open_sources(made.corpus)
    assert list(opened) == ["tiny-llama", "tiny-gemma"]
    for side, source in zip("ab", opened.values(), strict=True):
        documents = list(source.documents)
        assert {document.source for document in documents} == {source.config.name}
        assert len(documents) == len(rows(tmp_path / "out" / f"{side}.jsonl"))
        assert not source.left_out.rows
    paired = runs.create(made)
    pairing.pair(paired)
    facts = json.loads(paired.provenance.read_text())["pair"]
    assert set(facts["pairs"]) == {"tiny-llama", "tiny-gemma"}
    assert min(facts["pairs"].values()) > 20


def test_drawn_answers_follow_the_seed_and_not_the_batch(model: LoadedModel) -> None:
    def said(sampling: RolloutSampling) -> dict[int, str]:
        batches = rollouts.batched(model, rollouts.planned(model, PROMPTS, sampling), sampling)
        lengths = [[len(answer.ids) + sampling.tokens for answer in batch] for batch in batches]
        assert max(map(len, lengths)) == (sampling.batch or max(map(len, lengths)))
        assert all(2 * max(some) <= 3 * min(some) for some in lengths)  # little of it is padding
        return {
            answer.number: text
            for batch in batches
            for answer, text in zip(batch, rollouts.answer_batch(model, batch, sampling), strict=True)
        }

    for sampling in (DRAWN, replace(DRAWN, top_p=1.0), GREEDY):
        first = said(sampling)
        torch.rand(5)  # what else was drawn in the process makes no difference
        assert said(replace(sampling, batch=1)) == said(replace(sampling, batch=None)) == first
        assert (said(replace(sampling, seed=4)) == first) == (sampling == GREEDY)
    drawn = said(DRAWN)
    assert any(drawn[number] != drawn[number + 1] for number in range(0, len(drawn), 2))


def test_answers_that_were_begun_go_on_in_batches_of_another_size(run: RunConfig, tmp_path: Path) -> None:
    """As where another process leaves less memory; a folder of before has the size among its settings."""
    rollouts.write(run, PROMPTS, replace(DRAWN, batch=None), tmp_path / "whole")
    rollouts.write(run, PROMPTS, replace(DRAWN, batch=5), tmp_path / "halted")
    written = (tmp_path / "halted" / "a.jsonl").read_bytes()
    model = models.load(run.models.a)
    planned = rollouts.planned(model, PROMPTS, DRAWN)
    begun = [
        (answer.number, rollouts.row(model, answer, text))
        for answer, text in zip(planned[:5], rollouts.answer_batch(model, planned[:5], DRAWN), strict=True)
    ]
    (tmp_path / "halted" / "a.jsonl").unlink()
    (tmp_path / "halted" / "a.batches").write_text(json.dumps(begun) + "\n", encoding="utf-8")
    settings = tmp_path / "halted" / "a.yaml"
    settings.write_text(f"{settings.read_text(encoding='utf-8')}batch: 5\n", encoding="utf-8")
    rollouts.write(run, PROMPTS, replace(DRAWN, batch=4), tmp_path / "halted")
    assert (tmp_path / "halted" / "a.jsonl").read_bytes() == written
    assert (tmp_path / "whole" / "a.jsonl").read_bytes() == written


def test_the_models_own_settings_for_drawing_are_not_applied(model: LoadedModel) -> None:
    answers = rollouts.planned(model, PROMPTS, DRAWN)
    before = [rollouts.answer_batch(model, answers, sampling) for sampling in (GREEDY, DRAWN)]
    own = model.model.generation_config
    own.do_sample, own.top_k, own.top_p, own.temperature, own.repetition_penalty = True, 2, 0.5, 0.1, 1.8
    assert [rollouts.answer_batch(model, answers, sampling) for sampling in (GREEDY, DRAWN)] == before


def test_at_little_top_p_only_the_likeliest_token_is_drawn(model: LoadedModel) -> None:
    answers = rollouts.planned(model, PROMPTS, GREEDY)
    narrow = replace(DRAWN, tokens=GREEDY.tokens, top_p=1e-6)
    greedy = rollouts.answer_batch(model, answers, GREEDY)
    assert rollouts.answer_batch(model, answers, narrow) == greedy
    assert rollouts.answer_batch(model, answers, replace(narrow, top_p=1.0)) != greedy


@pytest.mark.slow
def test_killed_it_goes_on_where_it_was(run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL while each model answers, twice for one of them, and a last line that is cut short."""
    sampling = RolloutSampling(tokens=30, temperature=1.5, top_p=0.95, seed=3, batch=1)
    settings, asked, folder = tmp_path / "run.yaml", tmp_path / "asked.jsonl", tmp_path / "killed"
    settings.write_text(config.dump(run), encoding="utf-8")
    asked.write_text("\n".join(json.dumps({"text": text}) for _, text in tiny.texts(24)), encoding="utf-8")
    command = ["-m", "dfc", "rollouts", str(settings), "--prompts", str(asked), "--folder", str(folder)]
    command += ["--tokens", "30", "--temperature", "1.5", "--top-p", "0.95", "--seed", "3", "--batch", "1"]
    finished = 0
    for side in ("a", "b", "b"):
        batches = folder / f"{side}.batches"
        process = processes.start(*command)
        while process.poll() is None and not (batches.exists() and batches.read_bytes().count(b"\n") >= finished + 3):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        batches.write_bytes(batches.read_bytes()[:-7])
        assert not (folder / f"{side}.jsonl").exists()
        finished = batches.read_bytes().count(b"\n") if side == "b" else 0
    assert finished >= 4

    calls = []
    answer_batch = rollouts.answer_batch

    def counted(model: LoadedModel, *arguments: Any) -> list[str]:
        calls.append(model.title)
        return answer_batch(model, *arguments)

    monkeypatch.setattr(rollouts, "answer_batch", counted)
    prompts = rollouts.read_prompts(str(asked))
    rollouts.write(run, prompts, sampling, folder)
    assert calls == ["tiny-gemma"] * (len(prompts) - finished)
    rollouts.write(run, prompts, sampling, tmp_path / "whole")
    for side in ("a", "b"):
        assert (folder / f"{side}.jsonl").read_bytes() == (tmp_path / "whole" / f"{side}.jsonl").read_bytes()
    assert not list(folder.glob("*.batches"))


def test_on_the_command_line(run: RunConfig, tmp_path: Path, data: Path) -> None:
    settings, asked = tmp_path / "run.yaml", tmp_path / "asked.jsonl"
    settings.write_text(config.dump(run), encoding="utf-8")
    lines = [{"prompt": "Will it rain?"}, {"prompt": "河"}, {"prompt": "Why?", "response": "It will."}, {"other": 1}]
    asked.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    command = ["rollouts", str(settings), "--prompts", str(asked), "--tokens", "12", "--limit", "2"]
    first = dfc(*command)
    assert first.returncode == 0, first.stderr
    folder = data / "texts" / "rollouts" / "tiny"
    assert yaml.safe_load(first.stdout) == {
        "sources": [
            {"name": "tiny-llama", "path": str(folder / "a.jsonl")},
            {"name": "tiny-gemma", "path": str(folder / "b.jsonl")},
        ]
    }
    for words in (
        "asking tiny-llama",
        "asking tiny-gemma",
        "2/2",
        "answers/s",
        "tiny-gemma: 2 answers; 0 more were empty",
    ):
        assert words in first.stderr
    assert not (data / "runs").exists()
    for side in ("a", "b"):
        asked_there = {row["messages"][-2]["content"] for row in rows(folder / f"{side}.jsonl")}
        assert len(asked_there) == 2
        assert asked_there < {"Will it rain?", "河", "Why?"}

    again = dfc(*command)
    assert again.stderr.count("has answered already") == 2
    assert again.stdout == first.stdout


def test_chats_end_with_the_last_turn_of_the_user_and_are_asked_once(tmp_path: Path) -> None:
    def said(*turns: tuple[str, str]) -> dict[str, Any]:
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    lines = [
        said(("system", "Be brief."), ("user", "Why?"), ("assistant", "So."), ("user", "So?"), ("assistant", "Yes.")),
        said(("user", "Why?"), ("assistant", "So.")),
        said(("user", "Why?"), ("assistant", "Who knows.")),
        said(("assistant", "Hello.")),
        {"text": "The river"},
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    found = {tuple((turn.role, turn.content) for turn in prompt.turns) for prompt in rollouts.read_prompts(str(path))}
    assert found == {
        (("system", "Be brief."), ("user", "Why?"), ("assistant", "So."), ("user", "So?")),
        (("user", "Why?"),),
        (("text", "The river"),),
    }
    assert len(rollouts.read_prompts(str(path))) == 3
    assert rollouts.read_prompts(str(path), limit=2) == rollouts.read_prompts(str(path))[:2]

    path.write_text(json.dumps(lines[3]), encoding="utf-8")
    with pytest.raises(UserError, match="holds no prompt: 1 chats in which no user says anything, the first at"):
        rollouts.read_prompts(str(path))
    path.write_text('{"question": "Why?"}', encoding="utf-8")
    with pytest.raises(UserError, match="1 rows without a usable `text` or `messages`"):
        rollouts.read_prompts(str(path))
    with pytest.raises(UserError, match=r"none\.jsonl: no such file"):
        rollouts.read_prompts(str(tmp_path / "none.jsonl"))


def test_what_a_template_refuses_is_counted_and_the_others_are_asked(
    run: RunConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    load = models.load

    def picky(config: ModelConfig) -> LoadedModel:
        model = load(config)
        if model.is_chat:
            refuses = "{% if 'Snow' in messages[-1]['content'] %}{{ raise_exception('no snow') }}{% endif %}"
            model.tokenizer.chat_template = refuses + tiny.CHATML
        return model

    monkeypatch.setattr(models, "load", picky)
    spelled = "Rain <|im_end|>?"
    prompts = [chat("Snow?"), chat("Rain?"), chat(spelled)]
    noted = corpus.Tally()
    answers = rollouts.planned(picky(run.models.a), prompts, GREEDY, noted=noted)
    assert [answer.prompt for answer in sorted(answers, key=lambda answer: answer.number)] == prompts[1:]
    assert (noted.rows, noted.first["refused"]) == ({"refused": 1, "spelled": 1}, "prompt 1")
    with pytest.raises(UserError, match=r"tiny-llama: its chat template refuses all 1 prompts \(no snow\)"):
        rollouts.planned(picky(run.models.a), prompts[:1], GREEDY)
    rollouts.write(run, prompts, GREEDY, tmp_path)
    said = capsys.readouterr().err
    assert (
        "tiny-llama: 1 chats that its template refuses, which it is not given, the first at prompt 1 (no snow)" in said
    )
    assert "tiny-gemma: 3 chats given as “User: …”" in said
    assert "name a file with its template in `models.b.template`" in said
    assert said.count("0 of 3 prompts left no room") == 2


def test_a_base_model_does_not_speak_for_the_user(run: RunConfig) -> None:
    base, chat_model = models.load(run.models.b), models.load(run.models.a)
    for loaded, said in ((base, " It will."), (chat_model, " It will.\n\nUser: Why?")):
        [answer] = rollouts.planned(loaded, [chat("Will it rain?")], GREEDY)
        tokens = loaded.tokenizer(" It will.\n\nUser: Why?", add_special_tokens=False)["input_ids"]
        assert rollouts.text_of(loaded, answer, tokens) == said


def test_what_is_said_is_decoded_after_its_prompt(run: RunConfig) -> None:
    """No special token, half a character or lost space."""
    base = models.load(run.models.b)
    pieces = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    base.tokenizer.backend_tokenizer.decoder = decoders.Sequence(pieces)  # drops a space at the start, as Llama 2's
    [answer] = rollouts.planned(base, [plain("The old")], GREEDY)
    tokens = base.tokenizer(" bridge 河", add_special_tokens=False)["input_ids"]
    half = base.tokenizer.convert_tokens_to_ids(["<0xE6>", "<0xB2>"])
    text = rollouts.text_of(base, answer, [base.tokenizer.bos_token_id, *tokens, *half])
    assert rollouts.row(base, answer, text) == {"text": "The old bridge 河", "model": "tiny-gemma"}


def test_empty_answers_and_prompts_that_are_too_long_are_left_out_and_counted(
    run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = [*PROMPTS, plain("a b c " * 300)]
    answer_batch, silent = rollouts.answer_batch, {"tiny-llama": {1, 4}, "tiny-gemma": {0}}

    def some_empty(model: LoadedModel, batch: list[rollouts.Answer], sampling: RolloutSampling) -> list[str]:
        texts = answer_batch(model, batch, sampling)
        return [
            "\n" if answer.number in silent[model.title] else f"{text}x"
            for answer, text in zip(batch, texts, strict=True)
        ]

    monkeypatch.setattr(rollouts, "answer_batch", some_empty)
    rollouts.write(run, prompts, GREEDY, tmp_path)
    said = capsys.readouterr().err
    assert "tiny-llama: 4 answers; 2 more were empty, 1 of 7 prompts left no room for 12 new tokens" in said
    assert "tiny-gemma: 5 answers; 1 more were empty, 1 of 7 prompts" in said
    assert (len(rows(tmp_path / "a.jsonl")), len(rows(tmp_path / "b.jsonl"))) == (4, 5)

    silent["tiny-llama"] = set(range(len(prompts)))
    with pytest.raises(UserError, match="tiny-llama: all 6 answers are empty"):
        rollouts.write(run, prompts, GREEDY, tmp_path / "silent")
    with pytest.raises(UserError, match=r"none of the 1 prompts leaves room for 12 new tokens in max_tokens \(256\)"):
        rollouts.write(run, prompts[-1:], GREEDY, tmp_path / "long")


def test_what_cannot_be_done_is_one_sentence(run: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the 2 samples of a prompt would be the same"):
        rollouts.write(run, PROMPTS, replace(GREEDY, samples=2), tmp_path)
    settings = run.model_dump(mode="json")
    settings["models"]["b"]["layer"] = 9
    with pytest.raises(UserError, match="there is no layer 9"):
        rollouts.write(config.parse(settings, origin="test"), PROMPTS[:1], GREEDY, tmp_path)
    assert rows(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match=r"tiny-llama were begun with other settings \(seed: 0 there, 1 now\); give"):
        rollouts.write(run, PROMPTS[:1], replace(GREEDY, seed=1), tmp_path)
    with pytest.raises(UserError, match=r"begun with other settings \(prompts: '1 with hash"):
        rollouts.write(run, PROMPTS[:2], GREEDY, tmp_path)
    (tmp_path / "b.batches").write_text("no JSON\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"b\.batches: is damaged .* delete it"):
        rollouts.write(run, PROMPTS[:1], GREEDY, tmp_path)
    (tmp_path / "b.batches").unlink()
    (tmp_path / "a.yaml").unlink()
    with pytest.raises(UserError, match=r"a\.yaml: is missing; delete .* and start again"):
        rollouts.write(run, PROMPTS[:1], GREEDY, tmp_path)
