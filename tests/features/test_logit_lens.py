"""The logit lens on cases computed by hand: what each kind of final norm does to a vector."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from dfc import models, pipeline, runs
from dfc.config import ModelConfig
from dfc.families import build
from dfc.features.logit_lens import BINS, logit_lens
from dfc.features.token_names import token_names
from dfc.models import Description, LoadedModel, anatomy
from dfc.steering.analysis import chances, promoted
from dfc.steering.generation import BASELINE
from dfc.store.reader import Store
from tests import tiny

UNEMBEDDING = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
GAINS = torch.tensor([1.0, 2, 1])


def lens(model: PreTrainedModel, norm: torch.nn.Module, vector: list[float]) -> dict[str, float]:
    norm.weight.data = GAINS
    model.get_output_embeddings().weight.data = UNEMBEDDING
    model.eval()
    config, tokenizer = ModelConfig(source="x", layer=0), tiny.byte_level_tokenizer()
    found = anatomy.examine(model, tokenizer, config, layers=1, width=3, layer=0)
    loaded = LoadedModel(config, model, tokenizer, Description(None, 0, 1, 3, 16), found)
    tokens, counts = logit_lens(loaded, "a", torch.tensor([5]), torch.tensor([vector]), 4)
    table, [spread] = tokens.to_pandas(), counts.to_pylist()
    assert set(table["feature_id"]) == {5}
    promoted, suppressed = (table[table["direction"] == name] for name in ("promoted", "suppressed"))
    assert promoted["value"].tolist() == suppressed["value"].tolist()[::-1]
    assert promoted["rank"].tolist() == [0, 1, 2, 3]
    assert (spread["feature_id"], spread["side"]) == (5, "a")
    assert [spread["most"], spread["least"]] == promoted["value"].tolist()[::3]
    assert spread["counts"] == np.histogram(promoted["value"], BINS)[0].tolist()
    names = {name: token for token, name in enumerate(token_names(tokenizer, 4))}
    return {names[token]: value for token, value in zip(promoted["token"], promoted["value"], strict=True)}


@pytest.mark.parametrize("length", [1e-4, 1.0, 1e3])
def test_rms_norm(length: float) -> None:
    """(1, 2, 3) over its root mean square, times the gains, through the unembedding, less the mean of the four."""
    settings = LlamaConfig(vocab_size=4, hidden_size=3, num_hidden_layers=1, num_attention_heads=1, head_dim=2)
    model = LlamaForCausalLM(settings)
    found = lens(model, model.model.norm, [length, 2 * length, 3 * length])
    logits = [value / math.sqrt(14 / 3) for value in (1, 4, 3, 8)]
    assert found == pytest.approx({token: logit - sum(logits) / 4 for token, logit in enumerate(logits)}, abs=1e-4)


@pytest.mark.parametrize("length", [1e-4, 1.0, 1e3])
def test_layer_norm(length: float) -> None:
    """(1, 2, 3) less its mean over its deviation; the bias, which every feature would share, is taken off."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=4, n_embd=3, n_layer=1, n_head=1, n_positions=16))
    model.transformer.ln_f.bias.data = torch.tensor([50.0, 0, -20])
    found = lens(model, model.transformer.ln_f, [length, 2 * length, 3 * length])
    outer = math.sqrt(3 / 2)
    assert found == pytest.approx({0: -outer, 1: 0.0, 2: outer, 3: 0.0}, abs=1e-4)


def test_a_run_goes_on_without_a_lens(tiny_models: tuple[Path, Path], data: Path) -> None:
    """Inkling2's logits come from all its blocks: what its features write is left out and said, all else is there."""
    build.make("inkling2_text", data / "inkling")
    run = runs.create(tiny.tiny_config(data / "texts", (tiny_models[0], data / "inkling"), name="lensless"))
    pipeline.run_stages(run)
    store = Store(run.store)
    partitions = [store.feature(number).partition for number in range(64)]
    assert store.logits(partitions.index("b")).empty
    assert set(store.logits(partitions.index("shared"))["side"]) == {"a"}
    facts = store.facts()
    assert facts["lens_note_a"] == ""
    assert "its logits do not come from its last block alone" in facts["lens_note_b"]
    model = models.shared(run.config().models.b)
    assert promoted(model, torch.ones(model.width)) == []
    ids = torch.arange(5, 9)[None]
    assert chances(model, ids, [7, 8], [BASELINE], []).shape == (1, 0)
