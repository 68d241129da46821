"""How much memory a model's weights take, from their files alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from dfc.config import ModelConfig, UserError
from dfc.models import adapters, gguf_files

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def weight_bytes(config: ModelConfig) -> int:
    """Bytes that a model's weights will take in its dtype; those that are tied may be counted twice.

    Of an adapter, those of its base. 0 where its files are not on this machine, or no safetensors.
    """
    try:
        if (adapter := adapters.of(config)) is not None:
            return weight_bytes(adapter.base)
    except UserError:
        return 0
    folder = _folder(config)
    try:
        return sum(_values(path) for path in _files(folder)) * _BYTES[config.dtype] if folder else 0
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # what loads it says what is wrong with it
        return 0


def _folder(config: ModelConfig) -> Path | None:
    """Where the model's files lie: its own folder, that of a converted GGUF file, or the hub's cache."""
    if config.is_gguf:
        return gguf_files.converted(Path(config.source), config.dtype)
    local = Path(config.source)
    if local.is_dir():
        return local
    if config.source.count("/") > 1:
        return None
    try:
        cached = try_to_load_from_cache(config.source, "config.json", revision=config.revision)
    except ValueError:  # no id of a model
        return None
    return Path(cached).parent if isinstance(cached, str) else None


def _files(folder: Path) -> list[Path]:
    """The files that are loaded: repositories may hold the same weights a second time, in another layout."""
    index, whole = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.exists():
        return [folder / name for name in set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())]
    return [whole] if whole.exists() else sorted(folder.glob("*.safetensors"))


def _values(path: Path) -> int:
    """Numbers in a file of safetensors, from its header alone."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
