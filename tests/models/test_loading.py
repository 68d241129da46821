"""Loading models, finding their blocks, and reading the stream; `test_families` does so with many architectures."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    ByT5Tokenizer,
    CLIPConfig,
    GPTNeoConfig,
    GPTNeoForCausalLM,
)

from dfc import models
from dfc.config import ModelConfig
from dfc.models import sites
from tests import tiny
from tests.models.copies import copied, refused


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("layer", [0, 2])
def test_the_tiny_models_are_read_at_the_right_block(which: int, layer: int, tiny_models: tuple[Path, Path]) -> None:
    loaded = models.load(ModelConfig(source=str(tiny_models[which]), layer=layer))
    _assert_reads_what_a_plain_forward_gives(loaded)
    assert loaded.is_chat == (which == 0)


def _assert_reads_what_a_plain_forward_gives(loaded: models.LoadedModel) -> None:
    """Padded on the right, and without running what comes after the site."""
    torch.manual_seed(0)
    ids = torch.randint(5, 400, (2, 9))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    with torch.no_grad():
        plain = [
            loaded.model(row[None, :length], output_hidden_states=True) for row, length in zip(ids, (9, 6), strict=True)
        ]
    later: list[int] = []
    layer = loaded.layer
    handle = loaded.blocks[layer + 1].register_forward_hook(lambda *_: later.append(1))
    [stream] = loaded.streams([loaded.layer], ids, mask)
    handle.remove()
    assert later == []
    for row, out in enumerate(plain):
        expected = out.hidden_states[layer + 1][0]
        torch.testing.assert_close(stream[row, : len(expected)], expected, atol=1e-5, rtol=1e-4)


def test_what_cannot_be_loaded_is_one_sentence(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    llama = str(tiny_models[0])
    refused(r"there is no layer 6; its 6 blocks are 0 to 5 \(half way is 3\): set `layer`", source=llama, layer=6)
    refused(r"`blocks: model\.h` is not one of them; .* model\.layers \(6\)", source=llama, blocks="model.h")
    refused("none: its model could not be loaded, since nothing lies there .*; correct", source=str(tmp_path / "none"))
    refused("could not be loaded .* give the id of a causal language model", source="no-such-owner/none")
    refused("no such GGUF file", source=str(tmp_path / "none.gguf"))
    (tmp_path / "noise.gguf").write_bytes(b"GGUF" + b"\x00" * 50)
    refused(r"noise\.gguf: is not a GGUF file that can be read", source=str(tmp_path / "noise.gguf"))
    assert [path.name for path in tmp_path.iterdir()] == ["noise.gguf"]


def test_a_tokenizer_without_offsets_is_loaded_and_told_apart(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    prints = []
    for extra in (125, 100):
        folder = tmp_path / f"model{extra}"
        shutil.copytree(tiny_models[0], folder)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
        ByT5Tokenizer(extra_ids=extra).save_pretrained(folder)
        config = ModelConfig(source=str(folder), layer=0)
        assert not models.load(config).tokenizer.is_fast
        prints.append(models.fingerprint(config))
        assert models.fingerprint(config) == prints[-1]
    assert prints[0].weights == prints[1].weights
    assert prints[0].tokenizer != prints[1].tokenizer


@pytest.mark.parametrize(
    ("fraction", "count", "index"),
    [(0.5, 30, 15), (0.5, 3, 1), (0.01, 30, 0), (0.999, 30, 29), (0.29, 100, 29), (1 - 2**-53, 61, 60)],
)
def test_a_fraction_of_depth_is_an_index(fraction: float, count: int, index: int) -> None:
    assert sites.layer_index(fraction, count) == index


def test_a_model_is_read_at_a_fraction_of_its_depth(tiny_models: tuple[Path, Path]) -> None:
    loaded = models.load(ModelConfig(source=str(tiny_models[0]), layer=0.5))
    assert loaded.description.layer == 3
    assert loaded.site is loaded.blocks[3]
    _assert_reads_what_a_plain_forward_gives(loaded)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_implementation_of_attention_reaches_the_model(attention: str, tiny_models: tuple[Path, Path]) -> None:
    settings = {"source": str(tiny_models[0]), "layer": 1, "attention": attention}
    assert models.load(ModelConfig.model_validate(settings)).model.config._attn_implementation == attention


def test_attention_that_a_model_does_not_have_is_one_sentence(tmp_path: Path) -> None:
    settings = GPTNeoConfig(hidden_size=16, num_layers=2, num_heads=2, attention_types=[[["global"], 2]])
    folder = tiny.save(tmp_path / "model", GPTNeoForCausalLM(settings), tiny.byte_level_tokenizer())
    refused("does not support .* or leave `attention` at auto", source=str(folder), attention="sdpa")


def test_a_model_is_loaded_once(tiny_models: tuple[Path, Path]) -> None:
    config = ModelConfig(source=str(tiny_models[0]), layer=1)
    assert models.shared(config) is models.shared(config)
    assert models.shared(config) is not models.shared(config.model_copy(update={"layer": 2}))


def test_a_tokenizer_is_named_where_the_source_has_none(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_models[0], folder, ignore=shutil.ignore_patterns("token*", "chat*", "special*"))
    refused(f"{folder}: its tokenizer could not be loaded .* key `tokenizer` of this model", source=str(folder))
    named = ModelConfig(source=str(folder), layer=0, tokenizer=str(tiny_models[0]))
    loaded, whole = models.load(named), models.load(ModelConfig(source=str(tiny_models[0]), layer=0))
    assert loaded.tokenizer("the river").input_ids == whole.tokenizer("the river").input_ids
    assert models.fingerprint(named) == models.fingerprint(whole.config)
    refused(f"{tmp_path}/no: its tokenizer could not be loaded", source=str(folder), tokenizer=f"{tmp_path}/no")


def test_a_tokenizer_cuts_texts_at_their_end_whatever_its_settings_say(
    tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_models[0], folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncation_side": "left"}))
    tokenizer = models.load_tokenizer(ModelConfig(source=str(folder), layer=0))
    whole = tokenizer("the old bridge").input_ids
    assert tokenizer("the old bridge", truncation=True, max_length=2).input_ids == whole[:2]


@pytest.mark.parametrize("value", [32.0, "32", None])
def test_settings_of_another_type_are_one_sentence(
    value: object, tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_models[0], folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_size": value}))
    refused(r"config\.json holds a value .* Field 'hidden_size' expected int, got .*; correct it", source=str(folder))


def _changed(model: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> str:
    """A copy of a model whose weights were changed."""
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


def test_weights_that_are_missing_are_no_random_numbers(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    lost = "model.layers.1.mlp.up_proj.weight"
    source = _changed(tiny_models[0], tmp_path / "model", lambda tensors: tensors.pop(lost))
    refused(
        rf"its files lack 1 of the model's weights \({re.escape(lost)}\), in place of which .* random", source=source
    )


def test_damaged_weights_are_one_sentence(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(tiny_models[0], tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1_000])
    refused(r"its weights are damaged or incomplete \(.*fetch them again", source=str(tmp_path / "model"))


def test_how_a_model_would_write_by_itself_changes_nothing(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    """Guidance runs a model twice a token, beams cannot be streamed, an n-gram rule changes what is compared."""
    shutil.copytree(tiny_models[0], tmp_path / "model")
    path = tmp_path / "model" / "generation_config.json"
    given = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**given, "guidance_scale": 1.5, "num_beams": 4, "no_repeat_ngram_size": 1}))
    plain, changed = (
        models.load(ModelConfig(source=str(source), layer=1)) for source in (tiny_models[0], tmp_path / "model")
    )
    ids = torch.arange(5, 12)[None]
    written = [one.model.generate(ids, max_new_tokens=8, do_sample=False).tolist() for one in (plain, changed)]
    assert written[0] == written[1]


def test_what_gives_no_finite_numbers_is_said_to(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.0.mlp.up_proj.weight"].fill_(torch.nan)

    source = _changed(tiny_models[0], tmp_path / "model", spoil)
    refused(r"gives no finite numbers in float32; set `dtype` to bfloat16", source=source)


@pytest.mark.parametrize("asked_before", [True, False])
def test_the_stream_that_is_read_is_the_one_that_was_edited(asked_before: bool, tiny_models: tuple[Path, Path]) -> None:
    """`output_hidden_states` shows a block's edit or not, by what the model was asked before; the hook always does."""
    loaded = models.load(ModelConfig(source=str(tiny_models[0]), layer=2))
    ids, vector = torch.arange(5, 14)[None], torch.ones(loaded.width)
    with torch.no_grad():
        if asked_before:
            loaded.model(ids, output_hidden_states=True)
        plain = loaded.model(ids).logits
    caught: list[torch.Tensor] = []

    def edit(module: Any, inputs: Any, output: Any) -> None:
        loaded.form.add(output, 0, vector.expand(ids.shape[1], -1))

    [before] = loaded.streams([loaded.layer], ids, torch.ones_like(ids))
    handles = [loaded.site.register_forward_hook(edit)]
    following = loaded.blocks[3].register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0].clone()))
    [steered] = loaded.streams([loaded.layer], ids, torch.ones_like(ids))
    with torch.no_grad():
        asked = loaded.model(ids, output_hidden_states=True)
    for handle in (*handles, following):
        handle.remove()
    torch.testing.assert_close(steered - before, vector.expand_as(before), atol=1e-5, rtol=0)
    torch.testing.assert_close(caught[0], steered)
    assert (asked.logits - plain).abs().max() > 1e-3


class TestWeightsThatTheModelDoesNotTake:
    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            (
                "model.layers.6.mlp.up_proj.weight",
                r"weights for 7 modules of model\.layers, and its .* speaks of 6, so",
            ),
            ("layers.11.mlp.up_proj.weight", r"weights for 12 modules of model\.layers"),
            (
                "model.layers.0.self_attn.q_proj.bias",
                r"hold 1 weights for modules .* \(model\.layers\.0.*save the model",
            ),
            ("model.layers.3.adapter.down.weight", "hold 1 weights for modules of the model that have no place"),
            ("lm_head.bias", "hold 1 weights for modules"),
        ],
    )
    def test_what_belongs_into_the_model_is_refused(
        self, name: str, sentence: str, tiny_models: tuple[Path, Path], tmp_path: Path
    ) -> None:
        refused(
            sentence,
            source=_changed(tiny_models[0], tmp_path / "model", lambda tensors: tensors.update({name: torch.ones(32)})),
        )

    def test_settings_that_speak_of_fewer_blocks(self, tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
        refused(
            r"weights for 6 modules of model\.layers, and its config\.json speaks of 4, .*; correct the number there",
            source=copied(tiny_models, tmp_path / "model", num_hidden_layers=4),
        )

    def test_what_stands_beside_the_model_is_said_and_what_follows_from_settings_is_not(
        self, tiny_models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        beside = ("model.vision_tower.0.weight", "model.vision_tower.1.weight", "mtp.layers.0.weight", "v_head.weight")
        follows = ("model.layers.0.self_attn.rotary_emb.inv_freq", "model.layers.1.attn.masked_bias")

        def add(tensors: dict[str, torch.Tensor]) -> None:
            tensors.update({name: torch.ones(3) for name in (*beside, *follows)})

        models.load(ModelConfig(source=_changed(tiny_models[0], tmp_path / "some", add), layer=1))
        said = capsys.readouterr().err
        assert "some: 4 weights of its files are left out" in said
        assert "model.vision_tower (2), mtp (1), v_head (1)" in said  # the most first
        models.load(ModelConfig(source=str(tiny_models[0]), layer=1))
        assert "left out" not in capsys.readouterr().err

    def test_blocks_that_say_tokens_ahead_are_said(
        self, tiny_models: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = copied(tiny_models, tmp_path / "model", num_nextn_predict_layers=1)
        tensors = load_file(tmp_path / "model" / "model.safetensors")
        for number, sentence in ((6, ""), (7, "weights for 8 modules")):
            tensors[f"model.layers.{number}.eh_proj.weight"] = torch.ones(3)
            save_file(tensors, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
            if sentence:
                refused(sentence, source=source)
            else:
                assert len(models.load(ModelConfig(source=source, layer=1)).blocks) == 6
                assert "1 weights of its files are left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"model_type": "unheard", "auto_map": {"AutoConfig": "x.Y", "AutoModelForCausalLM": "x.Z"}},
            r"comes with code of its own \(`auto_map` .*; if you trust it, set `trust_remote_code: true`",
        ),
        ({"hidden_act": "swoosh"}, r"can make no model of its config\.json \(KeyError: .*swoosh.*correct it there"),
        ({"rope_parameters": {"rope_type": "bent"}}, r"of its config\.json \(.*bent.*correct it there"),
        ({"rope_parameters": {"rope_type": "linear"}}, r"of its config\.json \(.*factor.*correct it there"),
        ({"rope_parameters": "yarn"}, r"config\.json .*correct it there"),
        ({"max_position_embeddings": -1}, "`max_position_embeddings: -1`, which is no number of positions; correct it"),
        ({"max_position_embeddings": 0}, "`max_position_embeddings: 0`, which is no number of positions; correct it"),
    ],
)
def test_settings_of_which_no_model_can_be_made(
    settings: dict[str, object], sentence: str, tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    refused(sentence, source=copied(tiny_models, tmp_path / "model", **settings))


@pytest.mark.parametrize("settings", [{"return_dict": False}, {"num_layers": 12}, {"output_hidden_states": True}])
def test_settings_that_change_nothing(
    settings: dict[str, object], tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    """How values are handed over, and a stray number of layers that the model's class does not know."""
    loaded = models.load(ModelConfig(source=copied(tiny_models, tmp_path / "model", **settings), layer=2))
    assert loaded.description.layers == 6
    _assert_reads_what_a_plain_forward_gives(loaded)


class TestPickles:
    """Whoever opens a pickled file runs what it says."""

    @pytest.fixture
    def pickled(self, tiny_models: tuple[Path, Path], tmp_path: Path) -> Path:
        shutil.copytree(tiny_models[0], tmp_path / "model")
        tensors = load_file(tmp_path / "model" / "model.safetensors")
        torch.save(tensors, tmp_path / "model" / "pytorch_model.bin")
        (tmp_path / "model" / "model.safetensors").unlink()
        return tmp_path / "model"

    SENTENCE = r"pickled ones \(\.bin\) are not opened, since they may run code; .*convert it once: `AutoModel"

    def test_weights_that_are_only_pickled(self, pickled: Path) -> None:
        refused(self.SENTENCE, source=str(pickled))

    def test_an_index_that_names_one(self, pickled: Path) -> None:
        names = torch.load(pickled / "pytorch_model.bin").keys()
        index = {"metadata": {}, "weight_map": dict.fromkeys(names, "pytorch_model.bin")}
        (pickled / "model.safetensors.index.json").write_text(json.dumps(index))
        refused(self.SENTENCE, source=str(pickled))
        assert torch.load(pickled / "pytorch_model.bin")

    def test_settings_that_name_one(self, pickled: Path) -> None:
        path = pickled / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "transformers_weights": "pytorch_model.bin"}))
        refused("pytorch_model.bin", source=str(pickled))


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_of_git_lfs_in_place_of_a_file(name: str, tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(tiny_models[0], tmp_path / "model")
    (tmp_path / "model" / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(rf"{name}: is a pointer of Git LFS .* with `git lfs pull`", source=str(tmp_path / "model"))


def test_a_file_of_weights_that_is_missing_is_named(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(copied(tiny_models, tmp_path / "model"))
    whole = folder / "model.safetensors"
    kept = whole.read_bytes()
    whole.unlink()
    refused(r"lacks its weights \(model\.safetensors\); fetch it", source=str(folder))
    first = folder / "model-00001-of-00002.safetensors"
    first.write_bytes(kept)
    refused(r"lacks model\.safetensors\.index\.json; fetch it", source=str(folder))
    index = folder / "model.safetensors.index.json"
    places = {"x": first.name, "y": "model-00002-of-00002.safetensors"}
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    refused(r"lacks model-00002-of-00002\.safetensors; fetch it", source=str(folder))
    index.write_text("{}")
    refused(r"lacks an index of its weights that can be read", source=str(folder))


def test_a_model_that_is_no_causal_language_model(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    folder = Path(copied(tiny_models, tmp_path / "model"))
    CLIPConfig().save_pretrained(folder)
    refused("is a `clip`, of which transformers has no causal language model; give one", source=str(folder))


def test_home_is_found(tiny_models: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tiny_models[0].parent))
    found = ModelConfig.model_validate({"source": f"~/{tiny_models[0].name}", "layer": 1, "tokenizer": "~/t"})
    assert (found.source, found.tokenizer) == (str(tiny_models[0]), str(tiny_models[0].parent / "t"))
