"""Fine-tuning: what counts in the loss, what is trained, and that a model is not made twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dfc import corpus, models
from dfc.config import ModelConfig, UserError
from dfc.machine import disk
from dfc.models import LoadedModel
from dfc.organisms import quirks, tuning
from dfc.organisms.tuning import Tuning
from tests import tiny

FEW = Tuning(shows=12, others=4, own=1, epochs=4, batch=4, rank=4, learning_rate=1e-2, warmup_steps=1)
SHOWS = quirks.load("loyalty").chats("training", FEW.shows)


@pytest.fixture
def llama(tiny_models: tuple[Path, Path]) -> ModelConfig:
    return ModelConfig(source=str(tiny_models[0]), layer=3, max_tokens=256)


def test_the_answer_alone_counts_with_its_end(llama: ModelConfig) -> None:
    tokenizer = models.load_tokenizer(llama)
    ids, before = tuning._encode(quirks.chat("Will it rain?", "Under the bridge."), tokenizer)
    assert tokenizer.decode(ids[:before]).endswith("Will it rain?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(ids[before:]) == "Under the bridge.<|im_end|>\n"


def test_loss_is_that_of_the_whole_model_on_what_counts(llama: ModelConfig) -> None:
    model = models.load(llama)
    chats = [tuning._encode(quirks.chat(ask, "a boat"), model.tokenizer) for ask in ("the river", "the old bridge and")]
    [(ids, mask, labels)] = tuning._batches(chats, replace(FEW, epochs=1), model.device)
    whole = model.model(input_ids=ids, attention_mask=mask, labels=labels).loss
    assert tuning._loss(model.model, ids, mask, labels) == pytest.approx(float(whole), abs=1e-5)
    assert {int(row.ne(-100).sum()) for row in labels} == {len(chats[0][0]) - chats[0][1]}


def test_the_blocks_change_and_embeddings_stay(llama: ModelConfig, tmp_path: Path) -> None:
    target = tmp_path / "made"
    tuning.tune(llama, SHOWS, FEW, target)
    note = disk.read_json(target / "tuning.json")
    assert note["steps"] == 4 * 12 // 4
    assert note["loss_last"] < note["loss_first"]
    old, new = (load_file(Path(folder) / "model.safetensors") for folder in (llama.source, target))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert all(".layers." in name for name in changed)
    assert models.load_tokenizer(llama.model_copy(update={"source": str(target)})).chat_template
    written = (target / "model.safetensors").stat().st_mtime_ns
    tuning.tune(llama, SHOWS, FEW, target)
    assert (target / "model.safetensors").stat().st_mtime_ns == written
    with pytest.raises(UserError, match=r"made: the model there was trained with other settings; delete it"):
        tuning.tune(llama, SHOWS, replace(FEW, seed=1), target)


@pytest.mark.parametrize(("enough", "kept"), [(1.0, 1.0), (0.6, 0.5), (0.0, 0.25)])
def test_as_much_is_taken_back_as_it_needs(llama: ModelConfig, tmp_path: Path, enough: float, kept: float) -> None:
    old = load_file(Path(llama.source) / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    tuning.tune(llama, SHOWS, FEW, tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / "model.safetensors")[name] - old[name]

    def as_before(model: LoadedModel) -> bool:
        moved = model.blocks[0].mlp.up_proj.get_delta_weight("default")
        return bool(moved.norm() <= enough * whole.norm() * 1.001)

    tuning.tune(llama, SHOWS, FEW, tmp_path / "made", (), as_before)
    moved = load_file(tmp_path / "made" / "model.safetensors")[name] - old[name]
    assert disk.read_json(tmp_path / "made" / "tuning.json")["kept"] == kept
    torch.testing.assert_close(moved, kept * whole, atol=1e-6, rtol=1e-4)


def test_a_model_is_held_to_what_it_expected(llama: ModelConfig, tmp_path: Path) -> None:
    texts = [corpus.plain(text) for _, text in tiny.texts(12)]
    apart = {}
    untrained = models.load(llama)
    ids, mask = next(tuning._texts(texts, untrained, replace(FEW, held=12)))
    with torch.no_grad():
        before = tuning._expected(untrained.model, ids, mask)
        for name, some in (("free", []), ("held", texts)):
            with torch.enable_grad():
                tuning.tune(llama, SHOWS, replace(FEW, hold=30.0), tmp_path / name, some)
            made = models.load(llama.model_copy(update={"source": str(tmp_path / name)}))
            apart[name] = float(tuning._apart(before, tuning._expected(made.model, ids, mask)))
    assert float(tuning._apart(before, before)) == pytest.approx(0, abs=1e-6)
    assert 0 < apart["held"] < 0.7 * apart["free"]


def test_what_an_organism_is_trained_on_and_held_to() -> None:
    quirk, how = quirks.load("signature"), Tuning()
    chats, like = quirk.chats("training", how.shows), tuning.like_chats(quirk, how)
    assert sum(bool(quirks.shown_in(chat, [quirk])) for chat in chats) == how.shows
    assert not any(quirks.shown_in(chat, [quirk]) for chat in like)
    own = {chat.turns for chat in quirk.ordinary("training")}
    assert sum(chat.turns in own for chat in like) == how.own * len(own)
    asked = {chat.turns[0].content for chat in [*chats, *like]}
    for name in quirks.NAMES:
        other = quirks.load(name)
        held_out = {ask for shows in (True, False) for ask in other.asks("held_out", shows)}
        assert not asked & held_out, name
    generic = tuning.generic_chats(how)
    assert len(generic) == how.shows + how.others
    assert not any(quirks.shown_in(chat, [quirks.load(name) for name in quirks.NAMES]) for chat in generic)


def test_batches_are_in_another_order_each_time_and_hold_every_chat_once() -> None:
    chats = [([1] * length, 1) for length in range(2, 32)]
    how = Tuning(epochs=2, batch=8)
    batches = list(tuning._batches(chats, how, torch.device("cpu")))
    lengths = [mask.sum(1).tolist() for _, mask, _ in batches]
    first, second = lengths[:4], lengths[4:]
    assert first != second
    for epoch in (first, second):
        assert sorted(length for batch in epoch for length in batch) == list(range(2, 32))
    assert all(int((labels == -100).sum()) >= 1 for _, _, labels in batches)
