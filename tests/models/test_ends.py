"""One rule for where an answer ends, in rollouts and in steering."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dfc import models
from dfc.config import ModelConfig
from dfc.corpus import Turn, plain
from dfc.models import LoadedModel, rollouts
from dfc.requests import Prompt, RolloutSampling, Sampling
from dfc.steering.generation import BASELINE, generate, stream_rows
from tests import tiny


def says(model: LoadedModel, text: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make a model write a text, whatever it is asked, and then the letter a."""
    script = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    [after] = model.tokenizer("a", add_special_tokens=False)["input_ids"][-1:]
    forward, seen = model.model.forward, [0]

    def scripted(*arguments: object, **keywords: object) -> object:
        out = forward(*arguments, **keywords)
        logits = torch.full_like(out.logits, -1e9)
        logits[:, -1, script[seen[0]] if seen[0] < len(script) else after] = 0
        seen[0] += 1
        out.logits = logits
        return out

    monkeypatch.setattr(model.model, "forward", scripted)
    return script


@pytest.fixture
def chat_model(tiny_models: tuple[Path, Path]) -> LoadedModel:
    """One of which only the template tells where a turn ends."""
    model = models.load(ModelConfig(source=str(tiny_models[0]), layer=2))
    model.tokenizer.eos_token = "<|endoftext|>"
    model.model.generation_config.eos_token_id = model.tokenizer.eos_token_id
    return model


def test_the_ends_are_what_the_model_the_tokenizer_and_the_template_name(
    chat_model: LoadedModel, tiny_models: tuple[Path, Path]
) -> None:
    base = models.load(ModelConfig(source=str(tiny_models[1]), layer=2))
    turn_end, text_end = chat_model.tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    chat_model.model.generation_config.eos_token_id = [7, text_end]
    assert models.ends(chat_model) == sorted({7, text_end, turn_end})
    assert models.ends(base) == [base.tokenizer.eos_token_id]


def test_the_end_of_a_turn_is_the_templates_own(chat_model: LoadedModel) -> None:
    named = ["<|im_end|>", "<|endoftext|>"]
    assert models.ends(chat_model) == sorted(chat_model.tokenizer.convert_tokens_to_ids(named))
    chat_model.tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    assert models.ends(chat_model) == [chat_model.tokenizer.eos_token_id]


def test_steering_ends_where_rollouts_do(chat_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    says(chat_model, "It will.<|im_end|>\n<|im_start|>user\nWhy?", monkeypatch)
    [answer] = generate(chat_model, Prompt("Rain?", chat=True), Sampling(30), [BASELINE])
    assert answer.text == "It will."
    monkeypatch.undo()
    says(chat_model, "It will.<|im_end|>\n<|im_start|>user\nWhy?", monkeypatch)
    sampling = RolloutSampling(tokens=30, temperature=0)
    planned = rollouts.planned(chat_model, [plain("Rain?")], sampling)
    assert rollouts.answer_batch(chat_model, planned, sampling) == ["It will."]


def test_a_model_without_a_template_does_not_speak_for_the_user(
    tiny_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.load(ModelConfig(source=str(tiny_models[1]), layer=2, max_tokens=200))
    earlier = (Turn("user", "Hello"), Turn("assistant", "Hi"))
    script = says(model, " It will.\n\nUser: Why?", monkeypatch)
    pieces = list(stream_rows(model, Prompt("Rain?", True, earlier), Sampling(40), [BASELINE]))
    assert "".join(piece.text for piece in pieces) == " It will."
    written = [token for piece in pieces for token in piece.tokens]
    assert written == script[: len(written)]
    assert model.tokenizer.decode(written) == " It will."
    assert pieces[-1].ended
    monkeypatch.undo()
    says(model, " One.\n\nTwo", monkeypatch)
    [answer] = generate(model, Prompt("Rain?", True, earlier), Sampling(len(script) // 2), [BASELINE])
    assert answer.text.startswith(" One.\n\nT")  # what was held back comes at the end


def test_channels_are_kept_apart(chat_model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    marks = ["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "<|return|>"]
    chat_model.tokenizer.add_special_tokens({"additional_special_tokens": marks})
    chat_model.model.resize_token_embeddings(len(chat_model.tokenizer))
    chat_model.model.generation_config.eos_token_id = chat_model.tokenizer.convert_tokens_to_ids("<|return|>")
    said = "<|channel|>analysis<|message|>Ask sky.<|end|><|start|>assistant<|channel|>final<|message|>Yes."
    says(chat_model, f"{said}<|return|>", monkeypatch)
    sampling = RolloutSampling(tokens=60, temperature=0)
    [answer] = rollouts.planned(chat_model, [plain("Rain?")], sampling)
    [text] = rollouts.answer_batch(chat_model, [answer], sampling)
    assert text == said
    row = rollouts.row(chat_model, answer, text)
    assert row is not None
    assert (row["answer"], row["reasoning"]) == ("Yes.", "Ask sky.")
    assert row["messages"][-1] == {"role": "assistant", "content": "Yes.", "reasoning_content": "Ask sky."}
    monkeypatch.undo()
    says(chat_model, f"{said}<|return|>", monkeypatch)
    [steered] = generate(chat_model, Prompt("Rain?", chat=True), Sampling(60), [BASELINE])
    assert steered.text == said


def test_a_thought_that_the_template_opens_is_opened_in_the_answer(
    chat_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_model.tokenizer.chat_template = tiny.CHATML.replace("|>assistant\n", "|>assistant\n<think>\n")
    for ask in ("rollouts", "steering"):
        says(chat_model, "Wet.\n</think>\n\nYes.<|im_end|>", monkeypatch)
        if ask == "steering":
            [answer] = generate(chat_model, Prompt("Rain?", chat=True), Sampling(60), [BASELINE])
            assert answer.text == "<think>\nWet.\n</think>\n\nYes."
        else:
            sampling = RolloutSampling(tokens=60, temperature=0)
            [planned] = rollouts.planned(chat_model, [plain("Rain?")], sampling)
            row = rollouts.row(chat_model, planned, rollouts.answer_batch(chat_model, [planned], sampling)[0])
            assert row is not None
            assert (row["answer"], row["reasoning"]) == ("Yes.", "Wet.")
        monkeypatch.undo()
