"""Memory: how much is free, and which errors say that it was too little. Torch is imported only for a GPU."""

from __future__ import annotations

import errno
from pathlib import Path

from dfc.config import UserError

_NAMES = {"OutOfMemoryError", "OutOfMemoryException"}  # torch's and DuckDB's, which need not be imported for this
_WORDS = (
    "can't allocate memory",  # torch's allocator on a CPU
    "cuda out of memory",
    "cuda error: out of memory",
    "mps backend out of memory",
    "alloc_failed",  # cuBLAS and cuDNN
    "cannot allocate memory",  # a file that cannot be mapped
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory was too small, of a GPU or of the machine, whoever raised it."""
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM or "(os error 12)" in str(error)  # safetensors gives no errno
    if isinstance(error, UserError | ValueError | LookupError):
        return False
    if _NAMES & {kind.__name__ for kind in type(error).__mro__}:
        return True
    return any(words in str(error).lower() for words in _WORDS)


def free_bytes(device: str) -> int | None:
    """Memory that is free on a device, such as `cpu` or `cuda:0`; None where the system does not say."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        [available] = (line for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError):
        return None
    return 1024 * int(available.split()[1])
