"""The tensors of a GGUF file, written as safetensors one after another.

What a tensor is called and how it lies in a model is transformers' knowledge. Its own loader holds the whole model, and
a large tensor several times; here no more is held than a tensor and what is gathered for a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGUFReader, GGUFValueType, ReaderTensor
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.integrations.gguf.utils import is_gguf_arch_supported
from transformers.modeling_gguf_pytorch_utils import (
    TENSOR_PROCESSORS,
    TensorProcessor,
    get_gguf_hf_weights_map,
    load_gguf_checkpoint,
)

from dfc import runs
from dfc.config import NotLoadedError
from dfc.models import gguf_settings, whole

SHARD = 1 << 28  # bytes of weights that are gathered before they are written
WHOLE = 1 << 33  # bytes of a model that is one file, as transformers writes it
_OF_TORCH = {"format": "pt"}
_PART = 1 << 22  # bytes of a quantised tensor that are turned at a time
_EMBEDDING = "token_embd.weight"
_COPIES = 3  # of the largest tensor in float32, while it is turned
_BESIDE = re.compile(r"nextn|rot_embd|rope_freqs")  # what says tokens ahead, and what follows from the settings


class Header(GGUFReader):
    """A file's settings and tensors without the lists among the settings.

    These are the vocabulary, of which the reader itself makes a gigabyte of small arrays.
    """

    def _get_field_parts(self, orig_offs: int, raw_type: int) -> tuple[int, list[Any], list[int], list[GGUFValueType]]:
        if raw_type != GGUFValueType.ARRAY:
            found: tuple[int, list[Any], list[int], list[GGUFValueType]] = super()._get_field_parts(orig_offs, raw_type)
            return found
        kind, count = int(self._get(orig_offs, np.uint32)[0]), int(self._get(orig_offs + 4, np.uint64)[0])
        end = orig_offs + 12
        if (scalar := self.gguf_scalar_to_np.get(GGUFValueType(kind))) is not None:
            end += count * np.dtype(scalar).itemsize
        else:
            for _ in range(count):
                end += super()._get_field_parts(end, kind)[0]
        return end - orig_offs, [], [], [GGUFValueType.ARRAY]


def write(file: Path, reader: GGUFReader, folder: Path, dtype: torch.dtype) -> tuple[str, ...]:
    """Write a GGUF file's model and tokenizer into a folder that is there, as transformers loads them.

    Returns:
        The names of tensors that the model does not take.

    Raises:
        NotLoadedError: if a part of it would be left out.
        Exception: whatever transformers raises about a file that it cannot read.
    """
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    if _is_read_as_needed(reader):
        _write_whole(file, folder, dtype)
        settings = AutoConfig.from_pretrained(folder)
        if gguf_settings.carry_over(file, reader, settings):
            settings.save_pretrained(folder)
        return ()
    parsed = load_gguf_checkpoint(str(file))
    settings = AutoConfig.for_model(**parsed["config"])
    settings.dtype = dtype
    gguf_settings.complete(reader, settings)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(settings)
    settings.architectures = [type(model).__name__]
    model.generation_config.save_pretrained(folder)
    factors = {
        tensor.name: _values(tensor).flatten().tolist()
        for tensor in reader.tensors
        if tensor.name in gguf_settings.TENSORS
    }
    left = [] if not factors or gguf_settings.divide(reader, settings, factors) else sorted(factors)
    gguf_settings.carry_over(file, reader, settings)
    settings.save_pretrained(folder)
    processor = TENSOR_PROCESSORS.get(gguf_settings.architecture(reader), TensorProcessor)(config=parsed["config"])
    names: dict[str, str] = get_gguf_hf_weights_map(model, processor)
    _write_shards(folder, _converted(reader, processor, names, dtype, left))
    if lost := [name for name in left if _block_of(name) >= 0 and not _BESIDE.search(name)]:
        raise NotLoadedError(
            f"{file}: holds {len(lost):,} tensors of blocks for which transformers has no place ({whole.named(lost)}), "
            f"of {settings.num_hidden_layers} blocks by its header, so that a part of the model would be left out; "
            f"give the model's safetensors instead."
        )
    return tuple(left)


def at_work(reader: GGUFReader, dtype: torch.dtype) -> int:
    """Bytes of memory that `write` takes at most, beside what the process has."""
    sizes = [int(tensor.n_elements) for tensor in reader.tensors]
    turning = _COPIES * 4 * max(sizes, default=0)
    return turning + (sum(sizes) * dtype.itemsize if _is_read_as_needed(reader) else SHARD)


def on_disk(reader: GGUFReader, dtype: torch.dtype) -> int:
    """Bytes of the disk that `write` takes at most; what is written in parts first is there twice for a moment."""
    total = sum(int(tensor.n_elements) for tensor in reader.tensors) * dtype.itemsize
    return 2 * total if total <= WHOLE else total


def _is_read_as_needed(reader: GGUFReader) -> bool:
    """Whether transformers reads the tensors of this architecture one by one itself."""
    return bool(is_gguf_arch_supported(gguf_settings.architecture(reader)))


def _write_whole(file: Path, folder: Path, dtype: torch.dtype) -> None:
    model = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        dtype=dtype,
        quantization_config=GgufConfig(dequantize=True),  # without it generation is five times slower
    )
    # save_pretrained refuses while the model still carries the marks of its quantizer.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer, model.is_quantized = None, False
    model.save_pretrained(folder)


def _converted(
    reader: GGUFReader, processor: TensorProcessor, names: dict[str, str], dtype: torch.dtype, left: list[str]
) -> Iterator[tuple[str, Tensor]]:
    """Names and values as a model has them, block by block; names of what it does not take are added to `left`."""
    block = -1
    made: dict[str, Any] = {}  # what a processor makes of several tensors of a block, such as experts
    for tensor in sorted(reader.tensors, key=lambda tensor: _block_of(tensor.name)):
        if _block_of(tensor.name) != block:
            yield from ((name, value.to(dtype)) for name, value in made.items())
            made.clear()
            block = _block_of(tensor.name)
        if tensor.name == _EMBEDDING and tensor.name in names:  # the largest, which no processor changes
            yield names[tensor.name], _values(tensor, dtype)
            continue
        result = processor.process(
            weights=_values(tensor).numpy(),
            name=tensor.name,
            tensor_key_mapping=names,
            parsed_parameters={"tensors": made},
        )
        if result.name in names:
            yield names[result.name], torch.from_numpy(np.ascontiguousarray(result.weights)).to(dtype)
        elif result.name is not None and tensor.name not in gguf_settings.TENSORS:
            left.append(tensor.name)
    yield from ((name, value.to(dtype)) for name, value in made.items())


def _block_of(name: str) -> int:
    """Number of the block to which a tensor belongs; -1 for what belongs to none."""
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else -1


def _values(tensor: ReaderTensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor's values, turned a few rows at a time: the libraries' own way takes several times the tensor."""
    rows = max(1, _PART * len(tensor.data) // max(1, tensor.data.nbytes))
    whole: Tensor | None = None
    for start in range(0, len(tensor.data), rows):
        part = torch.from_numpy(np.array(gguf.dequantize(tensor.data[start : start + rows], tensor.tensor_type)))
        if whole is None:
            whole = torch.empty((len(tensor.data), *part.shape[1:]), dtype=dtype)
        whole[start : start + rows] = part
    assert whole is not None, tensor.name
    return whole


def _write_shards(folder: Path, tensors: Iterator[tuple[str, Tensor]]) -> None:
    """Parts of about `SHARD` bytes, a larger tensor alone; then one file, or of a large model parts and an index."""
    places: dict[str, Path] = {}
    held: dict[str, Tensor] = {}
    parts: list[Path] = []
    size = total = 0

    def flush() -> None:
        nonlocal size
        parts.append(folder / f"{len(parts) + 1}.part")
        save_file(held, parts[-1], metadata=_OF_TORCH)
        places.update(dict.fromkeys(held, parts[-1]))
        held.clear()
        size = 0

    for name, tensor in tensors:
        if held and size + tensor.nbytes > SHARD:
            flush()
        held[name] = tensor
        size += tensor.nbytes
        total += tensor.nbytes
    flush()
    if total <= WHOLE:
        mapped = {name: tensor for part in parts for name, tensor in load_file(part).items()}  # stays on the disk
        save_file(mapped, folder / "model.safetensors", metadata=_OF_TORCH)
        mapped.clear()
        for part in parts:
            part.unlink()
        return
    files = {part: f"model-{number:05d}-of-{len(parts):05d}.safetensors" for number, part in enumerate(parts, start=1)}
    for part, called in files.items():
        part.rename(folder / called)
    index = {"metadata": {"total_size": total}, "weight_map": {name: files[place] for name, place in places.items()}}
    runs.write_json(folder / "model.safetensors.index.json", index)
