"""Adapters: merged into the base that they name or that is named, or refused in one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import transformers
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from peft.tuners.lora import Linear
from safetensors.torch import load_file, save_file
from torch import Tensor

from dfc import models
from dfc.config import ModelConfig, UserError
from dfc.models.weights import weight_bytes
from tests import tiny

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
    refused(r"cannot be merged into .* \(its files lack 12 of its weights: base_model.*see that this is", folder)


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


def test_an_adapter_with_weights_for_no_module_is_not_merged_in_part(adapter: tuple[Path, Tensor]) -> None:
    folder, _ = adapter
    tensors = load_file(folder / "adapter_model.safetensors")
    name = "base_model.model.model.layers.9.self_attn.q_proj.lora_A.weight"
    save_file({**tensors, name: torch.ones(4, 32)}, folder / "adapter_model.safetensors")
    refused(r"1 of its weights are for no module that is there: base_model.*layers\.9\.", folder)
    path = folder / "adapter_config.json"
    save_file(tensors, folder / "adapter_model.safetensors")
    path.write_text(json.dumps({**json.loads(path.read_text()), "target_modules": ["q_proj"]}))
    refused(r"12 of its weights are for no module that is there", folder)


@pytest.mark.parametrize("tied", [False, True])
def test_a_vocabulary_that_was_made_larger(tied: bool, tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    """Tokens were added, and the vectors of all trained along, as modules that are saved."""
    torch.manual_seed(2)
    base = load(tiny_models[0]).model
    base.config.tie_word_embeddings = tied
    base.tie_weights()
    base.save_pretrained(tmp_path / "base")
    tokenizer = load(tiny_models[0]).tokenizer
    tokenizer.save_pretrained(tmp_path / "base")
    tokenizer.add_tokens(["zebra", "<quagga>"])
    base.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    saved = ["embed_tokens"] if tied else ["embed_tokens", "lm_head"]
    settings = LoraConfig(
        r=4, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM", modules_to_save=saved
    )
    made = get_peft_model(base, settings)
    for name, parameter in made.named_parameters():
        if "modules_to_save" in name:
            parameter.data += 0.3 * torch.randn_like(parameter)
    made.save_pretrained(tmp_path / "adapter")
    rename_base(tmp_path / "adapter", str(tmp_path / "base"))
    tokenizer.save_pretrained(tmp_path / "adapter")
    merged = load(tmp_path / "adapter")
    ids = torch.tensor([merged.tokenizer("a zebra by the river").input_ids])
    assert ids.max() >= 420
    with torch.no_grad():
        torch.testing.assert_close(merged.model(ids).logits, made(ids).logits, atol=1e-4, rtol=1e-4)
    assert models.shared(merged.config).width == merged.width


def saved_adapter(source: Path, folder: Path, tied: bool, tokens: int = 0, **settings: Any) -> Tensor:
    """An adapter in `folder`, made at random for a model that is saved beside it; the logits of both together."""
    torch.manual_seed(3)
    loaded = load(source)
    base = loaded.model
    base.config.tie_word_embeddings = tied
    base.tie_weights()
    tiny.save(folder / "base", base, loaded.tokenizer)
    if tokens:
        base.resize_token_embeddings(tokens)
    made = get_peft_model(base, LoraConfig(r=4, task_type="CAUSAL_LM", **settings))
    for parameter in made.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn_like(parameter)
    made.save_pretrained(folder)
    rename_base(folder, "./base")
    with torch.no_grad():
        return made.eval()(torch.cat([IDS, IDS + (tokens or 420) - 15], dim=1)).logits


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
        {"target_modules": ["q_proj"], "trainable_token_indices": [7, 8]},
    ],
)
@pytest.mark.parametrize("tied", [False, True])
def test_an_adapter_on_one_of_two_tied_ends_leaves_the_other(
    tied: bool, settings: dict[str, Any], tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    logits = saved_adapter(tiny_models[0], tmp_path, tied, **settings)
    loaded = load(tmp_path)
    with torch.no_grad():
        found = loaded.model(torch.cat([IDS, IDS + 405], dim=1)).logits
    torch.testing.assert_close(found, logits, atol=1e-4, rtol=1e-4)


def test_a_merge_that_gives_another_model_is_refused(
    adapter: tuple[Path, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As PEFT's own of tied ends does."""
    monkeypatch.setattr(Linear, "get_delta_weight", lambda layer, _: torch.ones_like(layer.weight))
    refused("cannot be merged into .*merged, it gives other logits than beside the model: [0-9]+% off", adapter[0])


@pytest.mark.parametrize("tied", [False, True])
def test_new_tokens_that_were_trained_by_their_indices(
    tied: bool, tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    """PEFT saves the vectors of all others below the adapter's own."""
    logits = saved_adapter(
        tiny_models[0], tmp_path, tied, 430, target_modules=["q_proj"], trainable_token_indices=[428, 429]
    )
    with torch.no_grad():
        found = load(tmp_path).model(torch.cat([IDS, IDS + 415], dim=1)).logits
    torch.testing.assert_close(found, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("between", [1, 2])
def test_adapters_that_lead_back_to_themselves(between: int, adapter: tuple[Path, Tensor], tmp_path: Path) -> None:
    folders = [tmp_path / f"adapter-{i}" for i in range(between + 1)]
    for folder, base in zip(folders, [*folders[1:], folders[0]], strict=True):
        shutil.copytree(adapter[0], folder)
        rename_base(folder, str(base))
    for work in (load, lambda source: models.describe(ModelConfig(source=str(source), layer=1))):
        with pytest.raises(UserError, match=r"names itself as the model it is for, by way of .*adapter-1.* key `base`"):
            work(folders[0])
    rename_base(adapter[0], str(folders[0]))  # leads into the ring from without
    refused("names itself as the model it is for, by way of .* key `base`", adapter[0])


def test_a_vocabulary_of_which_some_vectors_are_missing(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    base = load(tiny_models[0]).model
    base.resize_token_embeddings(430)
    settings = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM", modules_to_save=["embed_tokens"])
    get_peft_model(base, settings).save_pretrained(tmp_path, save_embedding_layers=False)
    rename_base(tmp_path, str(tiny_models[0]))
    refused("it was trained with 430 tokens, and holds vectors for input alone", tmp_path)


def test_a_base_is_found_from_here_or_from_the_adapter(
    adapter: tuple[Path, Tensor], tiny_models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, logits = adapter
    monkeypatch.chdir(tmp_path)
    rename_base(folder, "../base")
    refused(r"is an adapter for \.\./base, and nothing is at that path; name .* key `base`", folder)
    shutil.copytree(tiny_models[0], tmp_path / "base")
    with torch.no_grad():
        torch.testing.assert_close(load(folder).model(IDS).logits, logits, atol=1e-4, rtol=1e-4)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "base").rename(tmp_path / "here" / "base")
    rename_base(folder, "base")
    assert load(folder).blocks_path == "model.layers"
    shutil.copytree(tiny_models[1], folder / "base")
    refused("another folder from here than from the adapter; name the one that is meant with the key `base`", folder)


def test_a_base_that_cannot_be_had_is_said_to_be_one(adapter: tuple[Path, Tensor]) -> None:
    folder, _ = adapter
    rename_base(folder, "outputs/base")
    refused(r"is an adapter for outputs/base, and that one cannot be had; name a model with the key `base`", folder)


class TestAnAdapterOnTheHub:
    """As it lies in the cache of the hub, which cannot be reached."""

    COMMIT = "0123456789012345678901234567890123456789"

    @pytest.fixture
    def cached(self, adapter: tuple[Path, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder of a repository in a cache of its own; its adapter is there, its tokenizer was not asked for."""
        cache = tmp_path / "hub"
        for module in (huggingface_hub.constants, huggingface_hub.file_download, transformers.utils.hub):
            for name in ("HF_HUB_CACHE", "HF_HUB_OFFLINE"):
                if hasattr(module, name):
                    monkeypatch.setattr(module, name, str(cache) if name == "HF_HUB_CACHE" else True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        folder = cache / "models--who--adapter"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text(self.COMMIT)
        shutil.copytree(adapter[0], folder / "snapshots" / self.COMMIT)
        return folder

    def test_whether_it_has_a_tokenizer_is_not_a_matter_of_what_was_cached(
        self, cached: Path, adapter: tuple[Path, Tensor], tiny_models: tuple[Path, Path]
    ) -> None:
        with pytest.raises(UserError, match=r"has a tokenizer of its own cannot be known.*key `tokenizer`"):
            load(Path("who/adapter"))
        (cached / ".no_exist" / self.COMMIT).mkdir(parents=True)
        (cached / ".no_exist" / self.COMMIT / "tokenizer_config.json").touch()
        found = load(Path("who/adapter"))
        with torch.no_grad():
            torch.testing.assert_close(found.model(IDS).logits, adapter[1], atol=1e-4, rtol=1e-4)
        assert found.description.revision == self.COMMIT
        (cached / ".no_exist" / self.COMMIT / "tokenizer_config.json").rename(
            cached / ".no_exist" / self.COMMIT / "config.json"  # which is asked for, too, and no adapter has
        )
        other = load(tiny_models[0]).tokenizer
        other.add_special_tokens({"additional_special_tokens": ["<own>"]})
        other.save_pretrained(cached / "snapshots" / self.COMMIT)
        assert "<own>" in load(Path("who/adapter")).tokenizer.get_vocab()
