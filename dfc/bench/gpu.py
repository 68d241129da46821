"""What a GPU makes of the large case: a training step as in the paper, and the harvest of a model of a billion weights.

Shares of the card's peak are of what it reaches with one large product of the same type in this very run, so that they
mean the same on every card.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from dfc import models
from dfc.bench import harvest, train
from dfc.bench.figures import Figure, milliseconds
from dfc.config import HarvestConfig, MemoryShortError, ModelConfig, UserError
from dfc.machine import memory

_DEVICE, _DTYPE = "cuda", torch.bfloat16
_SIZE = train.Size(131_072, (4_096, 4_096), 2_048, _DEVICE)
_SIDE = 8_192  # of the product by which the peak is measured
_ROUNDS = 5
_DOCUMENTS, _TOKENS = 64, 512
_BILLION = LlamaConfig(
    vocab_size=32_000,
    hidden_size=2_048,
    intermediate_size=8_192,
    num_hidden_layers=16,
    num_attention_heads=32,
    num_key_value_heads=8,
    dtype=_DTYPE,
)


def run() -> list[Figure]:
    """Times, shares of the card's peak, and peak memory.

    Raises:
        UserError: if there is no CUDA device.
        MemoryShortError: if its memory is too small.
    """
    if not torch.cuda.is_available():
        raise UserError("bench gpu: this machine has no CUDA device that torch can use.")
    try:
        peak = _peak()
        return [Figure("peak, one product", peak, "TFLOP/s"), *_training(peak), *_harvest()]
    except Exception as error:
        if not memory.is_out_of_memory(error):
            raise
        raise MemoryShortError(
            f"bench gpu: {torch.cuda.get_device_name()} has no memory for a step of {_SIZE.features:,} features and "
            f"{_SIZE.batch:,} pairs {sum(_SIZE.widths):,} wide; close what else uses it, or take a larger card."
        ) from error


def _peak() -> float:
    """TFLOP/s of one large product."""
    square = torch.randn(_SIDE, _SIDE, device=_DEVICE, dtype=_DTYPE)
    [time] = milliseconds({"product": _waited(lambda: square @ square)}, _ROUNDS).values()
    return 2 * _SIDE**3 / time / 1e9


def _training(peak: float) -> list[Figure]:
    """A step at the paper's size, beside the product that it cannot do without."""
    torch.cuda.reset_peak_memory_stats()
    [time] = milliseconds({"step": _waited(train.step(_SIZE, _DTYPE))}, _ROUNDS).values()
    used = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.empty_cache()
    [product] = milliseconds({"floor": _waited(train.floor(_SIZE, _DTYPE))}, _ROUNDS).values()
    torch.cuda.empty_cache()
    title = f"{_SIZE.features:,} features × {' + '.join(f'{width:,}' for width in _SIZE.widths)}"
    reached = 2 * _SIZE.batch * _SIZE.features * sum(_SIZE.widths) / 1e9  # of the one dense product
    return [
        Figure(f"floor: encode product, {title}", product, "ms", "its time at peak", product * peak / reached),
        Figure(f"step of {_SIZE.batch:,} pairs, {title}", time, "ms", "floor", time / product),
        Figure("of it, at the card's peak", reached / peak, "ms", "step", reached / peak / time),
        Figure("memory of a step", used, "GiB"),
    ]


def _harvest() -> list[Figure]:
    """Reading a random model of a billion weights, up to its middle block, beside the bare forward pass."""
    words = Tokenizer(WordLevel({str(number): number for number in range(_BILLION.vocab_size)}, "0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="0")
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(1, _BILLION.vocab_size, (_DOCUMENTS, _TOKENS), generator=draw).tolist()
    with tempfile.TemporaryDirectory() as folder:
        with torch.device(_DEVICE):
            LlamaForCausalLM(_BILLION).to(_DTYPE).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        layer = _BILLION.num_hidden_layers // 2
        named = "a billion weights"
        model = models.load(ModelConfig(source=folder, name=named, layer=layer, device=_DEVICE, dtype="bfloat16"))
        torch.cuda.reset_peak_memory_stats()
        figures = harvest.beside_bare(model, ids, [list(range(_TOKENS))] * _DOCUMENTS, HarvestConfig(), Path(folder))
        return [*figures, Figure("memory of the harvest", torch.cuda.max_memory_allocated() / 2**30, "GiB")]


def _waited(task: Callable[[], object]) -> Callable[[], object]:
    """The same until the device is through with it."""

    def waited() -> None:
        task()
        torch.cuda.synchronize()

    return waited
