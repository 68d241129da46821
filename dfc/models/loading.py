"""Loading a causal language model and its tokenizer from a hub, a local folder or a GGUF file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from dfc import corpus
from dfc.config import MemoryShortError, ModelConfig, NotLoadedError, UserError
from dfc.machine import devices, memory, progress
from dfc.models import adapters, anatomy, gguf_files, sites, whole
from dfc.models.anatomy import Anatomy
from dfc.models.loaded import Description, LoadedModel
from dfc.models.weights import weight_bytes

transformers_logging.disable_progress_bar()  # a stage shows its own


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        UserError: if it cannot be loaded.
    """
    if config.tokenizer is not None:
        source, revision = config.tokenizer, None
    elif (adapter := adapters.of(config)) is not None and not (adapter.folder / "tokenizer_config.json").exists():
        return load_tokenizer(adapter.base)
    else:
        source, revision = folder_or_id(config), config.revision
    with _explaining(config, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=revision, trust_remote_code=config.trust_remote_code, truncation_side="right"
        )
        if not tokenizer("a", add_special_tokens=False)["input_ids"]:
            raise ValueError("there is none")  # transformers makes an empty one up
    if config.template is not None:
        tokenizer.chat_template = corpus.read_template(config.template)
    return tokenizer


def describe(config: ModelConfig) -> Description:
    """Read a model's settings and check that the layer exists.

    Raises:
        UserError: if the settings cannot be read, or there is no such layer.
    """
    if (adapter := adapters.of(config)) is not None:
        of_base = describe(adapter.base)
        return replace(of_base, revision=adapter.revision or of_base.revision)
    with _explaining(config, "model"):
        settings = AutoConfig.from_pretrained(
            folder_or_id(config), revision=config.revision, trust_remote_code=config.trust_remote_code
        )
        description = _described(settings, config, getattr(settings, "_commit_hash", None))
    sites.check_layer(config, description.layer, description.layers)
    return description


def _described(settings: PreTrainedConfig, config: ModelConfig, revision: str | None) -> Description:
    if settings.is_encoder_decoder:
        raise NotLoadedError(
            f"{config.source}: is an encoder–decoder ({settings.model_type}), which reads one text and writes another; "
            f"give a causal language model."
        )
    text = settings.get_text_config()
    layers = getattr(text, "num_layers", None) or getattr(text, "num_hidden_layers", None)  # LongCat counts halves
    width = getattr(text, "hidden_size", None)
    if layers is None or width is None:
        raise NotLoadedError(
            f"{config.source}: its settings ({settings.model_type}) name no number of blocks and no width "
            f"(num_hidden_layers, hidden_size), so that it is no stack of blocks with one stream; give another model."
        )
    return Description(
        revision=revision,
        layer=sites.layer_index(config.layer, int(layers)),
        layers=int(layers),
        width=int(width),
        max_tokens=min(config.max_tokens, getattr(text, "max_position_embeddings", None) or config.max_tokens),
    )


@devices.apart
def load(config: ModelConfig) -> LoadedModel:
    """Load a model and check its site.

    Raises:
        MemoryShortError: if there is no memory for its weights.
        UserError: if the model does not load, its blocks are not found, or `layer` does not exist.
    """
    description = describe(config)
    tokenizer = load_tokenizer(config)
    device = None if config.device_map else devices.pick(config.device)
    model = _weights(config)
    if device is not None:
        with _explaining(config, "model"):
            model.to(device)
    model.eval().requires_grad_(False)
    _check_vocabulary(config, model, tokenizer)
    model.generation_config = _ends_alone(model.generation_config)
    return LoadedModel(config, model, tokenizer, description, _examined(model, tokenizer, config, description))


def _weights(config: ModelConfig) -> PreTrainedModel:
    """The model as its files hold it; an adapter merged into its base."""
    if (adapter := adapters.of(config)) is not None:
        return adapters.merged(adapter, _weights(adapter.base), config)
    with _explaining(config, "model"):
        model, found = AutoModelForCausalLM.from_pretrained(
            folder_or_id(config),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            dtype=getattr(torch, config.dtype),
            device_map=config.device_map,
            output_loading_info=True,
            **({} if config.attention == "auto" else {"attn_implementation": config.attention}),
        )
    whole.check(config.source, found["missing_keys"])
    return model


def at(loaded: LoadedModel, config: ModelConfig) -> LoadedModel:
    """Another site on a model that is loaded: the same weights, tokenizer, wrapper and lock.

    Args:
        loaded: the model at any site.
        config: of the same model; what it says of the site and of names may be different.

    Raises:
        UserError: if its blocks are not found, or `layer` does not exist.
    """
    description = _described(loaded.model.config, config, loaded.description.revision)
    sites.check_layer(config, description.layer, description.layers)
    found = loaded.anatomy
    if (config.blocks, config.final_norm) != (loaded.config.blocks, loaded.config.final_norm):
        with loaded.lock:
            found = _examined(loaded.model, loaded.tokenizer, config, description)
    return replace(loaded, config=config, description=description, anatomy=found)


def _examined(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, config: ModelConfig, description: Description
) -> Anatomy:
    found = anatomy.examine(model, tokenizer, config, description.layers, description.width, description.layer)
    if found.lens is None:
        progress.say(f"{config.title}: goes without a logit lens: {found.lens_words}")
    return found


def folder_or_id(config: ModelConfig) -> str:
    """What transformers loads from: a GGUF file is turned into a folder of safetensors once."""
    return str(gguf_files.folder_of(Path(config.source), config.dtype)) if config.is_gguf else config.source


def _ends_alone(given: GenerationConfig | None) -> GenerationConfig:
    """Of a model's settings for generation, the tokens at which it begins and ends.

    How it writes is asked for elsewhere; beams, guidance or suppressed tokens that its maker set would change what is
    compared, or where edits fall.
    """
    kept = ("bos_token_id", "eos_token_id", "pad_token_id")
    return GenerationConfig(**{name: getattr(given, name, None) for name in kept})


def _check_vocabulary(config: ModelConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """See that the model has a vector for every token that a text may hold; special ones come from templates alone."""
    rows = len(model.get_input_embeddings().weight)
    if len(tokenizer) <= rows:
        return
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    if beyond := sorted(token for token in tokenizer.get_vocab().values() if token >= rows and token not in special):
        raise NotLoadedError(
            f"{config.source}: its tokenizer has tokens up to {beyond[-1]}, and the model vectors for the first "
            f"{rows:,} alone; name the tokenizer that it was trained with by the key `tokenizer` of this model."
        )


@contextmanager
def _explaining(config: ModelConfig, what: str) -> Iterator[None]:
    """Turn what transformers raises about a source into one sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever transformers and the readers below it raise about a foreign file
        if memory.is_out_of_memory(error):
            needed = weight_bytes(config)
            size = f"its weights need {needed / 1e9:.1f} GB in {config.dtype}; " if needed else ""
            raise MemoryShortError(
                f"{config.title}: there is no memory for this model ({_first_line(error)}); {size}"
                f"close other programs, use half precision (dtype: bfloat16), spread it over devices "
                f"(device_map: auto), or take a smaller model."
            ) from error
        if isinstance(error, StrictDataclassError):
            raise NotLoadedError(
                f"{config.source}: its config.json holds a value that transformers refuses "
                f"({' '.join(str(error).split())[:300]}); correct it there."
            ) from error
        if what == "tokenizer":
            raise NotLoadedError(
                f"{config.tokenizer or config.source}: its tokenizer could not be loaded ({_first_line(error)}); name "
                f"a folder or a hub id that has one with the key `tokenizer` of this model."
            ) from error
        if isinstance(error, SafetensorError):
            raise NotLoadedError(
                f"{config.source}: its weights are damaged or incomplete ({_first_line(error)}); fetch them again, "
                f"with `git lfs pull` where they were cloned."
            ) from error
        otherwise = "" if config.attention == "auto" else ", or leave `attention` at auto"
        raise NotLoadedError(
            f"{config.source}: its {what} could not be loaded ({_first_line(error)}); "
            f"give the id of a causal language model on the hub, a local folder, or a GGUF file{otherwise}."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
