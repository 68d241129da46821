"""LongRoPE: what is made of a text does not depend on how long its neighbours in a batch are."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, Phi3Config, PhimoeConfig, PreTrainedConfig

from dfc import models
from dfc.activations import batches
from dfc.config import HarvestConfig, ModelConfig
from dfc.corpus import Document, plain
from dfc.models import LoadedModel, positions, rollouts, together
from dfc.models.rollouts import Answer
from dfc.requests import RolloutSampling
from tests import tiny

LONG = 16  # tokens, beyond which the other frequencies are taken
FACTORS = {"short_factor": [1.0] * 4, "long_factor": [2.0, 3.0, 4.0, 8.0]}
TOKENIZER = tiny.byte_level_tokenizer()


def settings(kind: type[PreTrainedConfig], **rope: Any) -> PreTrainedConfig:
    given = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": LONG, **FACTORS, **rope}
    own: dict[str, Any] = {} if kind is LlamaConfig else {"original_max_position_embeddings": LONG}
    if kind is PhimoeConfig:
        given |= {"short_mscale": 1.0, "long_mscale": 1.5}
        own = {"num_local_experts": 2}
    return kind(
        vocab_size=len(TOKENIZER),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rope_parameters=given,
        initializer_range=0.3,
        bos_token_id=TOKENIZER.bos_token_id,
        eos_token_id=TOKENIZER.eos_token_id,
        pad_token_id=0,
        sliding_window=None,
        **own,
    )


def made(kind: type[PreTrainedConfig], folder: Path) -> LoadedModel:
    torch.manual_seed(0)
    tiny.save(folder, AutoModelForCausalLM.from_config(settings(kind)), TOKENIZER)
    return models.load(ModelConfig(source=str(folder), layer=1))


@pytest.mark.parametrize("kind", [LlamaConfig, Phi3Config, PhimoeConfig])
def test_a_text_is_read_as_alone_whatever_is_read_with_it(kind: type[PreTrainedConfig], tmp_path: Path) -> None:
    model = made(kind, tmp_path)
    lengths = [LONG + 1, 3, 40, LONG, 12, 30]
    ids = [torch.randint(5, len(TOKENIZER), (length,)).tolist() for length in lengths]
    paired = [list(range(length)) for length in lengths]
    sizes: list[int] = []
    read = partial(model.streams, [1])

    def counted(rows: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
        sizes.append(len(rows))
        return read(rows, mask)

    limit = batches.Limit(HarvestConfig(), model)
    [together] = batches.paired_rows(ids, paired, counted, limit, model, lambda _: None)
    alone = torch.cat([read(torch.tensor([one]), torch.ones(1, len(one)).long())[0][0] for one in ids])
    mixed = read(*batches.pad([ids[2], ids[1]], model.device))[0][1, :3]
    assert sizes == [3, 3]
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)
    start = lengths[0]
    assert not torch.allclose(mixed, alone[start : start + 3], rtol=1e-2, atol=1e-2)  # it is no idle rule


def test_an_answer_that_grows_beyond_the_length_is_given_as_alone(tmp_path: Path) -> None:
    model = made(Phi3Config, tmp_path)
    sampling = RolloutSampling(tokens=10, temperature=0.0)
    lengths = (30, LONG + 1, LONG, 12, 12, 7, LONG - sampling.tokens, 2)
    given = [torch.randint(5, len(TOKENIZER), (length,)).tolist() for length in lengths]
    planned = [Answer(number, Document("", (plain(""),)), ids) for number, ids in enumerate(given)]
    batches = rollouts.batched(model, planned, sampling)
    assert [answer for batch in batches for answer in batch] == planned
    assert [len(batch) for batch in batches] == [2, 1, 2, 1, 2]
    for batch in batches:
        said = together.write(model, [answer.ids for answer in batch], sampling, torch.zeros(len(batch), 10), [])
        assert said == [together.write(model, [one.ids], sampling, torch.zeros(1, 10), [])[0] for one in batch]


def test_who_shares_a_batch() -> None:
    share = positions.company
    assert share((), 5) == share((), 500)
    assert share((LONG,), 1) == share((LONG,), LONG) != share((LONG,), LONG + 1) == share((LONG,), 99)
    assert share((LONG,), 3, LONG) == share((LONG,), 1, 2)
    assert len({share((LONG,), begin, LONG + 1) for begin in (9, 10, LONG + 1)}) == 3


def test_where_frequencies_change() -> None:
    assert positions.changes(settings(Phi3Config)) == (LONG,)
    assert positions.changes(settings(LlamaConfig, long_factor=FACTORS["short_factor"])) == ()
    assert positions.changes(LlamaConfig()) == ()
    layered = LlamaConfig()
    layered.rope_parameters = {"full": {**FACTORS, "original_max_position_embeddings": 9}, "sliding": {"rope_theta": 1}}
    assert positions.changes(layered) == (9,)
