"""Answers of the two models of a run: equal to those given alone, kept through a kill, and a corpus for a run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM

from dfc import config, corpus, models, rollouts, runs
from dfc.activations import pairing
from dfc.config import CorpusConfig, ModelConfig, RunConfig, SourceConfig, UserError
from dfc.corpus import Document, Turn, plain
from dfc.models import LoadedModel
from dfc.rollouts import Sampling
from tests import tiny
from tests.test_cli import ROOT, dfc
from tests.test_families import FAMILIES, TOKENIZER

GREEDY = Sampling(tokens=12, temperature=0.0)
DRAWN = Sampling(samples=2, tokens=10, temperature=1.5, top_p=0.95, seed=3, batch=3)
ASKED = ["a", "The old bridge.", "北京的河流在老桥下面缓缓流过，人们站在岸边谈论着天气。", "x = read('a.txt')\n" * 2]


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


def alone(model: LoadedModel, ids: list[int], tokens: int) -> list[int]:
    """Greedy tokens by one forward pass over the whole sequence for each."""
    sequence = list(ids)
    with torch.no_grad():
        for _ in range(tokens):
            sequence.append(int(model.model(torch.tensor([sequence]), use_cache=False).logits[0, -1].argmax()))
    return sequence[len(ids) :]


@pytest.mark.parametrize("family", FAMILIES)
def test_greedy_in_a_batch_equals_alone(family: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    folder = tiny.save(tmp_path, AutoModelForCausalLM.from_config(FAMILIES[family][1]), TOKENIZER)
    model = models.load(ModelConfig(source=str(folder), layer=1))
    prompts = [answer.ids for answer in rollouts.planned(model, PROMPTS, GREEDY)]
    assert len({len(ids) for ids in prompts}) > 3
    together = rollouts._generate(model, prompts, GREEDY, ends=[])
    assert together == [alone(model, ids, GREEDY.tokens) for ids in prompts]


def test_an_answer_stops_before_the_first_end(model: LoadedModel) -> None:
    prompts = [answer.ids for answer in rollouts.planned(model, PROMPTS, GREEDY)]
    whole = rollouts._generate(model, prompts, GREEDY, ends=[])
    end = whole[0][3]
    stopped = rollouts._generate(model, prompts, GREEDY, ends=[end])
    assert stopped == [tokens[: tokens.index(end)] if end in tokens else tokens for tokens in whole]
    assert len(stopped[0]) <= 3


def test_the_ends_are_what_the_model_the_tokenizer_and_the_template_name(run: RunConfig) -> None:
    chat_model, base = models.load(run.models.a), models.load(run.models.b)
    turn_end, text_end = chat_model.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    chat_model.tokenizer.eos_token = "<|endoftext|>"
    chat_model.model.generation_config.eos_token_id = [7, text_end]
    assert rollouts._ends(chat_model) == sorted({7, text_end, turn_end})
    assert rollouts._ends(base) == [base.tokenizer.eos_token_id]


def test_a_batch_too_large_for_the_memory_is_answered_in_halves(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = rollouts.planned(model, PROMPTS, GREEDY)
    whole = rollouts.answer_batch(model, answers, GREEDY, seed=0)
    generate, room = model.model.generate, 2

    def short_of_memory(input_ids: torch.Tensor, **settings: Any) -> Any:
        if len(input_ids) > room:
            raise torch.OutOfMemoryError
        return generate(input_ids=input_ids, **settings)

    monkeypatch.setattr(model.model, "generate", short_of_memory)
    assert rollouts.answer_batch(model, answers, GREEDY, seed=0) == whole
    room = 0
    with pytest.raises(UserError, match=r"no memory for \d+ tokens; ask for fewer"):
        rollouts.answer_batch(model, answers, GREEDY, seed=0)


def test_what_is_written(run: RunConfig, tmp_path: Path) -> None:
    made = rollouts.write(run, PROMPTS, DRAWN, tmp_path / "out")
    for side, is_chat in (("a", True), ("b", False)):
        written = rows(tmp_path / "out" / f"{side}.jsonl")
        assert {row["model"] for row in written} == {run.models.side(side).title}  # type: ignore[arg-type]
        asked = []
        for row in written:
            if "text" in row:
                [prompt] = [text for text in ASKED if row["text"].startswith(text.strip()) and len(text) > 1] or ["a"]
                assert not is_chat
                assert len(row["text"]) > len(prompt.strip())
            else:
                *turns, answer = row["messages"]
                assert answer["role"] == "assistant"
                assert answer["content"].strip() == answer["content"] != ""
                assert not re.search("<.im_|<eos>|<bos>", answer["content"])
                prompt = " / ".join(turn["content"] for turn in turns)
            asked.append(prompt)
        every = [" / ".join(turn.content for turn in prompt.turns) for prompt in PROMPTS]
        assert set(asked) <= set(every)
        assert len(set(asked)) >= 5
        assert [every.index(prompt) for prompt in asked] == sorted(every.index(prompt) for prompt in asked)
        assert any(one == other for one, other in pairwise(asked))  # both samples
    assert len({row["text"] for row in rows(tmp_path / "out" / "b.jsonl") if "text" in row}) > 4
    sources = yaml.safe_load(rollouts.sources_yaml(made))["sources"]
    assert sources == [
        {"name": "tiny-llama", "path": str(tmp_path / "out" / "a.jsonl")},
        {"name": "tiny-gemma", "path": str(tmp_path / "out" / "b.jsonl")},
    ]
    assert config.load(tmp_path / "out" / "rollouts.yaml") == made


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


def test_drawn_answers_follow_the_seed_and_greedy_ones_not_even_the_batch(model: LoadedModel) -> None:
    def said(sampling: Sampling) -> dict[int, str]:
        answers = rollouts.planned(model, PROMPTS, sampling)
        found = {}
        for number, first in enumerate(range(0, len(answers), sampling.batch)):
            batch = answers[first : first + sampling.batch]
            texts = rollouts.answer_batch(model, batch, sampling, rollouts._batch_seed(sampling.seed, number))
            found |= {answer.number: text for answer, text in zip(batch, texts, strict=True)}
        return found

    first = said(DRAWN)
    torch.rand(5)  # what else was drawn in the process makes no difference
    assert said(DRAWN) == first
    assert said(replace(DRAWN, seed=4)) != first
    assert any(first[number] != first[number + 1] for number in range(0, len(first), 2))
    greedy = said(GREEDY)
    assert greedy == said(replace(GREEDY, batch=1, seed=9)) == said(replace(GREEDY, batch=4))


def test_at_little_top_p_only_the_likeliest_token_is_drawn(model: LoadedModel) -> None:
    answers = rollouts.planned(model, PROMPTS, GREEDY)
    narrow = replace(DRAWN, tokens=GREEDY.tokens, top_p=1e-6)
    greedy = rollouts.answer_batch(model, answers, GREEDY, seed=0)
    assert rollouts.answer_batch(model, answers, narrow, seed=0) == greedy
    assert rollouts.answer_batch(model, answers, replace(narrow, top_p=1.0), seed=0) != greedy


def test_killed_at_any_moment_it_comes_to_the_same(run: RunConfig, tmp_path: Path) -> None:
    """SIGKILL in the middle, and a last line that is cut short, again and again."""
    prompts = [plain(text) for _, text in tiny.texts(30)]
    sampling = replace(DRAWN, samples=1, batch=2)
    rollouts.write(run, prompts, sampling, tmp_path / "whole")
    asked, settings, killed = tmp_path / "asked.jsonl", tmp_path / "run.yaml", tmp_path / "killed"
    asked.write_text("\n".join(json.dumps({"text": prompt.turns[0].content}) for prompt in prompts))
    settings.write_text(config.dump(run))
    command = [sys.executable, "-m", "dfc", "rollouts", str(settings), "--prompts", str(asked)]
    command += ["--folder", str(killed), "--tokens", "10", "--temperature", "1.5", "--top-p", "0.95"]
    command += ["--seed", "3", "--batch", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    rollouts.write(run, rollouts.read_prompts(str(asked)), sampling, tmp_path / "whole")
    for side in ("a", "b"):
        kept = killed / f"{side}.batches"
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (kept.exists() and kept.read_bytes().count(b"\n") >= 3):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = kept.read_bytes()
        assert not (killed / f"{side}.jsonl").exists()
        kept.write_bytes(before[:-7])
    rollouts.write(run, rollouts.read_prompts(str(asked)), sampling, killed)
    for side in ("a", "b"):
        assert (killed / f"{side}.jsonl").read_bytes() == (tmp_path / "whole" / f"{side}.jsonl").read_bytes()
        assert not (killed / f"{side}.batches").exists()
