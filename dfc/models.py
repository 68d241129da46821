"""Causal language models: loading them, finding their blocks, reading and editing the residual stream.

A model comes from a hub, a local folder or a GGUF file. Everything that can be wrong
about a site (the block whose output is read) is found when the model is loaded.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from dfc import devices, few_rows, gguf_files
from dfc.config import ModelConfig, UserError

transformers_logging.disable_progress_bar()  # a stage shows its own

KNOWN_BLOCKS = ("model.layers", "model.language_model.layers", "transformer.h", "gpt_neox.layers", "backbone.layers")
KNOWN_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f")


@dataclass(frozen=True)
class Description:
    """What a model's settings say, without its weights.

    Attributes:
        revision: commit on the hub.
        layer: index of the block whose output is read.
        layers: number of blocks.
        width: of the residual stream.
        max_tokens: longest sequence that is run: what is configured, or less where its context is shorter.
    """

    revision: str | None
    layer: int
    layers: int
    width: int
    max_tokens: int


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A causal LM with its tokenizer and one site, the output of block `layer`.

    nnsight traces of one model must not run at the same time: whoever runs it holds `lock`.
    """

    config: ModelConfig
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    description: Description
    blocks_path: str
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def title(self) -> str:
        return self.config.title

    @property
    def layer(self) -> int:
        """Index of the block whose output is read."""
        return self.description.layer

    @property
    def blocks(self) -> nn.ModuleList:
        return self.model.get_submodule(self.blocks_path)

    @property
    def site(self) -> nn.Module:
        """The block whose output is the stream that is read and edited."""
        return self.blocks[self.layer]

    @property
    def width(self) -> int:
        """Width of the residual stream."""
        return self.description.width

    @property
    def max_tokens(self) -> int:
        """Longest sequence that may be run."""
        return self.description.max_tokens

    @property
    def device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    @property
    def is_chat(self) -> bool:
        """Whether the tokenizer brings a chat template."""
        return self.tokenizer.chat_template is not None

    @property
    def final_norm(self) -> nn.Module:
        """The norm between the last block and the unembedding.

        Raises:
            UserError: if none is found beside the blocks.
        """
        parent = self.model.get_submodule(self.blocks_path.rpartition(".")[0])
        for name in KNOWN_FINAL_NORMS:
            if hasattr(parent, name):
                return getattr(parent, name)
        names = ", ".join(name for name, _ in parent.named_children())
        raise UserError(f"{self.title}: no final norm beside its blocks, only {names}; the logit lens needs one.")

    def unembed(self, stream: Tensor) -> Tensor:
        """Logits (..., vocabulary) of what the last block gives, (..., width).

        Raises:
            UserError: if the final norm is not found.
        """
        logits: Tensor = self.model.get_output_embeddings()(self.final_norm(stream))
        cap = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    @cached_property
    def live(self) -> Any:
        """The model wrapped by nnsight, for interventions at its blocks and at its own output."""
        from nnsight import TransformersModel

        from dfc.block_sites import BlockSites

        few_rows.quicken(self.model.get_output_embeddings())  # before it is wrapped
        sites = BlockSites([self.model, *self.blocks])
        return TransformersModel(self.model, tokenizer=self.tokenizer, task="text-generation", interleaver=sites)

    @property
    def live_site(self) -> Any:
        """The site as nnsight sees it."""
        envoy = self.live
        for name in self.blocks_path.split("."):
            envoy = getattr(envoy, name)
        return envoy[self.layer]

    @contextmanager
    def stream_reader(self) -> Iterator[Callable[[Tensor, Tensor], Tensor]]:
        """A function (ids, attention mask), each (batch, length), to the stream (batch, length, width) at the site.

        The forward pass ends at the site: later blocks and the unembedding are not run.
        """
        with self.streams_reader([self.layer]) as read:
            yield lambda ids, mask: read(ids, mask)[0]

    @contextmanager
    def streams_reader(self, layers: Sequence[int]) -> Iterator[Callable[[Tensor, Tensor], list[Tensor]]]:
        """The same for several blocks in one pass: a list of their streams, as `layers` lists them."""
        caught: dict[int, Tensor] = {}

        def catch(layer: int, module: nn.Module, inputs: Any, output: Any) -> None:
            caught[layer] = stream_of(output)
            if layer == max(layers):
                raise _StopForwardError

        def read(ids: Tensor, mask: Tensor) -> list[Tensor]:
            with torch.inference_mode(), suppress(_StopForwardError):
                self.model(input_ids=ids, attention_mask=mask, use_cache=False)
            return [caught[layer] for layer in layers]

        handles = [self.blocks[layer].register_forward_hook(partial(catch, layer)) for layer in set(layers)]
        try:
            yield read
        finally:
            for handle in handles:
                handle.remove()


def stream_of(output: Tensor | tuple[Any, ...]) -> Tensor:
    """The residual stream in what a block returns: alone, or the first of several."""
    return output[0] if isinstance(output, tuple) else output


class _StopForwardError(Exception):
    """Ends a forward pass at the site."""


def load_tokenizer(config: ModelConfig) -> PreTrainedTokenizerBase:
    """The model's tokenizer.

    Raises:
        UserError: if it cannot be loaded.
    """
    folder = _folder_or_id(config)
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
            _folder_or_id(config), revision=config.revision, trust_remote_code=config.trust_remote_code
        )
        text = settings.get_text_config()
        layers = int(text.num_hidden_layers)
        description = Description(
            revision=getattr(settings, "_commit_hash", None),
            layer=_layer_index(config.layer, layers),
            layers=layers,
            width=int(text.hidden_size),
            max_tokens=min(config.max_tokens, getattr(text, "max_position_embeddings", None) or config.max_tokens),
        )
    _check_layer(config, description.layer, layers)
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
            _folder_or_id(config),
            revision=config.revision,
            trust_remote_code=config.trust_remote_code,
            dtype=getattr(torch, config.dtype),
            device_map=config.device_map,
            **({} if config.attention == "auto" else {"attn_implementation": config.attention}),
        )
    if config.device_map is None:
        model.to(devices.pick(config.device))
    model.eval().requires_grad_(False)
    path = _find_blocks(model, config)
    _check_layer(config, description.layer, len(model.get_submodule(path)))
    return LoadedModel(config, model, tokenizer, description, path)


@dataclass(frozen=True)
class Fingerprint:
    """What a model was made of, as hashes, so that it can be told whether a row can be made again.

    Attributes:
        weights: of its weight files; a hub commit stands for them.
        tokenizer, template: of the tokenizer and its chat template; a base model's template is that of nothing.
        bos: whether a plain text begins with a token of its own.
    """

    weights: str
    tokenizer: str
    template: str
    bos: bool


def fingerprint(config: ModelConfig) -> Fingerprint:
    """Hashes of a model's files; reads them whole.

    Raises:
        UserError: if it cannot be read.
    """
    folder, tokenizer = Path(_folder_or_id(config)), load_tokenizer(config)
    weights = f"commit {describe(config).revision}"
    if folder.is_dir():
        files = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".bin"))
        weights = _files_digest(files)
    first = tokenizer("a").input_ids[:1]
    return Fingerprint(
        weights=weights,
        tokenizer=_digest(_definition(tokenizer)),
        template=_digest(tokenizer.chat_template or ""),
        bos=first == [tokenizer.bos_token_id],
    )


def _definition(tokenizer: PreTrainedTokenizerBase) -> str:
    """What tells one tokenizer from another: all of a fast one, the kind and vocabulary of one in Python."""
    if tokenizer.is_fast:
        return str(tokenizer.backend_tokenizer.to_str())
    return f"{type(tokenizer).__name__} {json.dumps(tokenizer.get_vocab(), sort_keys=True)}"


def _files_digest(files: list[Path]) -> str:
    digest = blake2b(digest_size=16)
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 24):
                digest.update(block)
    return digest.hexdigest()


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", errors="replace"), digest_size=16).hexdigest()


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


def _folder_or_id(config: ModelConfig) -> str:
    """What transformers loads from: a GGUF file is turned into a folder of safetensors once."""
    return str(gguf_files.folder_of(Path(config.source))) if config.source.endswith(".gguf") else config.source


@contextmanager
def _explaining(config: ModelConfig, what: str) -> Iterator[None]:
    """Turn what transformers raises about a source into one sentence."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        otherwise = "" if config.attention == "auto" else ", or leave `attention` at auto"
        raise UserError(
            f"{config.source}: its {what} could not be loaded ({_first_line(error)}); "
            f"give the id of a causal language model on the hub, a local folder, or a GGUF file{otherwise}."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _layer_index(layer: int | float, count: int) -> int:
    """The block that is meant, of `count`; a fraction is taken as it is written: 0.29 of 100 is block 29."""
    return layer if isinstance(layer, int) else math.floor(Fraction(str(layer)) * count)


def _check_layer(config: ModelConfig, layer: int, count: int) -> None:
    if layer >= count:
        raise UserError(
            f"{config.source}: there is no layer {layer}; its {count} blocks are 0 to {count - 1} "
            f"(half way is {count // 2}): set `layer` to one of them."
        )


def _find_blocks(model: PreTrainedModel, config: ModelConfig) -> str:
    """Module path of the list of blocks: the one configured, a known one, or the only long list of equal modules."""
    lists = {
        path: module
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) and len({type(block) for block in module}) == 1
    }
    if config.blocks is not None:
        if config.blocks in lists:
            return config.blocks
    else:
        for path in KNOWN_BLOCKS:
            if path in lists:
                return path
        outermost = [path for path in lists if not any(path.startswith(f"{other}.") for other in lists)]
        if len(outermost) == 1:
            return outermost[0]
    found = ", ".join(f"{path} ({len(module)})" for path, module in lists.items()) or "none"
    wanted = (
        f"`blocks: {config.blocks}` is not one of them" if config.blocks else "it is not clear which holds the blocks"
    )
    raise UserError(
        f"{config.source} ({type(model).__name__}): {wanted}; lists of modules found: {found}; "
        f"name one with the key `blocks` of this model."
    )
