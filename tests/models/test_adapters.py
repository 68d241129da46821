"""Adapters: merged into the base that they name or that is named, or refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from torch import Tensor

from dfc import models
from dfc.config import ModelConfig, UserError
from dfc.models.weights import weight_bytes

IDS = torch.arange(5, 15)[None]


def load(source: Path, **keys: Any) -> models.LoadedModel:
    return models.load(ModelConfig.model_validate({"source": str(source), "layer": 1, **keys}))


def refused(sentence: str, source: Path, **keys: Any) -> None:
    with pytest.raises(UserError, match=sentence) as error:
        load(source, **keys)
    assert "\n" not in str(error.value)


@pytest.fixture
def adapter(tiny_models: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Tensor]:
    """A folder that holds an adapter of the first tiny model alone, and the logits of both together."""
    torch.manual_seed(1)
    settings = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    made = get_peft_model(load(tiny_models[0]).model, settings)
    made.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        return tmp_path / "adapter", made(IDS).logits


def rename_base(adapter: Path, base: str | None) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": base}))


def test_an_adapter_is_merged_into_the_base_that_it_names(
    adapter: tuple[Path, Tensor], tiny_models: tuple[Path, Path]
) -> None:
    folder, logits = adapter
    model, base = load(folder), load(tiny_models[0])
    with torch.no_grad():
        torch.testing.assert_close(model.model(IDS).logits, logits, atol=1e-4, rtol=1e-4)
        assert (base.model(IDS).logits - logits).abs().max() > 0.1
    assert not any("lora" in name for name, _ in model.model.named_parameters())
    assert model.title == "adapter"
    assert model.is_chat
    assert models.describe(model.config) == base.description
    assert weight_bytes(model.config) == weight_bytes(base.config)
    of_adapter, of_base = models.fingerprint(model.config), models.fingerprint(base.config)
    assert of_adapter.weights.endswith(f" on {of_base.weights}")
    assert of_adapter.tokenizer == of_base.tokenizer
    assert models.shared(model.config) is not models.shared(base.config)


def test_the_base_is_named_by_a_key(adapter: tuple[Path, Tensor], tiny_models: tuple[Path, Path]) -> None:
    folder, logits = adapter
    for named, sentence in (
        (
            None,
            "is an adapter whose adapter_config.json names no model that it is for; name that one with the key `base`",
        ),
        ("/gone/away", "is an adapter for /gone/away, and nothing is at that path; name .* `base`"),
    ):
        rename_base(folder, named)
        refused(sentence, folder)
        with torch.no_grad():
            found = load(folder, base=str(tiny_models[0])).model(IDS).logits
        torch.testing.assert_close(found, logits, atol=1e-4, rtol=1e-4)


def test_an_adapter_that_does_not_fit_is_one_sentence(
    adapter: tuple[Path, Tensor], tiny_models: tuple[Path, Path]
) -> None:
    folder, _ = adapter
    refused("this adapter cannot be merged into .* size mismatch .* `base`", folder, base=str(tiny_models[1]))
    (folder / "adapter_config.json").write_text("{")
    refused(r"its adapter_config\.json cannot be read", folder)


def test_an_adapter_with_weights_of_other_modules_is_not_merged_in_part(adapter: tuple[Path, Tensor]) -> None:
    folder, _ = adapter
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "target_modules": ["q_proj", "k_proj"]}))
    refused("cannot be merged into .* missing adapter keys", folder)


def test_a_base_is_named_for_adapters_alone_and_is_another_model(
    adapter: tuple[Path, Tensor], tiny_models: tuple[Path, Path]
) -> None:
    refused(r"has no adapter_config\.json, so that it is no adapter", tiny_models[0], base=str(tiny_models[1]))
    path = adapter[0] / "adapter_config.json"
    given = json.loads(path.read_text())
    path.write_text(json.dumps({**given, "base_model_name_or_path": str(adapter[0])}))
    refused(r"names itself as the model it is for; name that one with the key `base`", adapter[0])
    path.write_text(json.dumps({**given, "base_model_name_or_path": ["a"]}))
    refused(r"names no model that it is for; name that one with the key `base`", adapter[0])


def test_pickled_weights_are_not_opened(adapter: tuple[Path, Tensor]) -> None:
    folder, _ = adapter
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    refused(r"holds no adapter_model\.safetensors, and other files of weights are not opened", folder)


def test_an_adapter_without_weights_to_merge(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    settings = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3)
    get_peft_model(load(tiny_models[0]).model, settings).save_pretrained(tmp_path)
    refused("PROMPT_TUNING has no weights that could be merged", tmp_path)


def test_a_folder_with_an_adapter_and_a_whole_model_is_refused(adapter: tuple[Path, Tensor]) -> None:
    """transformers would add the adapter to a model into which it was merged before."""
    folder, _ = adapter
    load(folder).model.save_pretrained(folder)
    refused("holds an adapter and the weights of a whole model", folder)
