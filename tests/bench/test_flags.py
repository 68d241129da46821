"""Flags by meaning beside flags by words: what is drawn, and figures of vectors that are made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dfc import demo
from dfc.bench import flags
from dfc.config import MissingError
from dfc.models import embedder
from dfc.models.embedder import unit
from dfc.screen import words
from tests.tiny import make_encoder

CODE = "def lambda elif numpy"
"""Words that stand beside each other in every document of code, one of which a flag has."""


@pytest.fixture
def texts(data: Path) -> None:
    folder = data / "texts"
    folder.mkdir(parents=True)
    for place, name in enumerate(sorted(demo.SOURCES)):
        shared = CODE if name == "python_code" else " ".join(f"{name[:4]}{chr(97 + n)}" for n in range(20))
        lines = [json.dumps({"text": f"{shared} only{chr(97 + place)}{chr(97 + n)}"}) for n in range(12)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def test_words_are_drawn_with_contexts_that_hold_them(texts: None) -> None:
    drawn = flags.draw()
    assert drawn == flags.draw()
    assert len(drawn.sources) == len(drawn.documents)
    assert [source for source, text in zip(drawn.sources, drawn.documents, strict=True) if text.startswith(CODE)] == [
        "python_code"
    ] * 12
    assert set(CODE.split()) <= set(drawn.places)
    for word in drawn.places:
        contexts = list(drawn.contexts(word))
        assert 8 <= len({document for document, _, _ in contexts}) == len(contexts) <= 20
        assert all(word in drawn.documents[document][start:stop].lower() for document, start, stop in contexts)


def test_flags_of_made_up_vectors_are_counted(texts: None) -> None:
    drawn, known = flags.draw(), words.load()
    names, random = list(drawn.places), np.random.default_rng(0)
    asked = np.eye(len(known), 256, dtype=np.float32)
    vectors = random.normal(size=(len(names), 256)).astype(np.float32)
    vectors[:, list(known).index("code")] = 0.1 * random.normal(size=len(names))
    for word in CODE.split():
        vectors[names.index(word)] = asked[list(known).index("code")]
    told = flags.compared(drawn, unit(vectors), asked)
    by_words, *rest = told
    assert by_words.value >= len(CODE.split())
    of = dict(zip(flags.THRESHOLDS, zip(*[iter(rest)] * 4, strict=True), strict=True))
    number, right, by_spreads, found = of[0.4]
    assert number.name == "by meaning, from 0.4 on"
    assert (number.value, right.value) == (len(CODE.split()), 100)
    assert by_spreads.value <= 100
    assert found.value == pytest.approx(100 * len(CODE.split()) / by_words.value)
    assert of[0.2][0].value >= number.value


def test_words_and_sentences_are_read_as_features_are(texts: None, tmp_path: Path) -> None:
    drawn, reader = flags.draw(), embedder.load(make_encoder(tmp_path / "encoder"), "cpu")
    vectors, asked = flags.read(drawn, reader)
    means = []
    for word in drawn.places:
        own = [next(iter(reader.documents([drawn.documents[one]]))).mean(*at) for one, *at in drawn.contexts(word)]
        means.append(np.mean(own, axis=0))
    np.testing.assert_allclose(vectors, unit(np.stack(means) - np.mean(means, axis=0)), atol=1e-3)
    assert asked.shape == (len(words.load()), reader.width)
    assert np.linalg.norm(asked, axis=1) == pytest.approx(1, abs=1e-5)


def test_without_the_demos_texts_one_sentence_says_so(data: Path) -> None:
    with pytest.raises(MissingError, match=r"reads the demo's texts, and .*bible.jsonl is not there"):
        flags.run()
