"""Loading a causal language model and its tokenizer from a hub, a local folder or a GGUF file."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from dfc.config import ModelConfig, NotLoadedError
from dfc.machine import devices
from dfc.models import gguf_files, sites
from dfc.models.loaded import Description, LoadedModel

transformers_logging.disable_progress_bar()  # a stage shows its own


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        UserError: if it cannot be loaded.
    """
    folder = folder_or_id(config)
    with _explaining(config, "tokenizer"):
        return AutoTokenizer.from_pretrained(
            folder, revision=config.revision, trust_remote_code=config.trust_remote_code
        )


def describe(config: ModelConfig) -> Description:
    """Read a model's settings and check that the layer exists.

    Raises:
        UserError: if the settings cannot be read, or there is no such layer.
    """
    with _explaining(config, "model"):
        settings = AutoConfig.from_pretrained(
            folder_or_id(config), revision=config.revision, trust_remote_code=config.trust_remote_code
        )
        text = settings.get_text_config()
        layers = int(text.num_hidden_layers)
        description = Description(
            revision=getattr(settings, "_commit_hash", None),
            layer=sites.layer_index(config.layer, layers),
            layers=layers,
            width=int(text.hidden_size),
            max_tokens=min(config.max_tokens, getattr(text, "max_position_embeddings", None) or config.max_tokens),
        )
    sites.check_layer(config, description.layer, layers)
    return description


@devices.apart
def load(config: ModelConfig) -> LoadedModel:
    """Load a model and check its site.

    Raises:
        UserError: if the model does not load, its blocks are not found, or `layer` does not exist.
    """
    description = describe(config)
    tokenizer = load_tokenizer(config)
    with _explaining(config, "model"):
        model = AutoModelForCausalLM.from_pretrained(
            folder_or_id(config),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            dtype=getattr(torch, config.dtype),
            device_map=config.device_map,
            **({} if config.attention == "auto" else {"attn_implementation": config.attention}),
        )
    if config.device_map is None:
        model.to(devices.pick(config.device))
    model.eval().requires_grad_(False)
    path = sites.find_blocks(model, config)
    sites.check_layer(config, description.layer, len(model.get_submodule(path)))
    return LoadedModel(config, model, tokenizer, description, path)


_shared: dict[ModelConfig, LoadedModel] = {}
_shared_lock = threading.Lock()


def shared(config: ModelConfig) -> LoadedModel:
    """The model, loaded at most once in this process: what the app uses."""
    with _shared_lock:
        if config not in _shared:
            _shared[config] = load(config)
        return _shared[config]


def is_loaded(config: ModelConfig) -> bool:
    """Whether `shared` gives the model without loading it."""
    return config in _shared


def folder_or_id(config: ModelConfig) -> str:
    """What transformers loads from: a GGUF file is turned into a folder of safetensors once."""
    return str(gguf_files.folder_of(Path(config.source))) if config.source.endswith(".gguf") else config.source


@contextmanager
def _explaining(config: ModelConfig, what: str) -> Iterator[None]:
    """Turn what transformers raises about a source into one sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        otherwise = "" if config.attention == "auto" else ", or leave `attention` at auto"
        raise NotLoadedError(
            f"{config.source}: its {what} could not be loaded ({_first_line(error)}); "
            f"give the id of a causal language model on the hub, a local folder, or a GGUF file{otherwise}."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
