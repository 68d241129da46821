"""GGUF files: converted in the dtype that is asked for, where there is room."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, GgufConfig

from dfc import models
from dfc.config import DamagedError, MemoryShortError, UserError
from dfc.machine import memory
from dfc.models import gguf_files, gguf_tensors
from dfc.models.weights import weight_bytes
from tests.models.gguf_made import LAYERS, WIDTH, config, write_gguf


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "Tiny-Q8.GGUF")


@pytest.fixture
def file(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / made.name))


def weights(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def refused(sentence: str, file: Path, kind: type[UserError] = UserError) -> None:
    with pytest.raises(kind, match=sentence) as error:
        models.load(config(file))
    assert "\n" not in str(error.value)


def not_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_tensors, "write", lambda *_: pytest.fail("converted"))


def test_it_is_converted_in_the_dtype_that_is_asked_for(file: Path) -> None:
    half = models.load(config(file, dtype="bfloat16"))
    assert half.title == "Tiny-Q8"
    assert [path.name for path in file.parent.iterdir() if path.is_dir()] == ["Tiny-Q8.GGUF-bfloat16"]
    kept = weights(file.parent / "Tiny-Q8.GGUF-bfloat16")
    assert {tensor.dtype for tensor in kept.values()} == {torch.bfloat16}
    assert weight_bytes(half.config) == 2 * sum(tensor.numel() for tensor in kept.values())
    whole = models.load(config(file))
    assert whole.model.dtype == torch.float32
    for name, tensor in weights(file.parent / "Tiny-Q8.GGUF-float32").items():
        assert torch.equal(tensor.to(torch.bfloat16), kept[name])


@pytest.mark.parametrize(("arch", "whole"), [("llama", 1 << 33), ("llama", 0), ("qwen3moe", 0), ("gemma3", 1 << 33)])
def test_it_is_what_transformers_makes_of_it_in_files_of_a_few_tensors(
    arch: str, whole: int, tmp_path: Path, tiny_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are permuted, experts joined, one is taken off norms."""
    file = write_gguf(tmp_path / "tiny.gguf", arch)
    plain = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    monkeypatch.setattr(gguf_tensors, "SHARD", 20_000)
    monkeypatch.setattr(gguf_tensors, "WHOLE", whole)
    monkeypatch.setattr(gguf_tensors, "_PART", 100)
    made = models.load(config(file, tokenizer=str(tiny_models[0])))
    expected = plain.state_dict()
    assert made.model.state_dict().keys() == expected.keys()
    for name, tensor in made.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert made.model.generation_config.eos_token_id == plain.generation_config.eos_token_id
    files = sorted((tmp_path / "tiny.gguf-float32").glob("*.safetensors"))
    if whole:
        plain.hf_quantizer, plain.is_quantized = None, False
        plain.save_pretrained(tmp_path / "plain")
        assert [file.read_bytes() for file in files] == [(tmp_path / "plain" / "model.safetensors").read_bytes()]
    else:
        assert len(files) > 3


def test_experts_are_as_wide_as_the_header_says(tmp_path: Path, tiny_models: tuple[Path, Path]) -> None:
    """transformers 5.23 leaves `expert_feed_forward_length` out (findings/gguf_expert_width_is_left_out.sh)."""
    made = models.load(
        config(write_gguf(tmp_path / "t.gguf", "qwen3moe", of_experts=64), tokenizer=str(tiny_models[0]))
    )
    assert made.model.config.moe_intermediate_size == 64
    widths = [tensor.shape[1:] for name, tensor in made.model.state_dict().items() if name.endswith("down_proj")]
    assert widths == [(WIDTH, 64)] * LAYERS


def test_a_header_without_its_lists_has_all_else(file: Path) -> None:
    whole, header = gguf.GGUFReader(file), gguf_tensors.Header(file)
    assert [tensor.name for tensor in header.tensors] == [tensor.name for tensor in whole.tensors]
    for one, other in zip(header.tensors, whole.tensors, strict=True):
        assert one.n_elements == other.n_elements
        assert np.array_equal(one.data, other.data)
    lists = {name for name, field in whole.fields.items() if gguf.GGUFValueType.ARRAY in field.types[:1]}
    assert len(lists) == 3
    assert header.fields.keys() == whole.fields.keys()
    for name in whole.fields.keys() - lists:
        assert header.fields[name].contents() == whole.fields[name].contents()


def test_tensors_are_written_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_tensors, "SHARD", 100)
    monkeypatch.setattr(gguf_tensors, "WHOLE", 100)
    there = []

    def tensors() -> Iterator[tuple[str, Tensor]]:
        for number in range(6):
            there.append(len(list(tmp_path.iterdir())))
            yield f"t{number}", torch.full((10,), float(number))  # 40 bytes: two of them to a file

    gguf_tensors._write_shards(tmp_path, tensors())
    assert there == [0, 0, 0, 1, 1, 2]
    assert sorted(weights(tmp_path)) == [f"t{number}" for number in range(6)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["weight_map"]["t5"] == "model-00003-of-00003.safetensors"
    assert index["metadata"]["total_size"] == 240


def test_what_is_there_in_float32_serves_every_dtype(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.load(config(file))
    not_converted(monkeypatch)
    assert models.load(config(file, dtype="bfloat16")).model.dtype == torch.bfloat16


class TestWhatAFolderWasMadeOf:
    def test_another_file_of_the_same_name_is_converted_anew(self, file: Path) -> None:
        before = models.load(config(file)).model.state_dict()["model.norm.weight"]
        size = file.stat().st_size
        raw = bytearray(file.read_bytes())
        raw[-4:] = b"\x00\x00\x80?"  # the last value of the last tensor is another: the size is the same
        file.write_bytes(raw)
        assert file.stat().st_size == size
        changed = models.load(config(file)).model.state_dict()
        assert changed["lm_head.weight"][-1, -1] == 1.0
        assert torch.equal(changed["model.norm.weight"], before)

    def test_a_file_that_was_only_touched_or_is_gone_is_not(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        models.load(config(file))
        not_converted(monkeypatch)
        os.utime(file, ns=(1, 1))
        models.load(config(file))
        monkeypatch.setattr(gguf_files, "_digest", lambda _: pytest.fail("hashed again"))
        models.load(config(file))
        file.unlink()
        assert weight_bytes(config(file)) > 0
        models.load(config(file))

    def test_a_model_of_somebody_else_is_neither_read_nor_written(
        self, file: Path, tiny_models: tuple[Path, Path]
    ) -> None:
        for name in ("Tiny-Q8", "Tiny-Q8.GGUF-float32"):
            shutil.copytree(tiny_models[0], file.parent / name)
        before = {path: path.stat().st_mtime_ns for path in file.parent.rglob("*")}
        refused(r"Tiny-Q8\.GGUF-float32: is where .* does not say that it was made of it; move it elsewhere", file)
        assert {path: path.stat().st_mtime_ns for path in file.parent.rglob("*")} == before
        shutil.rmtree(file.parent / "Tiny-Q8.GGUF-float32")
        assert len(models.load(config(file)).blocks) == LAYERS  # the other one has six

    def test_what_another_version_made_and_what_was_left_half_made_is_made_anew(self, file: Path) -> None:
        folder = file.parent / "Tiny-Q8.GGUF-float32"
        models.load(config(file))
        mark = json.loads((folder / "converted.json").read_text())
        (folder / "converted.json").write_text(json.dumps({**mark, "converter": mark["converter"] - 1}))
        (file.parent / "Tiny-Q8.GGUF-float32.part").mkdir()
        (file.parent / "Tiny-Q8.GGUF-float32.part" / "1.part").write_text("half")
        models.load(config(file))
        assert json.loads((folder / "converted.json").read_text()) == mark
        assert not list(file.parent.rglob("*.part"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_folder_beside_a_whole_file_is_made_anew(name: str, file: Path) -> None:
    expected = models.load(config(file)).model.state_dict()
    damaged = file.parent / "Tiny-Q8.GGUF-float32" / name
    size = damaged.stat().st_size
    (damaged.parent / "of the user's").write_text("")
    before = damaged.read_bytes()
    damaged.unlink()  # the weights above lie in it still
    damaged.write_bytes(before[: size // 2])
    found = models.load(config(file)).model.state_dict()
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    assert damaged.stat().st_size == size


def test_what_is_no_model_of_its_own_is_said_to(tmp_path: Path) -> None:
    part = write_gguf(tmp_path / "m-00001-of-00002.gguf", header={"split.count": 2})
    refused("is one of 2 parts of a GGUF file; join them", part)
    nope = tmp_path / "nope.gguf"
    writer = gguf.GGUFWriter(nope, "nope")
    writer.add_tensor("x", np.zeros((4, 32), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    refused("architecture nope is not supported yet by transformers; give the model's safetensors", nope)


def test_a_folder_that_is_called_like_a_file(tmp_path: Path, tiny_models: tuple[Path, Path]) -> None:
    shutil.copytree(tiny_models[0], tmp_path / "m.gguf")
    assert len(models.load(config(tmp_path / "m.gguf")).blocks) == 6


def test_what_is_no_whole_gguf_file_is_one_sentence(file: Path) -> None:
    whole = file.read_bytes()
    for length in (len(whole) // 2, 5_000, 60, 10):
        file.write_bytes(whole[:length])
        refused("is not a GGUF file that can be read: it ends too soon, .* fetch it again", file, DamagedError)
    file.write_bytes(b"GGML" + whole[4:])
    refused("it does not begin as one", file, DamagedError)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    refused("is a pointer of Git LFS in place of the file itself; .* `git lfs pull`", file, DamagedError)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_tensors_that_the_model_does_not_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of blocks are refused, others said whenever the model is loaded."""
    refused(
        r"holds \d+ tensors of blocks .* \(blk\.3\..*of 3 blocks by its header",
        write_gguf(tmp_path / "more.gguf", blocks=LAYERS + 1),
    )
    refused(r"holds 1 tensors of blocks", write_gguf(tmp_path / "bias.gguf", beside=("blk.0.attn_q.bias",)))
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]
    file = write_gguf(tmp_path / "rope.gguf", beside=("rope_factors_long.weight",))
    for _ in range(2):
        models.load(config(file))
        assert (
            "rope: its GGUF file holds tensors that transformers leaves out: rope_factors_long"
            in capsys.readouterr().err
        )


def test_disk_and_memory_are_looked_at_before_anything_is_converted(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    not_converted(monkeypatch)
    numbers = sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(file).tensors)

    class Usage(NamedTuple):
        free: int

    with monkeypatch.context() as patch:
        patch.setattr(gguf_files.shutil, "disk_usage", lambda _: Usage(8 * numbers - 1))
        with pytest.raises(
            UserError, match=r"to write its weights as safetensors in float32 takes .* GB, and .* on this disk"
        ):
            models.load(config(file))
        with pytest.raises(pytest.fail.Exception, match="converted"):  # there is room for half of it
            models.load(config(file, dtype="bfloat16"))
    monkeypatch.setattr(memory, "free_bytes", lambda _: gguf_tensors.SHARD)
    with pytest.raises(MemoryShortError, match=r"no memory to convert it to safetensors in float32 \(.* are needed"):
        models.load(config(file))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_two_that_convert_a_file_at_once_get_one_whole_folder(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "tiny.gguf")
    with ThreadPoolExecutor(4) as pool:
        folders = list(pool.map(lambda _: gguf_files.folder_of(file, "float32"), range(4)))
    assert set(folders) == {tmp_path / "tiny.gguf-float32"}
    assert gguf_files.converted(file, "float32") == folders[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.gguf", "tiny.gguf-float32"]
