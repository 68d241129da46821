"""Models kept in memory for as long as it suffices: one for equal weights, whatever is read of it.

Sites on one model share its weights, its tokenizer, its nnsight wrapper and its lock, so that three layers of a model
are one model in memory. Where memory is short, the model that was used least recently goes, if nobody holds a site
on it.
"""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import torch

from dfc.config import MemoryShortError, ModelConfig
from dfc.machine import devices, memory, threads
from dfc.models import loading
from dfc.models.loaded import LoadedModel
from dfc.models.weights import weight_bytes

_SAME = (
    *("source", "base", "tokenizer", "revision"),
    *("dtype", "device", "device_map", "attention", "trust_remote_code", "template"),
)
"""Settings by which weights in memory are told apart; all others are of a site, or words."""


@dataclass(frozen=True, eq=False)
class _Kept:
    """A model in memory: `root` is handed to nobody, `sites` holds those copies of it that somebody still has."""

    root: LoadedModel
    sites: WeakValueDictionary[ModelConfig, LoadedModel] = field(default_factory=WeakValueDictionary)

    @property
    def is_held(self) -> bool:
        """Whether anybody has a site on it, or runs it."""
        return len(self.sites) > 0 or self.root.lock.locked()

    def site(self, config: ModelConfig) -> LoadedModel:
        """The site of these settings, made once for as long as somebody has it."""
        site = self.sites.get(config)
        if site is None:
            site = self.sites[config] = loading.at(self.root, config)
        return site


_models: OrderedDict[tuple[object, ...], _Kept] = OrderedDict()  # the one used last stands last
_turn = threading.Lock()


def shared(config: ModelConfig) -> LoadedModel:
    """The model at its site; its weights are loaded at most once in this process.

    What it computes next takes as many threads as the machine has cores that nobody else keeps busy.

    Raises:
        MemoryShortError: if its weights do not fit into the memory that is free, also without the models that nobody
            holds. What a hub model needs is known once it is on this machine; one spread over devices is tried.
        UserError: as `load` does.
    """
    key = _key(config)
    threads.settle()
    with _turn:
        kept = _models.get(key)
        if kept is None:
            kept = _models[key] = _Kept(_loaded(config))
        _models.move_to_end(key)
        return kept.site(config)


def drop_unused() -> int:
    """Take out of memory all kept models that nobody holds; how many these were."""
    gc.collect()  # a site in a circle counts as held until then
    unused = [key for key, kept in _models.items() if not kept.is_held]
    for key in unused:
        _drop(key)
    return len(unused)


def _key(config: ModelConfig) -> tuple[object, ...]:
    return tuple(getattr(config, name) for name in _SAME)


def _loaded(config: ModelConfig) -> LoadedModel:
    _make_room(config)
    try:
        return loading.load(config)
    except MemoryShortError:
        if not drop_unused():
            raise
    gc.collect()  # what the failed attempt has left
    return loading.load(config)


def _make_room(config: ModelConfig) -> None:
    """Drop the models used least recently until the weights fit; see that they do.

    Raises:
        MemoryShortError: if they do not.
    """
    if config.device_map is not None:
        return  # where what goes is transformers' choice
    loading.folder_or_id(config)  # a GGUF file is converted first: then its size is known
    needed, device = weight_bytes(config), devices.pick(config.device)
    while (free := memory.free_bytes(str(device))) is not None and needed > free:
        gc.collect()
        beside = {key: kept for key, kept in _models.items() if kept.root.device.type == device.type}
        unused = next((key for key, kept in beside.items() if not kept.is_held), None)
        if unused is None:
            raise MemoryShortError(
                f"{config.title}: its weights need {needed / 1e9:.1f} GB in {config.dtype}, and {free / 1e9:.1f} GB of "
                f"memory are free; close other programs, use half precision (dtype), or spread it (device_map: auto)."
            )
        _drop(unused)


def _drop(key: tuple[object, ...]) -> None:
    del _models[key]
    gc.collect()  # modules and their wrappers refer to each other
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
