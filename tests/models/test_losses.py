"""What models lose on each token, some words at a time and from a block on, against plain logits of whole passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

from dfc import models
from dfc.config import ModelConfig
from dfc.models import LoadedModel, losses
from tests import tiny
from tests.models.test_families import GROUPS, LAYER, TOKENIZER, TOKENS, WIDTH, family, model, padded_batch
from tests.models.test_positions import Phi3Config, made

__all__ = ["family", "model"]
IDS = [7, 80, 9, 211, 13, 5, 60, 399]


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many blocks of words as with a large vocabulary."""
    monkeypatch.setattr(losses, "_CPU_LOGITS", 700)


@pytest.mark.usefixtures("few_words")
def test_the_words_in_blocks_give_what_all_of_them_give(model: LoadedModel) -> None:
    ids, mask = padded_batch()
    found = losses.by_words(model, ids, mask)
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        alone = ids[row : row + 1, :length]
        with torch.no_grad():
            logs = model.model(alone).logits[0].double().log_softmax(-1)
        expected = [0.0] + [-float(logs[at - 1, alone[0, at]]) for at in range(1, length)]
        assert found[row, :length].tolist() == pytest.approx(expected, abs=1e-4)
        assert not found[row, length:].any()
    assert losses.plain(model, ids, mask)[0].tolist() == pytest.approx(found[0].tolist(), abs=1e-4)


@pytest.mark.usefixtures("few_words")
def test_what_was_read_is_gone_on_with(model: LoadedModel) -> None:
    assert losses.agree(model, IDS, LAYER)
    ids, mask = padded_batch()
    begin = [5, 0, 3]
    ran: list[str] = []
    inside = [next(model.blocks[number].children()) for number in (0, LAYER + 1)]
    handles = [
        one.register_forward_pre_hook(lambda module, inputs, name=name: ran.append(name))
        for one, name in zip(inside, ("before", "behind"), strict=True)
    ]
    first, last, lost = losses.streams_and_losses(model, [0, LAYER], ids, mask, torch.tensor(begin))
    for handle in handles:
        handle.remove()
    assert ran == ["before", "behind"]
    assert [stream.shape for stream in (first, last, lost)] == [(3, 12, WIDTH), (3, 12, WIDTH), (3, 12, 1)]
    for found, expected in zip((first, last), model.streams([0, LAYER], ids, mask), strict=True):
        assert torch.equal(found, expected)
    for row, count in ((0, 5), (2, 3)):
        plain = losses.plain(model, ids[row : row + 1, :count], mask[row : row + 1, :count]).cumsum(1)[0]
        assert lost[row, :count, 0].tolist() == pytest.approx(plain.tolist(), abs=1e-4)


def test_without_beginnings_nothing_is_run_twice(model: LoadedModel) -> None:
    ids, mask = padded_batch()
    stream, lost = losses.streams_and_losses(model, [LAYER], ids, mask, torch.zeros(3, dtype=torch.long))
    assert torch.equal(stream, model.streams([LAYER], ids, mask)[0])
    assert lost.shape == (3, 12, 1)
    assert not lost.any()


def llama(folder: Path) -> LoadedModel:
    torch.manual_seed(0)
    tiny.save(folder, AutoModelForCausalLM.from_config(LlamaConfig(**GROUPS)), TOKENIZER)
    return models.load(ModelConfig(source=str(folder), layer=LAYER))


def test_a_model_that_hands_on_more_than_its_stream_is_not_gone_on_with(tmp_path: Path) -> None:
    loaded = llama(tmp_path)
    kept: list[torch.Tensor] = []

    def keep(module: Any, inputs: tuple[Any, ...]) -> None:
        kept[:] = [inputs[0]]

    def mix(module: Any, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output + kept[0].roll(1, dims=-1)

    # What enters the first block comes into a later one past those between: without them it is another's.
    loaded.blocks[LAYER].self_attn.register_forward_pre_hook(
        lambda module, inputs, named: keep(module, (named["hidden_states"],)), with_kwargs=True
    )
    loaded.blocks[LAYER + 1].mlp.register_forward_hook(mix)
    assert losses.agree(loaded, IDS)
    assert losses.agree(loaded, IDS, 0)
    assert not losses.agree(loaded, IDS, LAYER)


def test_logits_that_depend_on_each_other_are_not_taken_apart(tmp_path: Path) -> None:
    loaded = llama(tmp_path)
    own = loaded.model.forward

    def centred(*given: Any, **named: Any) -> Any:
        output = own(*given, **named)
        output.logits = output.logits / output.logits.norm(dim=-1, keepdim=True)
        return output

    vars(loaded.model)["forward"] = centred
    assert not losses.agree(loaded, IDS)


def test_a_text_without_a_second_token_tells_nothing(tmp_path: Path) -> None:
    assert not losses.agree(llama(tmp_path), IDS[:1])


def test_a_beginning_that_would_be_read_otherwise_alone_waits_for_a_pass_of_its_own(tmp_path: Path) -> None:
    loaded = made(Phi3Config, tmp_path)  # other frequencies beyond a length (LongRoPE)
    assert losses.agree(loaded, IDS)
    assert not losses.agree(loaded, IDS, 1)


def test_an_unembedding_that_is_no_plain_matrix_is_left_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    settings = GPT2Config(**TOKENS, n_embd=WIDTH, n_layer=4, n_head=2, n_positions=64)
    tiny.save(tmp_path, AutoModelForCausalLM.from_config(settings), TOKENIZER)
    loaded = models.load(ModelConfig(source=str(tmp_path), layer=LAYER))
    assert losses.agree(loaded, IDS)
    loaded.model.set_output_embeddings(torch.nn.Sequential(loaded.model.get_output_embeddings()))
    assert not losses.agree(loaded, IDS)
