"""PEFT adapters: small weights that are merged into the model they were trained on, the base.

The base is what `adapter_config.json` names, unless the settings name another one.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import cached_file, find_adapter_config_file

from dfc.config import MissingError, ModelConfig, NotLoadedError, UserError
from dfc.machine import memory, pointers
from dfc.models import pickles, whole

_CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_BELOW = ("", "base_layer.", "token_adapter.base_layer.")
"""Where, below a module of the base, an adapter's file holds the weights that the module had."""
_TOLERANCE = {torch.float32: 0.01, torch.float64: 0.01}
"""How far the logits of a merged model may be from those of an adapter beside its base; 0.2 in half precision."""


@dataclass(frozen=True)
class Adapter:
    """An adapter and what it is for.

    Attributes:
        folder: where its files are.
        base: the settings of the model that it is merged into.
        revision: its commit, if it is of the hub.
    """

    folder: Path
    base: ModelConfig
    revision: str | None


def of(config: ModelConfig) -> Adapter | None:
    """The adapter that is a model's source; None if that is a whole model.

    Raises:
        MissingError: if the base is not named, or is a path where nothing is.
        NotLoadedError: if the adapter's settings cannot be read, there is a whole model beside it, a base is named for
            what is no adapter, or bases that are adapters lead back to one of them.
    """
    found = below = _read(config)
    seen: dict[Path, str] = {}
    while below is not None:
        if below.folder.resolve() in seen:
            way = list(seen.values())
            by_way = f", by way of {', '.join(way[:-1])}" if len(way) > 1 else ""
            raise NotLoadedError(
                f"{config.source}: is an adapter that names itself as the model it is for{by_way}; name that one with "
                f"the key `base` of this model."
            )
        seen[below.folder.resolve()] = below.base.source
        try:
            below = _read(below.base)
        except UserError:  # said when the base is loaded
            break
    return found


def _read(config: ModelConfig) -> Adapter | None:
    """The same, whatever its base is."""
    found = _settings_path(config)
    if found is None:
        if config.base is not None:
            raise NotLoadedError(
                f"{config.source}: has no {_CONFIG}, so that it is no adapter, and `base` says for which model one is; "
                f"bring that file back, or take `base` out."
            )
        return None
    try:
        settings = json.loads(found.read_text(encoding="utf-8"))
        named, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    except (OSError, ValueError, AttributeError) as error:
        raise NotLoadedError(f"{config.source}: its {_CONFIG} cannot be read ({error}); bring it back.") from None
    base = config.base or named
    if not isinstance(base, str) or not base:
        raise MissingError(
            f"{config.source}: is an adapter whose {_CONFIG} names no model that it is for; name that one with the key "
            f"`base` of this model."
        )
    if base == named:
        base = _beside(config, base, found.parent)
    of_base = {"source": base, "base": None, "revision": revision if base == named else None, "name": config.title}
    commit = None if Path(config.source).is_dir() else found.parent.name
    return Adapter(found.parent, config.model_copy(update=of_base), commit)


def _beside(config: ModelConfig, base: str, folder: Path) -> str:
    """The base that an adapter's settings name; a path in them is that of whoever saved them.

    It is looked for from where we are, as PEFT does, and from the adapter's folder.
    """
    places = [Path(base)] if Path(base).is_absolute() else [Path(base), folder / base]
    there = [place for place in places if place.exists()]
    if len({place.resolve() for place in there}) > 1:
        raise NotLoadedError(
            f"{config.source}: is an adapter for {base}, which is another folder from here than from the adapter; name "
            f"the one that is meant with the key `base` of this model."
        )
    if there:
        return str(there[0])
    if Path(base).is_absolute() or base.startswith(".") or base.count("/") > 1:
        raise MissingError(
            f"{config.source}: is an adapter for {base}, and nothing is at that path; name the model that it is for "
            f"with the key `base` of this model."
        )
    return base


@contextmanager
def of_its_base(config: ModelConfig, adapter: Adapter) -> Iterator[None]:
    """Say of what is raised about a base for which adapter it is, and which key names another."""
    try:
        yield
    except NotLoadedError as error:
        raise type(error)(
            f"{config.source}: is an adapter for {adapter.base.source}, and that one cannot be had; name a model with "
            f"the key `base` if another is meant ({str(error).rstrip('.')})."
        ) from error


def has_tokenizer(config: ModelConfig) -> bool:
    """Whether an adapter brings a tokenizer of its own; of one on the hub, the hub is asked if that is not known.

    Raises:
        NotLoadedError: if it cannot be known, since the hub cannot be reached.
    """
    name = "tokenizer_config.json"
    if Path(config.source).is_dir():
        return (Path(config.source) / name).exists()
    known = try_to_load_from_cache(config.source, name, revision=config.revision)
    if known is not None:
        return isinstance(known, str)  # else it is kept in the cache that there is none
    try:
        hf_hub_download(config.source, name, revision=config.revision)
    except LocalEntryNotFoundError as error:
        raise NotLoadedError(
            f"{config.source}: whether this adapter has a tokenizer of its own cannot be known, since the hub cannot "
            f"be reached; try again when it can, or name one with the key `tokenizer` of this model."
        ) from error
    except EntryNotFoundError:
        return False
    return True


def merged(adapter: Adapter, model: PreTrainedModel, config: ModelConfig) -> PreTrainedModel:
    """The base with the adapter's weights added to its own.

    Raises:
        NotLoadedError: if the adapter does not fit whole, has no safetensors, or cannot be merged so that the model
            says what it says with the adapter beside it.
    """
    from peft import PeftModel  # takes a second
    from peft.tuners.tuners_utils import BaseTuner

    weights = _weights_file(adapter, config)
    try:
        with pickles.refused(config.source), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # said below
            warnings.filterwarnings("ignore", "Model (has|with) `tie_word_embeddings=True`")  # they are untied below
            _resize(model, weights)
            joined = PeftModel.from_pretrained(model, str(weights.parent))
            if not isinstance(joined.base_model, BaseTuner):
                raise ValueError(f"{joined.active_peft_config.peft_type.value} has no weights that could be merged")
            took: Any = joined.load_adapter(
                str(weights.parent), joined.active_adapter
            )  # again: now it says what it took
        if took.missing_keys:
            raise ValueError(
                f"its files lack {len(took.missing_keys)} of its weights: {whole.named(took.missing_keys)}"
            )
        if surplus := _without_copies(took.unexpected_keys, weights, _end_paths(model)):
            raise ValueError(f"{len(surplus)} of its weights are for no module that is there: {whole.named(surplus)}")
        joined.eval()
        apart = _logits(model)
        _untie(model)
        made: PreTrainedModel = joined.base_model.merge_and_unload(safe_merge=True)
        if (off := _distance(_logits(made), apart)) > _TOLERANCE.get(made.dtype, 0.2):
            raise ValueError(f"merged, it gives other logits than beside the model: {off:.0%} off")
    except UserError:
        raise
    except Exception as error:  # whatever PEFT and its tuners raise about foreign files
        if memory.is_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:300]
        raise NotLoadedError(
            f"{config.source}: this adapter cannot be merged into {adapter.base.source} ({reason}); see that this is "
            f"the model it was trained on, or name another one with the key `base` of this model."
        ) from error
    return made


def _untie(model: PreTrainedModel) -> None:
    """Give the head weights of its own where an adapter is on one of two tied ends: merged, it would change both."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    bare = [end.get_base_layer() if hasattr(end, "get_base_layer") else end for end in ends]
    if any(end is None for end in bare) or bare[0].weight is not bare[1].weight or bare == list(ends):
        return
    bare[1].weight = nn.Parameter(bare[1].weight.detach().clone(), requires_grad=False)
    for settings in (model.config, model.config.get_text_config()):
        settings.tie_word_embeddings = False


@torch.no_grad()
def _logits(model: PreTrainedModel) -> Tensor:
    """What a model says about a few tokens from all over its vocabulary, (tokens, vocabulary)."""
    weight = model.get_input_embeddings().weight
    ids = torch.linspace(0, len(weight) - 1, 8, device=weight.device).long()[None]
    logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return logits[0].float()


def _distance(found: Tensor, expected: Tensor) -> float:
    """How far logits are off, in parts of their size, at the median token: rounding may send one to another expert."""
    return float(((found - expected).norm(dim=-1) / expected.norm(dim=-1)).median())


def _weights_file(adapter: Adapter, config: ModelConfig) -> Path:
    if adapter.revision is None:
        found = adapter.folder / WEIGHTS
    else:
        cached = cached_file(
            config.source, WEIGHTS, revision=adapter.revision, _raise_exceptions_for_missing_entries=False
        )
        found = Path(cached) if cached else adapter.folder / WEIGHTS
    if not found.exists():
        raise NotLoadedError(
            f"{config.source}: holds no {WEIGHTS}, and other files of weights are not opened, since they may run code; "
            f"save the adapter anew (`save_pretrained`)."
        )
    pointers.check(found)
    return found


def _end_paths(model: PreTrainedModel) -> dict[str, str]:
    """Where a model's ends, input and output if there is one, are in an adapter's file."""
    paths = {module: path for path, module in model.named_modules()}
    ends: dict[str, nn.Module | None] = {"input": model.get_input_embeddings(), "output": model.get_output_embeddings()}
    return {end: f"base_model.model.{paths[module]}" for end, module in ends.items() if module is not None}


def _without_copies(names: Sequence[str], weights: Path, ends: dict[str, str]) -> list[str]:
    """Those of some weights that the file does not hold under another name, too.

    PEFT writes so the modules it saves, and what it trained of two tied ends.
    """
    with safe_open(weights, framework="pt") as file:
        there = set(file.keys())
        output = f"{ends.get('output', '')}.token_adapter."
        return [
            name
            for name in names
            if (plain := name.replace(".modules_to_save.", ".").replace(output, f"{ends['input']}.token_adapter."))
            == name
            or not {name, plain} <= there
            or not file.get_tensor(name).equal(file.get_tensor(plain))
        ]


def _resize(model: PreTrainedModel, weights: Path) -> None:
    """Give a base as many tokens as its adapter was trained with, if that brings their vectors.

    Raises:
        ValueError: if it brings some of them alone.
        SafetensorError: if its file is damaged.
    """
    ends, rows = _end_paths(model), {}
    with safe_open(weights, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - no mapping
            for end, path in ends.items():
                if name in {f"{path}.{below}weight" for below in _BELOW}:
                    rows[end] = file.get_slice(name).get_shape()[0]
    here = len(model.get_input_embeddings().weight)
    wanted = set(rows.values())
    if wanted <= {here}:
        return
    tied = model.config.get_text_config().tie_word_embeddings
    if len(wanted) > 1 or (len(rows) < len(ends) and not tied):
        raise ValueError(
            f"it was trained with {max(wanted):,} tokens, and holds vectors for {' and '.join(rows)} alone"
        )
    model.resize_token_embeddings(wanted.pop(), mean_resizing=False)


def _settings_path(config: ModelConfig) -> Path | None:
    folder = Path(config.source)
    if folder.is_dir():
        if not (folder / _CONFIG).exists():
            return None
        if any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin")):
            raise NotLoadedError(
                f"{config.source}: holds an adapter and the weights of a whole model, and it is not clear which is "
                f"meant; move {_CONFIG} and its weights, or the model's, elsewhere."
            )
        return folder / _CONFIG
    if config.is_gguf or config.source.count("/") > 1:
        return None
    try:
        found = find_adapter_config_file(config.source, revision=config.revision)
    except (OSError, ValueError):  # what loads the model says what is wrong with it
        return None
    return Path(found) if found else None
