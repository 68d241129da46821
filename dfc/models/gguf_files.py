"""GGUF files: turned once into a folder of safetensors, which loads in a second instead of a minute."""

from __future__ import annotations

import shutil
from pathlib import Path

import gguf
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from dfc import runs
from dfc.config import DamagedError, MemoryShortError, MissingError, UserError, shipped
from dfc.machine import memory, progress
from dfc.models import whole

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # transformers writes one file, or several shards
_AT_WORK = 4  # float32 copies of the largest tensor that are there while it is converted


def folder_of(file: Path, dtype: str) -> Path:
    """The folder beside a GGUF file that holds the same model; made if need be, which takes a minute or two.

    One in float32 serves every dtype; else each has its own.

    Raises:
        MissingError: if there is no such file.
        DamagedError: if transformers cannot read it.
        MemoryShortError: if there is no memory to convert it.
        UserError: if the disk is too small for it.
    """
    if (there := converted(file, dtype)) is not None:
        return there
    if not file.exists():
        raise MissingError(f"models: {file}: no such GGUF file; the demo's two are fetched by `{shipped.DEMO_DATA}`.")
    folder = _own_folder(file, dtype)
    _convert(file, folder, dtype)
    return folder


def converted(file: Path, dtype: str) -> Path | None:
    """The folder that holds it already; None if there is none."""
    for folder in (_own_folder(file, dtype), _own_folder(file, "float32")):
        if any((folder / name).exists() for name in _WEIGHTS):
            return folder
    return None


def _own_folder(file: Path, dtype: str) -> Path:
    return file.with_suffix("") if dtype == "float32" else file.with_name(f"{file.stem}-{dtype}")


def _convert(file: Path, folder: Path, dtype: str) -> None:
    progress.say(f"{file.name}: converting to safetensors in {dtype}, once (a minute or two)")
    kept = getattr(torch, dtype)
    try:
        _check_room(file, folder, kept)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model, found = AutoModelForCausalLM.from_pretrained(  # tensor by tensor
            file.parent,
            gguf_file=file.name,
            dtype=kept,
            quantization_config=GgufConfig(dequantize=True),  # without it generation is five times slower
            output_loading_info=True,
        )
        whole.check(str(file), found["missing_keys"])
    except UserError:
        raise
    except Exception as error:  # whatever the reader of a foreign format raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        if memory.is_out_of_memory(error):
            raise _no_memory(file, folder, dtype, reason) from error
        raise DamagedError(f"{file}: is not a GGUF file that transformers can read ({reason}).") from error
    # save_pretrained refuses while the model still carries the marks of its quantizer.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    with runs.replacing(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)


def _check_room(file: Path, folder: Path, dtype: torch.dtype) -> None:
    """See that the converted weights fit into memory and onto the disk, before anything is converted."""
    sizes = [int(tensor.n_elements) for tensor in gguf.GGUFReader(file).tensors]
    needed = sum(sizes) * dtype.itemsize
    free = memory.free_bytes("cpu")
    at_work = needed + _AT_WORK * 4 * max(sizes, default=0)
    name = str(dtype).removeprefix("torch.")
    if free is not None and at_work > free:
        raise _no_memory(file, folder, name, f"{at_work / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free")
    room = shutil.disk_usage(file.parent).free
    if needed > room:
        raise UserError(
            f"{file}: its weights take {needed / 1e9:.1f} GB as safetensors in {name}, and {room / 1e9:.1f} GB are "
            f"free on this disk; make room, lay the file on another disk, or set dtype: bfloat16, half of float32."
        )


def _no_memory(file: Path, folder: Path, dtype: str, reason: str) -> MemoryShortError:
    return MemoryShortError(
        f"{file}: there is no memory to convert it to safetensors in {dtype} ({reason}); close other programs, set "
        f"dtype: bfloat16, convert it on a larger machine (the folder {folder.name} is all that is needed), or take a "
        f"smaller model."
    )
