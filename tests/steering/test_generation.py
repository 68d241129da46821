"""Generation with interventions against plain hooks, on both tiny models."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dfc import corpus, models
from dfc.config import ModelConfig, UserError
from dfc.corpus import Turn
from dfc.families import build
from dfc.machine import workers
from dfc.models import LoadedModel, stream_of
from dfc.requests import Edit, Prompt, Sampling, Where
from dfc.steering import generation
from dfc.steering.answers import Answer
from dfc.steering.draws import Draw
from dfc.steering.edits import Action, Program
from dfc.steering.generation import (
    BASELINE,
    Record,
    Row,
    encode_prompt,
    generate,
    stream,
    stream_batch,
    stream_rows,
)
from dfc.steering.vectors import SteeringVector
from tests import tiny

PROMPT = Prompt("The old bridge")


@pytest.fixture(scope="module", params=["a", "b"])
def model(request: pytest.FixtureRequest, tiny_models: tuple[Path, Path]) -> LoadedModel:
    folder = tiny_models[0 if request.param == "a" else 1]
    return models.load(ModelConfig(source=str(folder), layer=2, max_tokens=128))


def vector_for(model: LoadedModel, seed: int = 0) -> SteeringVector:
    return SteeringVector("a", 0, 3 * torch.randn(model.width, generator=torch.Generator().manual_seed(seed)))


def adding(vector: SteeringVector, strength: float) -> Program:
    return Program((Action(Edit("a", 0, strength=strength), vector),))


def plain(model: LoadedModel, tokens: int, added: Tensor | None = None) -> str:
    """transformers' own greedy generation, steered by a forward hook."""

    def add(module: Any, inputs: Any, output: Any) -> Any:
        if added is None:
            return output
        return (output[0] + added, *output[1:]) if isinstance(output, tuple) else output + added

    ids = encode_prompt(model, PROMPT, tokens)
    handle = model.site.register_forward_hook(add)
    try:
        with torch.no_grad():
            out = model.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    finally:
        handle.remove()
    text = model.tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    return text.rstrip("\ufffd")  # a character whose bytes are not complete is not shown


@pytest.mark.parametrize("strength", [-2.0, 0.0, 0.5, 4.0])
def test_equals_a_plain_hook(model: LoadedModel, strength: float) -> None:
    vector = vector_for(model)
    steered = "".join(stream(model, PROMPT, Sampling(12), adding(vector, strength)))
    assert steered == plain(model, 12, strength * vector.vector)


def test_without_a_vector_nothing_is_changed(model: LoadedModel) -> None:
    baseline = plain(model, 12)
    assert "".join(stream(model, PROMPT, Sampling(12))) == baseline
    assert "".join(stream(model, PROMPT, Sampling(12), adding(vector_for(model), 0.0))) == baseline


def test_the_same_seed_gives_the_same_text(model: LoadedModel) -> None:
    def text(seed: int) -> str:
        return "".join(stream(model, PROMPT, Sampling(20, temperature=1.5, seed=seed)))

    assert text(3) == text(3)
    assert len({text(seed) for seed in range(4)}) > 1


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_side_by_side_gives_what_each_gives_alone(model: LoadedModel, temperature: float) -> None:
    sampling = Sampling(16, temperature, top_p=0.9, seed=1)
    programs = [BASELINE, adding(vector_for(model), 1.0), adding(vector_for(model, 1), -1.0), BASELINE]
    answers = generate(model, PROMPT, sampling, programs)
    assert answers == [generate(model, PROMPT, sampling, [program])[0] for program in programs]
    assert len({answer.text for answer in answers}) == 3
    for answer in answers:
        assert answer.text == model.tokenizer.decode(answer.tokens, skip_special_tokens=True).rstrip("\ufffd")


@pytest.mark.parametrize("temperature", [0.0, 1.5])
@pytest.mark.parametrize("where", ["all", "prompt", "generated"])
def test_continuations_of_several_prompts_are_what_each_is_alone(
    model: LoadedModel, where: Where, temperature: float
) -> None:
    """Prompts of different length, of which the shorter are padded, each with seeds and programs of its own."""
    program = Program((Action(Edit("a", 0, where=where, strength=1.0), vector_for(model)),))
    prompts = [PROMPT, Prompt("今天"), Prompt("The old bridge over the river was", True)]
    rows = [Row(prompt, one, seed) for prompt in prompts for one, seed in ((BASELINE, 1), (program, 1), (program, 2))]
    answers, record, sampling = [Answer() for _ in rows], Record(), Sampling(12, temperature, 0.9)
    for piece in stream_batch(model, rows, sampling, record=record):
        answers[piece.row].add(piece)
    for place, (row, answer) in enumerate(zip(rows, answers, strict=True)):
        alone = Sampling(12, temperature, 0.9, row.seed)
        assert [answer] == generate(model, row.prompt, alone, [row.program])
        if temperature == 0:
            assert [int(step[place].argmax()) for step in record.logits[: len(answer.tokens)]] == answer.tokens
    assert len({answer.text for answer in answers}) >= (9 if temperature else 6) - 2


def test_a_draw_has_the_probabilities_that_are_asked_for(model: LoadedModel) -> None:
    """The first token over many seeds, against softmax at that temperature."""
    ids = encode_prompt(model, PROMPT, 1)
    with torch.no_grad():
        expected = (model.model(ids).logits[0, -1] / 0.7).softmax(dim=0)
    draws = 2_000
    scores = expected.log()[None] * 0.7
    drawn = torch.stack([Draw(Sampling(1, 0.7), [seed])(ids, scores).argmax() for seed in range(draws)])
    counted = torch.bincount(drawn, minlength=len(expected)) / draws
    assert float((counted - expected).abs().max()) < 5 * (0.25 / draws) ** 0.5


@pytest.mark.parametrize("count", [1, 3])
def test_a_stopped_row_ends_where_it_is_and_the_others_go_on(model: LoadedModel, count: int) -> None:
    """Row 0 is stopped after `count` tokens; the other is what it would be alone."""
    vector, answers = vector_for(model), [Answer(), Answer()]
    programs = [BASELINE, adding(vector, 1.0)]

    def stopped(row: int) -> bool:
        return row == 0 and len(answers[0].tokens) >= count

    for piece in stream_rows(model, PROMPT, Sampling(12), programs, stopped=stopped):
        answers[piece.row].add(piece)
    whole = [generate(model, PROMPT, Sampling(12), [program])[0] for program in programs]
    assert answers[1] == whole[1]
    assert len(answers[0].tokens) < 12
    assert whole[0].text.startswith(answers[0].text)


def test_once_all_rows_are_stopped_the_model_is_free(model: LoadedModel) -> None:
    tokens = [0, 0]
    for piece in stream_rows(
        model, PROMPT, Sampling(100), [BASELINE, BASELINE], stopped=lambda row: tokens[row] > 2 + row
    ):
        tokens[piece.row] += len(piece.tokens)
    assert max(tokens) < 20
    assert freed(model)


def test_who_waits_for_a_model_can_stop(model: LoadedModel) -> None:
    with model.lock:
        pieces = list(stream_rows(model, PROMPT, Sampling(3), [BASELINE], stopped=Times(2)))
    assert [(piece.text, piece.waiting) for piece in pieces] == [("", True)] * 2
    assert freed(model)


def test_a_row_says_that_the_model_ended_it(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = [BASELINE, adding(vector_for(model), 1.0)]
    whole = [generate(model, PROMPT, Sampling(16), [program])[0].tokens for program in programs]
    end = next(token for token in whole[0] if token not in whole[1])
    monkeypatch.setattr(model.model.generation_config, "eos_token_id", end)
    pieces = list(stream_rows(model, PROMPT, Sampling(16), programs))
    assert [piece.row for piece in pieces if piece.ended] == [0]
    written = [[token for piece in pieces if piece.row == row for token in piece.tokens] for row in (0, 1)]
    assert written == [whole[0][: whole[0].index(end)], whole[1]]


class Times:
    """False so many times, then true."""

    def __init__(self, count: int) -> None:
        self.left = count

    def __call__(self, row: int) -> bool:
        self.left -= 1
        return self.left < 0


def freed(model: LoadedModel) -> bool:
    """Whether nobody holds the model any more, or soon will not."""
    for _ in range(200):
        if not model.lock.locked():
            return True
        time.sleep(0.05)
    return False


def test_a_token_for_padding_without_a_vector(
    model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands in rows that the model ended, while others go on."""
    shutil.copytree(model.config.source, tmp_path / "padded")
    tiny.add_padding(tmp_path / "padded")
    padded = models.load(model.config.model_copy(update={"source": str(tmp_path / "padded")}))
    programs = [BASELINE, adding(vector_for(model), 1.0)]
    whole = [generate(model, PROMPT, Sampling(16), [program])[0].tokens for program in programs]
    end = next(token for token in whole[0] if token not in whole[1])
    monkeypatch.setattr(padded.model.generation_config, "eos_token_id", end)
    found = [answer.tokens for answer in generate(padded, PROMPT, Sampling(16), programs)]
    assert found == [whole[0][: whole[0].index(end)], whole[1]]


def test_closing_frees_the_model(model: LoadedModel) -> None:
    pieces = stream(model, PROMPT, Sampling(100), adding(vector_for(model), 1.0))
    next(pieces)
    assert model.lock.locked()
    pieces.close()
    assert freed(model)


def test_the_end_of_the_process_ends_a_text_within_a_token(model: LoadedModel) -> None:
    pieces = stream(model, PROMPT, Sampling(100), adding(vector_for(model), 1.0))
    next(pieces)
    assert workers.end()
    assert not model.lock.locked()
    with pytest.raises(SystemExit):  # no reader takes it for a text that came to its end
        list(pieces)


def test_two_readers_of_one_model_both_get_their_text(model: LoadedModel) -> None:
    vectors = [vector_for(model, seed) for seed in range(3)]
    texts: dict[int, str] = {}

    def read(number: int) -> None:
        texts[number] = "".join(stream(model, PROMPT, Sampling(10), adding(vectors[number], 1.0)))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == {number: plain(model, 10, vector.vector) for number, vector in enumerate(vectors)}


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [("  \n", "the prompt is empty"), ("word " * 300, "shorten it, or ask for fewer new tokens")],
)
def test_what_cannot_be_generated_is_said_at_once(model: LoadedModel, prompt: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        stream(model, Prompt(prompt), Sampling(10), adding(vector_for(model), 1.0))
    assert not model.lock.locked()


class TestChats:
    EARLIER = (Turn("system", "Be brief"), Turn("user", "The old"), Turn("assistant", "bridge \ud800"))

    def test_turns_stand_in_the_models_own_template(self, tiny_models: tuple[Path, Path]) -> None:
        model = models.load(ModelConfig(source=str(tiny_models[0]), layer=2))
        said = [{"role": turn.role, "content": turn.content} for turn in (*self.EARLIER, Turn("user", "and now"))]
        said[2]["content"] = "bridge ?"
        expected = model.tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=False)
        assert encode_prompt(model, Prompt("and now", True, self.EARLIER), 5)[0].tolist() == expected
        alone = model.tokenizer.apply_chat_template(said[3:], add_generation_prompt=True, return_dict=False)
        assert encode_prompt(model, Prompt("and now", True), 5)[0].tolist() == alone

    def test_without_a_template_turns_are_named_and_a_prompt_alone_is_not(self, tiny_models: tuple[Path, Path]) -> None:
        model = models.load(ModelConfig(source=str(tiny_models[1]), layer=2, max_tokens=128))
        whole = "System: Be brief\n\nUser: The old\n\nAssistant: bridge ?\n\nUser: and now\n\nAssistant:"
        assert (
            encode_prompt(model, Prompt("and now", True, self.EARLIER), 5)[0].tolist()
            == model.tokenizer(whole).input_ids
        )
        for chat, earlier in ((True, ()), (False, ()), (False, self.EARLIER)):
            plainly = encode_prompt(model, Prompt("and now", chat, earlier), 5)[0].tolist()
            assert plainly == model.tokenizer("and now").input_ids

    def test_special_tokens_that_a_prompt_spells_out_are_named(self, model: LoadedModel) -> None:
        spelled = next(iter(corpus.special_tokens(model.tokenizer).values()))
        for text, named in ((f"the old {spelled} bridge", True), ("the old bridge", False)):
            for chat in (False, True):
                said = generation.remarks(model, Prompt(text, chat))
                assert [spelled in words and "read as text" in words for words in said] == [True] * named

    def test_what_was_said_changes_the_answer(self, model: LoadedModel) -> None:
        answers = {
            earlier: generate(model, Prompt(PROMPT.text, True, earlier), Sampling(12), [BASELINE])[0].text
            for earlier in ((), self.EARLIER[:1], self.EARLIER)
        }
        assert len(set(answers.values())) > 1


@pytest.fixture(scope="module", params=["switched off", "none"])
def cacheless(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """A model whose settings switch its cache off, and one that has none."""
    folder = tmp_path_factory.mktemp("cacheless")
    build.make("llama" if request.param == "switched off" else "openai-gpt", folder)
    if request.param == "switched off":  # as training leaves it
        for name in ("config.json", "generation_config.json"):
            path = folder / name
            path.write_text(json.dumps({**json.loads(path.read_text()), "use_cache": False}))
    return models.load(ModelConfig(source=str(folder), layer=1, max_tokens=64))


@pytest.mark.parametrize("where", ["all", "prompt", "generated"])
def test_an_edit_lies_where_it_says_without_a_cache(where: Where, cacheless: LoadedModel) -> None:
    model = cacheless
    vector = vector_for(model)
    edit = Edit("a", 0, strength=1.0, where=where)
    [answer] = generate(model, PROMPT, Sampling(8), [Program((Action(edit, vector),))])
    ids = encode_prompt(model, PROMPT, 8)
    prompt = ids.shape[1]
    expected: list[int] = []

    def write(module: Any, inputs: Any, output: Any) -> None:
        chosen = {"all": slice(None), "prompt": slice(prompt), "generated": slice(prompt, None)}[where]
        stream_of(output)[:, chosen] += vector.vector

    handle = model.site.register_forward_hook(write)
    with torch.no_grad():  # the whole text for each token
        while len(expected) < 8:
            best = int(model.model(ids, use_cache=False).logits[0, -1].argmax())
            if best == model.tokenizer.eos_token_id:
                break
            expected.append(best)
            ids = torch.cat([ids, torch.tensor([[best]])], dim=1)
    handle.remove()
    assert answer.tokens == expected


def test_a_text_keeps_its_last_characters(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last token ends inside a character; those before it are whole, and are given."""
    first, second, third = "˰".encode()[:1], "˰".encode()[1:] + "ˑ".encode()[:1], "ˑ".encode()[1:]
    spelled = {101: first, 102: second, 103: third}

    def decode(ids: list[int], **given: object) -> str:
        return b"".join(spelled[token] for token in ids).decode("utf-8", errors="replace")

    monkeypatch.setattr(model.tokenizer, "decode", decode)
    for tokens, text in (([101, 102], "˰"), ([101], ""), ([101, 102, 103], "˰ˑ")):
        batches = iter([[token] for token in tokens])
        monkeypatch.setattr(generation, "read", lambda *_, batches=batches: (batch for batch in batches))
        [answer] = generate(model, PROMPT, Sampling(3), [BASELINE])
        assert (answer.text, answer.tokens) == (text, tokens)
