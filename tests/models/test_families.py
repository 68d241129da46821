"""Families of models, each as a tiny random one: the stream is found, read and edited alike in all of them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    GPTNeoConfig,
    GPTNeoXConfig,
    GptOssConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Olmo2Config,
    Phi3Config,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from dfc import models
from dfc.config import ModelConfig
from dfc.models import LoadedModel, stream_of
from dfc.requests import Sampling
from dfc.steering.generation import stream
from tests import tiny
from tests.steering.test_generation import PROMPT, adding, plain, vector_for

BLOCKS, LAYER, WIDTH = 4, 1, 16
TOKENIZER = tiny.byte_level_tokenizer()
TOKENS = {
    "vocab_size": len(TOKENIZER),
    "bos_token_id": TOKENIZER.bos_token_id,
    "eos_token_id": TOKENIZER.eos_token_id,
    "pad_token_id": TOKENIZER.pad_token_id,
    "initializer_range": 0.3,
    "tie_word_embeddings": False,  # tied, a random model says its last token again and again
}
SIZE = {**TOKENS, "hidden_size": WIDTH, "num_hidden_layers": BLOCKS}
HEADS = {**SIZE, "intermediate_size": 32, "num_attention_heads": 2, "max_position_embeddings": 128}
GROUPS = {**HEADS, "num_key_value_heads": 1}
NARROW = {**GROUPS, "head_dim": 8, "sliding_window": 4}  # shorter than the texts, so that it shows

FAMILIES: dict[str, tuple[str, PreTrainedConfig]] = {
    "Llama": ("model.layers", LlamaConfig(**GROUPS)),
    "Qwen2": ("model.layers", Qwen2Config(**GROUPS)),
    "Qwen3": ("model.layers", Qwen3Config(**GROUPS, head_dim=8)),
    "GPT-OSS": ("model.layers", GptOssConfig(**NARROW, num_local_experts=4, num_experts_per_tok=2)),
    "Gemma 2": ("model.layers", Gemma2Config(**NARROW, final_logit_softcapping=2.0)),
    "Gemma 3": ("model.layers", Gemma3TextConfig(**NARROW)),
    "GPT-2": ("transformer.h", GPT2Config(**TOKENS, n_embd=WIDTH, n_layer=BLOCKS, n_head=2, n_positions=128)),
    "GPT-Neo": (  # its blocks return tuples
        "transformer.h",
        GPTNeoConfig(
            **TOKENS,
            hidden_size=WIDTH,
            num_layers=BLOCKS,
            num_heads=2,
            max_position_embeddings=128,
            window_size=4,
            attention_types=[[["global", "local"], BLOCKS // 2]],
        ),
    ),
    "GPT-NeoX": ("gpt_neox.layers", GPTNeoXConfig(**HEADS)),
    "Mistral": ("model.layers", MistralConfig(**NARROW)),
    "Phi-3": ("model.layers", Phi3Config(**GROUPS, sliding_window=4)),
    "OLMo 2": ("model.layers", Olmo2Config(**GROUPS)),
    "Mamba": ("backbone.layers", MambaConfig(**SIZE, state_size=4)),
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(FAMILIES[family][1])
    for parameter in made.parameters():
        if parameter.ndim == 1:  # norms begin as ones and biases as zeros: leaving one out would not show
            parameter.data += 0.3 * torch.randn_like(parameter)
    folder = tiny.save(tmp_path_factory.mktemp("family"), made, TOKENIZER)
    return models.load(ModelConfig(source=str(folder), layer=LAYER))


def block(model: LoadedModel, family: str, number: int) -> Any:
    """A block by the path that the family is known to have."""
    return model.model.get_submodule(f"{FAMILIES[family][0]}.{number}")


def padded_batch() -> tuple[Tensor, Tensor]:
    """Ids and attention mask, (3, 12) each, of sequences of 12, 7 and 3 tokens, padded on the right."""
    ids = torch.randint(5, 400, (3, 12), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(12) < torch.tensor([[12], [7], [3]])).long()
    return ids * mask, mask


def hooked(model: LoadedModel, family: str, ids: Tensor) -> Tensor:
    """The stream that a plain forward hook sees at the site, of one sequence alone."""
    caught: list[Tensor] = []
    site = block(model, family, LAYER)
    handle = site.register_forward_hook(lambda module, inputs, output: caught.append(stream_of(output)))
    with torch.no_grad():
        model.model(ids[None])
    handle.remove()
    return caught[0][0]


def test_blocks_are_found(model: LoadedModel, family: str) -> None:
    assert (model.blocks_path, len(model.blocks), model.width) == (FAMILIES[family][0], BLOCKS, WIDTH)
    assert model.site is block(model, family, LAYER)


def test_three_ways_of_reading_agree(model: LoadedModel, family: str) -> None:
    ids, mask = padded_batch()
    [stopped] = model.streams([model.layer], ids, mask)
    with torch.no_grad(), model.live.trace({"input_ids": ids, "attention_mask": mask}):
        live = stream_of(model.live_site.output).save()
    for row, length in enumerate(mask.sum(dim=1).tolist()):
        alone = hooked(model, family, ids[row, :length])
        torch.testing.assert_close(stopped[row, :length], alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(live[row, :length], alone, atol=1e-5, rtol=1e-4)


def test_an_edit_changes_what_follows_and_nothing_before_it(model: LoadedModel) -> None:
    ids, start = padded_batch()[0][:1], 5
    vector = vector_for(model).vector
    blocks = [model.live.get(f"{model.blocks_path}.{number}") for number in range(BLOCKS)]
    streams: dict[bool, list[Tensor]] = {}
    for edited in (False, True):
        seen: list[Any] = []
        with torch.no_grad(), model.live.trace({"input_ids": ids}):
            for number in range(BLOCKS):
                now = stream_of(blocks[number].output)
                if edited and number == LAYER:
                    now[:, start:] += vector
                seen.append(now.clone().save())
        streams[edited] = seen
    for number, (before, after) in enumerate(zip(streams[False], streams[True], strict=True)):
        untouched = start if number >= LAYER else ids.shape[1]
        torch.testing.assert_close(after[:, :untouched], before[:, :untouched])
        assert ((after - before)[:, untouched:].abs().amax(dim=2) > 1e-3).all()
    moved = streams[True][LAYER] - streams[False][LAYER]
    torch.testing.assert_close(moved[0, start:], vector.expand(ids.shape[1] - start, -1), atol=1e-4, rtol=1e-4)


def test_steered_generation_equals_a_plain_hook(model: LoadedModel) -> None:
    vector = vector_for(model)
    texts = {}
    for strength in (0.0, 0.2, 0.4):
        texts[strength] = "".join(stream(model, PROMPT, Sampling(10), adding(vector, strength)))
        assert texts[strength] == plain(model, 10, strength * vector.vector if strength else None) != ""
    assert texts[0.4] != texts[0.0]


def test_the_lens_at_the_last_block_gives_the_models_own_logits(model: LoadedModel, family: str) -> None:
    caught: list[Tensor] = []
    last = block(model, family, BLOCKS - 1)
    handle = last.register_forward_hook(lambda module, inputs, output: caught.append(stream_of(output)))
    with torch.no_grad():
        logits = model.model(padded_batch()[0][:1]).logits
        torch.testing.assert_close(model.unembed(caught[0]), logits)
    handle.remove()
