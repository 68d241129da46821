"""GGUF files: turned once into a folder of safetensors, which loads in a second instead of a minute."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from dfc import runs
from dfc.config import DamagedError, MemoryShortError, MissingError, shipped
from dfc.machine import memory, progress

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # transformers writes one file, or several shards


def folder_of(file: Path) -> Path:
    """The folder beside a GGUF file that holds the same model; made if need be, which takes a minute or two.

    Raises:
        MissingError: if there is no such file.
        DamagedError: if transformers cannot read it.
        MemoryShortError: if there is no memory to convert it, which takes its weights in float32.
    """
    folder = file.with_suffix("")
    if not any((folder / name).exists() for name in _WEIGHTS):
        if not file.exists():
            raise MissingError(
                f"models: {file}: no such GGUF file; the demo's two are fetched by `{shipped.DEMO_DATA}`."
            )
        _convert(file, folder)
    return folder


def _convert(file: Path, folder: Path) -> None:
    progress.say(f"{file.name}: converting to safetensors, once (a minute or two)")
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),  # without it generation is five times slower
        )
    except Exception as error:  # whatever the reader of a foreign format raises
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
        if memory.is_out_of_memory(error):
            raise MemoryShortError(
                f"{file}: there is no memory to convert it to safetensors in float32 ({reason}); close other programs, "
                f"convert it on a larger machine (the folder {folder.name} is all that is needed), or take a smaller "
                f"model."
            ) from error
        raise DamagedError(f"{file}: is not a GGUF file that transformers can read ({reason}).") from error
    # save_pretrained refuses while the model still carries the marks of its quantizer.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    with runs.replacing(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
