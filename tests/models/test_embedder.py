"""Texts as vectors: pooling, prompts, long documents, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from dfc.config import UserError
from dfc.models import embedder
from dfc.models.embedder import Embedder
from tests.shared import once
from tests.tiny import make_encoder

QUERY, PASSAGE = "the people: ", "the river: "


@pytest.fixture(scope="module")
def folder(shared: None) -> Path:
    return once("encoder", lambda folder: make_encoder(folder, query=QUERY, document=PASSAGE))


@pytest.fixture(scope="module")
def small(folder: Path) -> Embedder:
    return embedder.load(folder, "cpu")


def last_states(folder: Path, text: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """States and characters of the tokens, by transformers alone."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    tokens = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
    with torch.no_grad():
        states = model(input_ids=tokens["input_ids"]).last_hidden_state[0]
    return states.numpy(), tokens["offset_mapping"][0].tolist()


def test_a_query_is_the_mean_of_its_own_tokens_behind_the_prompt(folder: Path, small: Embedder) -> None:
    texts = ["old bridge", "北京的河流", "rain"]
    found = small.queries(texts)
    for text, vector in zip(texts, found, strict=True):
        states, spans = last_states(folder, QUERY + text)
        mean = states[[stop > len(QUERY) and stop > start for start, stop in spans]].mean(axis=0)
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)
    assert small.queries([]).shape == (0, 32)


def test_a_stretch_is_the_mean_of_the_tokens_in_it_after_the_whole_document_was_read(
    folder: Path, small: Embedder
) -> None:
    text = "people watched the old bridge"
    [read] = small.documents([text])
    states, spans = last_states(folder, PASSAGE + text)
    start, stop = text.index("old"), text.index("old") + 3
    inside = [s < stop + len(PASSAGE) and e > start + len(PASSAGE) for s, e in spans]
    np.testing.assert_allclose(read.mean(start, stop), states[inside].mean(axis=0), atol=1e-5)
    assert read.mean(1_000, 1_001) == pytest.approx(read.states.mean(axis=0))  # there is nothing


def test_a_document_of_any_length_is_read_to_its_end(small: Embedder) -> None:
    texts = [" ".join(["under the old bridge 北京"] * 40), "", "   ", "rain"]
    reads = list(small.documents(texts))
    assert len(reads) == len(texts)
    long = reads[0].spans
    assert (np.diff(long[:, 0]) >= 0).all()
    assert long[-1, 1] == len(texts[0])
    covered = np.zeros(len(texts[0]), dtype=bool)
    for start, stop in long.tolist():
        covered[start:stop] = True
    assert all(covered[place] for place, mark in enumerate(texts[0]) if mark != " ")
    assert all(np.isfinite(read.states).all() and len(read.states) for read in reads)


def test_an_encoder_without_prompts_has_none(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "plain")
    (folder / "config_sentence_transformers.json").unlink()
    made = embedder.load(folder, "cpu")
    assert (made.query, made.document) == ("", "")
    assert made.limit == 40
    assert made.digest == embedder.load(folder, "cpu").digest
    assert made.digest != embedder.load(make_encoder(tmp_path / "other", seed=1), "cpu").digest


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "config.json").unlink(), "missing"),
        (lambda folder: (folder / "config.json").write_text("{"), "loads here"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "loads here"),
        (lambda folder: (folder / "config_sentence_transformers.json").write_text("["), "damaged"),
        (lambda folder: _pools(folder, "cls"), "not means"),
    ],
)
def test_what_does_not_load_is_said(tmp_path: Path, change: object, words: str) -> None:
    folder = make_encoder(tmp_path / "encoder")
    change(folder)  # type: ignore[operator]
    with pytest.raises(UserError, match=words):
        embedder.load(folder, "cpu")


def test_weights_that_are_lacking_are_not_made_up(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_encoder(tmp_path / "encoder")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"lack encoder\.layer\.1\.output"):
        embedder.load(folder, "cpu")


def _pools(folder: Path, how: str) -> None:
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(f'{{"pooling_mode_{how}_token": true}}')
