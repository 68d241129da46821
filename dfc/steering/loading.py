"""Load a model to steer it, if it fits into memory."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch

from dfc import models
from dfc.config import ModelConfig, UserError
from dfc.machine import devices
from dfc.models import LoadedModel

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def steerable(config: ModelConfig) -> LoadedModel:
    """The model, loaded at most once in this process.

    Raises:
        UserError: if it is not there, or its weights do not fit into the memory that is free. What a hub model needs is
            known once it is on this machine; one spread over devices is left to transformers.
    """
    if not models.is_loaded(config) and config.device_map is None:
        needed, free = weight_bytes(config), free_bytes(devices.pick(config.device))
        if free is not None and needed > free:
            raise UserError(
                f"{config.title}: its weights need {needed / 1e9:.1f} GB in {config.dtype}, and {free / 1e9:.1f} GB of "
                f"memory are free; close other programs, use half precision (dtype), or spread it (device_map: auto)."
            )
    return models.shared(config)


def weight_bytes(config: ModelConfig) -> int:
    """Bytes that the weights of a local model will take in its dtype; 0 where they are not known."""
    folder = Path(config.source.removesuffix(".gguf"))
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    return sum(_values(path) for path in files) * _BYTES[config.dtype]


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on a device; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        [available] = (line for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError):
        return None
    return 1024 * int(available.split()[1])


def _values(path: Path) -> int:
    """Numbers in a file of safetensors, from its header alone."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
