"""A run's settings: what is refused, and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from dfc import config
from dfc.config import UserError

PRESETS = sorted((Path(__file__).parent.parent / "data" / "presets").glob("*.yaml"))
SMALL: dict[str, Any] = {
    "name": "small",
    "models": {"a": {"source": "x", "layer": 1}, "b": {"source": "y", "layer": 2}},
    "corpus": {"sources": [{"name": "s", "path": "s.jsonl"}]},
}


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_load_and_survive_a_round_trip(path: Path, tmp_path: Path) -> None:
    loaded = config.load(path)
    (tmp_path / "again.yaml").write_text(config.dump(loaded), encoding="utf-8")
    assert config.load(tmp_path / "again.yaml") == loaded


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        ("training", "stepz", 5, "unknown key `training.stepz`; did you mean `steps`?"),
        ("training", "steps", "many", "`training.steps`: input should be a valid integer"),
        ("training", "steps", 0, "`training.steps`: input should be greater than or equal to 1"),
        ("crosscoder", "exclusive_a", 0.7, "`crosscoder.exclusive_a`: input should be less than or equal to 0.5"),
        ("crosscoder", "kind", "sae", "`crosscoder.kind`: input should be 'dfc', 'standard' or 'dsf'"),
        ("corpus", "sources", [{"name": "s", "paht": "x"}], "`corpus.sources.0.path` is missing"),
        ("corpus", "sources", [], "`corpus.sources`"),
        ("corpus", "sources", [{"name": "s", "path": "x"}, {"name": "s", "path": "y"}], "two sources share a name"),
    ],
)
def test_wrong_settings_are_one_sentence(section: str, key: str, value: object, sentence: str) -> None:
    settings = {**SMALL, section: {**SMALL.get(section, {}), key: value}}
    with pytest.raises(UserError) as error:
        config.parse(settings, origin="run.yaml")
    assert str(error.value).startswith("run.yaml: ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_keys_without_a_likeness_list_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown key `models\.a\.qqq`; known keys: source, layer"):
        config.parse({**SMALL, "models": {"a": {"source": "x", "layer": 1, "qqq": 1}, "b": {}}}, origin="run.yaml")


@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "a: [1\n", "\xff"])
def test_files_that_are_no_settings(text: str, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=r"run\.yaml: "):
        config.load(path)


def test_missing_file_points_to_the_presets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; the presets"):
        config.load(tmp_path / "none.yaml")


def test_settings_cannot_be_changed() -> None:
    parsed = config.parse(SMALL, origin="run.yaml")
    with pytest.raises(ValidationError, match="frozen"):
        parsed.training.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("kind", ["dfc", "standard", "dsf"])
def test_parts_share_out_the_dictionary_and_the_budget(kind: str) -> None:
    crosscoder = config.CrosscoderConfig(kind=kind, features=1_000)  # type: ignore[arg-type]
    assert sum(crosscoder.part_sizes.values()) == 1_000
    assert sum(crosscoder.part_budgets.values()) == pytest.approx(1)
    assert list(crosscoder.part_sizes) == list(crosscoder.part_budgets)


def test_designated_features_need_a_budget_of_their_own() -> None:
    with pytest.raises(UserError, match="it needs `budget: per_partition`"):
        config.parse({**SMALL, "crosscoder": {"kind": "dsf", "budget": "joint"}}, origin="run.yaml")


@pytest.mark.parametrize("layer", [0, 12, 0.5, 0.001])
def test_a_layer_is_an_index_or_a_fraction_of_depth(layer: float, tmp_path: Path) -> None:
    models = {**SMALL["models"], "a": {"source": "x", "layer": layer}}
    parsed = config.parse({**SMALL, "models": models}, origin="run.yaml")
    (tmp_path / "run.yaml").write_text(config.dump(parsed), encoding="utf-8")
    again = config.load(tmp_path / "run.yaml").models.a.layer
    assert (again, type(again)) == (layer, type(layer))


@pytest.mark.parametrize("layer", [-1, 0.0, 1.0, 3.0, -0.5, True, "3", None, float("nan")])
def test_other_layers_are_refused(layer: object) -> None:
    with pytest.raises(UserError, match=r"`models\.a\.layer`: give the index of a block, from 0, or a fraction"):
        config.parse({**SMALL, "models": {**SMALL["models"], "a": {"source": "x", "layer": layer}}}, origin="run.yaml")


def test_places_are_readable() -> None:
    places = {12: "layer 12", 0.5: "layer 0.5 of depth"}
    assert {layer: config.ModelConfig(source="x", layer=layer).place for layer in places} == places


def test_titles() -> None:
    sources = {"data/models/Gemma.gguf": "Gemma", "Qwen/Qwen3-8B": "Qwen3-8B", "../mine": "mine"}
    assert {source: config.ModelConfig(source=source, layer=0).title for source in sources} == sources


@pytest.mark.parametrize("character", ["\x1b", "\n", "\x9b", "\u2028"])
def test_names_hold_no_control_characters(character: str) -> None:
    evil = f"a{character}[31mb"
    models, source = SMALL["models"], SMALL["corpus"]["sources"][0]
    for changed, where in (
        ({"models": {**models, "a": {**models["a"], "name": evil}}}, "models.a.name"),
        ({"models": {**models, "b": {**models["b"], "source": evil}}}, "models.b.source"),
        ({"corpus": {"sources": [{**source, "name": evil}]}}, "corpus.sources.0.name"),
    ):
        with pytest.raises(UserError, match=rf"^run\.yaml: `{where}`: holds control characters") as error:
            config.parse({**SMALL, **changed}, origin="run.yaml")
        assert character not in str(error.value)


def test_names_of_any_script_are_names() -> None:
    title = "نمی\u200cدانم 模型 \U0001f469\u200d\U0001f52c"
    models = {**SMALL["models"], "a": {**SMALL["models"]["a"], "name": title}}
    assert config.parse({**SMALL, "models": models}, "run.yaml").models.a.title == title
