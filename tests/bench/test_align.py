"""The benchmark of pairing: what it measures, not how fast."""

from __future__ import annotations

import random

import pytest

from dfc.bench import align, figures
from tests import tiny


def test_figures_of_pairing() -> None:
    documents = align.generated(random.Random(1))[:8]
    tokenizers = (tiny.byte_level_tokenizer(), tiny.metaspace_tokenizer())
    found = {figure.name: figure for figure in align.measure(tokenizers, documents)}
    pairing, prepared = found["pairing, tokens a second"], found["pairing, beside the prepared search"]
    assert pairing.target == 0.02
    assert pairing.ratio is not None
    assert pairing.ratio * pairing.value == pytest.approx(found["greedy search, tokens a second"].value)
    assert prepared.value == pairing.value
    assert found["documents greedy search gives up on"].value < 8
    assert "pairing, tokens a second" in figures.as_table("align", list(found.values()))


def test_the_shipped_prompts_are_plain_texts() -> None:
    documents = align.prompts()
    assert len(documents) == 300
    assert not any(document.is_chat for document in documents)
