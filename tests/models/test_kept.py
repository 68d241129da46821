"""Models in memory: one for equal weights, dropped when memory is short and nobody holds them."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfc import models
from dfc.config import MemoryShortError, ModelConfig, UserError
from dfc.machine import memory
from dfc.models import LoadedModel, kept, loading
from dfc.models.weights import weight_bytes
from dfc.requests import Prompt
from dfc.steering.generation import BASELINE, Sampling, generate


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No models of other tests."""
    monkeypatch.setattr(kept, "_models", type(kept._models)())
    yield
    kept.drop_unused()


def settings(folder: Path, **changes: object) -> ModelConfig:
    return ModelConfig.model_validate({"source": str(folder), "layer": 1, **changes})


def copy(folder: Path, target: Path) -> ModelConfig:
    shutil.copytree(folder, target)
    return settings(target)


def is_loaded(config: ModelConfig) -> bool:
    return kept._key(config) in kept._models


def storages(model: LoadedModel) -> list[int]:
    return [parameter.data_ptr() for parameter in model.model.parameters()]


def test_sites_on_one_model_share_weights_lock_and_wrapper(tiny_models: tuple[Path, Path]) -> None:
    one = models.shared(settings(tiny_models[0]))
    two = models.shared(settings(tiny_models[0], layer=0.5, name="half way", max_tokens=64))
    assert storages(one) == storages(two)
    assert one.lock is two.lock
    assert one.live is two.live
    assert one.tokenizer is two.tokenizer
    assert (one.layer, two.layer) == (1, 3)
    assert (two.title, two.max_tokens) == ("half way", 64)
    assert one.site is not two.site
    assert one.live_site is not two.live_site
    assert models.shared(settings(tiny_models[0])) is one
    alone = models.load(two.config)
    assert alone.description == two.description
    assert not set(storages(alone)) & set(storages(two))


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"attention": "eager"}, {"device": "cpu"}])
def test_what_changes_the_model_in_memory_is_another_one(
    change: dict[str, str], tiny_models: tuple[Path, Path]
) -> None:
    one = models.shared(settings(tiny_models[0]))
    assert not is_loaded(settings(tiny_models[0], **change))
    assert not set(storages(models.shared(settings(tiny_models[0], **change)))) & set(storages(one))


def test_a_site_that_is_not_there_is_one_sentence(tiny_models: tuple[Path, Path]) -> None:
    models.shared(settings(tiny_models[0]))
    with pytest.raises(UserError, match="there is no layer 6; its 6 blocks are 0 to 5"):
        models.shared(settings(tiny_models[0], layer=6))
    with pytest.raises(UserError, match=r"`blocks: model\.h` is not one of them"):
        models.shared(settings(tiny_models[0], blocks="model.h"))


def test_two_sites_written_with_at_once_wait_for_each_other(tiny_models: tuple[Path, Path]) -> None:
    configs = [settings(tiny_models[0], layer=layer) for layer in (1, 4)]
    expected = generate(models.load(configs[0]), Prompt("The old bridge"), Sampling(8), [BASELINE])[0].text
    texts: dict[int, str] = {}

    def write(number: int) -> None:
        site = models.shared(configs[number % 2])
        texts[number] = generate(site, Prompt("The old bridge"), Sampling(8), [BASELINE])[0].text

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == dict.fromkeys(range(4), expected)
    assert len(kept._models) == 1


def test_the_one_used_least_recently_goes_when_memory_is_short(
    tiny_models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (copy(tiny_models[0], tmp_path / name) for name in ("first", "second", "third"))
    size = weight_bytes(first)
    monkeypatch.setattr(memory, "free_bytes", lambda device: (2 - len(kept._models)) * size)
    models.shared(first)
    models.shared(second)
    models.shared(first)  # now the second was used least recently
    models.shared(third)
    assert [is_loaded(config) for config in (first, second, third)] == [True, False, True]


def test_what_somebody_holds_stays(
    tiny_models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = (copy(tiny_models[0], tmp_path / name) for name in ("first", "second", "third"))
    size = weight_bytes(first)
    held = models.shared(first)
    monkeypatch.setattr(memory, "free_bytes", lambda device: (2 - len(kept._models)) * size)
    models.shared(second)
    models.shared(third)
    assert [is_loaded(config) for config in (first, second, third)] == [True, False, True]
    also = models.shared(third)
    with pytest.raises(MemoryShortError, match=r"second: its weights need 0\.0 GB in float32, and 0\.0 GB of memory"):
        models.shared(second)
    del also
    models.shared(second)
    assert models.shared(first) is held


def test_a_load_that_fails_for_lack_of_memory_is_tried_again_without_the_others(
    tiny_models: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (copy(tiny_models[0], tmp_path / name) for name in ("first", "second"))
    monkeypatch.setattr(memory, "free_bytes", lambda device: None)  # the system does not say
    load = loading.load

    def full(config: ModelConfig) -> LoadedModel:
        if kept._models:
            raise MemoryShortError(f"{config.title}: there is no memory for this model")
        return load(config)

    monkeypatch.setattr(loading, "load", full)
    models.shared(first)
    models.shared(second)
    assert not is_loaded(first)
    held = models.shared(second)
    with pytest.raises(MemoryShortError):
        models.shared(first)
    assert held is models.shared(second)


def test_dropped_weights_leave_memory_also_after_they_have_written(tiny_models: tuple[Path, Path]) -> None:
    site = models.shared(settings(tiny_models[0]))
    generate(site, Prompt("The old bridge"), Sampling(3), [BASELINE])
    weights = weakref.ref(site.model)
    assert kept.drop_unused() == 0
    del site
    assert kept.drop_unused() == 1
    assert weights() is None
