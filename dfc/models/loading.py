"""Loading a causal language model and its tokenizer from a hub, a local folder or a GGUF file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
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
from dfc.config import ModelConfig, NotLoadedError
from dfc.corpus import Document, Turn
from dfc.machine import devices, progress
from dfc.models import adapters, anatomy, gguf_files, pickles, sites, whole
from dfc.models.anatomy import Anatomy
from dfc.models.loaded import Description, LoadedModel
from dfc.models.refusals import explaining

transformers_logging.disable_progress_bar()  # a stage shows its own
os.environ.setdefault(
    "DISABLE_SAFETENSORS_CONVERSION", "1"
)  # else a service on the hub makes weights that are not ours
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_target_positions")
_BEHIND_PADDING = frozenset(
    ["camembert", "data2vec-text", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"]
)
"""Types of models whose positions begin behind the number of the padding token."""


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        UserError: if it cannot be loaded.
    """
    if config.tokenizer is not None:
        source, revision = config.tokenizer, None
    elif (adapter := adapters.of(config)) is not None and not adapters.has_tokenizer(config):
        with adapters.of_its_base(config, adapter):
            return load_tokenizer(adapter.base)
    else:
        source, revision = folder_or_id(config), config.revision
    with explaining(config, "tokenizer"):
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
        with adapters.of_its_base(config, adapter):
            of_base = describe(adapter.base)
        return replace(of_base, revision=adapter.revision or of_base.revision)
    with explaining(config, "model"):
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
    names = ["num_hidden_layers", "num_layers"]
    if hasattr(type(text), "num_layers"):  # as of LongCat, which counts halves by the other; else it may be a stray
        names.reverse()
    layers = next((count for name in names if (count := getattr(text, name, None))), None)
    width = getattr(text, "hidden_size", None)
    if layers is None or width is None:
        raise NotLoadedError(
            f"{config.source}: its settings ({settings.model_type}) name no number of blocks and no width "
            f"(num_hidden_layers, hidden_size), so that it is no stack of blocks with one stream; give another model."
        )
    positions = _positions(text)
    if positions is not None and positions[1] < 1:
        name, count = positions
        raise NotLoadedError(
            f"{config.source}: its config.json says `{name}: {getattr(text, name)}`, which is no number of positions"
            f"{'' if count == getattr(text, name) else ' that leaves any behind the padding token'}; "
            f"correct it there to the longest text that the model was trained on, in tokens."
        )
    return Description(
        revision=revision,
        layer=sites.layer_index(config.layer, int(layers)),
        layers=int(layers),
        width=int(width),
        max_tokens=min(config.max_tokens, positions[1] if positions else config.max_tokens),
    )


def _positions(text: PreTrainedConfig) -> tuple[str, int] | None:
    """The setting that says how long a text may be, in tokens, and how long; None if none does."""
    for name in _POSITIONS:
        count = getattr(text, name, None)
        by_class = isinstance(getattr(type(text), name, None), property)  # -1 of XLNet's: no limit
        if isinstance(count, int) and not by_class:
            return name, count - 1 - (text.pad_token_id or 0) if text.model_type in _BEHIND_PADDING else count
    return None


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
    model = _weights(config, device)
    model.eval().requires_grad_(False)
    _check_vocabulary(config, model, tokenizer)
    model.generation_config = _ends_alone(model.generation_config)
    return LoadedModel(config, model, tokenizer, description, _examined(model, tokenizer, config, description))


def _weights(config: ModelConfig, device: torch.device | None) -> PreTrainedModel:
    """The model as its files hold it, on a device if one is given; an adapter merged into its base there."""
    if (adapter := adapters.of(config)) is not None:
        with adapters.of_its_base(config, adapter):
            base = _weights(adapter.base, device)
        with explaining(config, "model"):
            return adapters.merged(adapter, base, config)
    source = folder_or_id(config)
    with explaining(config, "model"), pickles.refused(config.source):
        model, found = AutoModelForCausalLM.from_pretrained(
            source,
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            dtype=getattr(torch, config.dtype),
            device_map=config.device_map,
            use_safetensors=True,
            output_loading_info=True,
            **({} if config.attention == "auto" else {"attn_implementation": config.attention}),
        )
    whole.check(config.source, config.title, model, found["missing_keys"], found["unexpected_keys"])
    if config.is_gguf and (left := gguf_files.left_out(Path(source))):
        progress.say(f"{config.title}: its GGUF file holds tensors that transformers leaves out: {whole.named(left)}")
    for settings in (model.config, model.config.get_text_config()):
        settings.return_dict = True  # what a config.json may say otherwise is only how values are handed over
    if device is not None:
        with explaining(config, "model"):
            model.to(device)
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
    """See that the model has a vector for every token that a text, or what is put around it, may hold.

    Special tokens that stand in no text, as one for padding that was added later, need none.
    """
    rows = len(model.get_input_embeddings().weight)
    if 2 * len(tokenizer) < rows:
        progress.say(
            f"{config.title}: its tokenizer has {len(tokenizer):,} tokens, and the model vectors for {rows:,}; if it "
            f"is not the one that it was trained with, name that one by the key `tokenizer` of this model"
        )
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    beyond = [token for token in tokenizer.get_vocab().values() if token >= rows and token not in special]
    beyond += [token for token in tokenizer("a")["input_ids"] if token >= rows]
    if tokenizer.chat_template is not None:
        chat = Document("", (Turn("user", "Is it?"), Turn("assistant", "It is.")))
        [encoding] = corpus.encode([corpus.render(chat, tokenizer)], tokenizer)
        beyond += [token for token in encoding.ids if token >= rows]
    if beyond:
        raise NotLoadedError(
            f"{config.source}: its tokenizer has tokens up to {max(beyond)}, and the model vectors for the first "
            f"{rows:,} alone; name the tokenizer that it was trained with by the key `tokenizer` of this model."
        )
