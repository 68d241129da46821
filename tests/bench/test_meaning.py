"""The queries by meaning: those of the page, and when a feature is right."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dfc import pipeline
from dfc.bench import meaning
from dfc.bench.meaning import QUERIES, Query, is_right
from dfc.config import MissingError
from tests.tiny import make_encoder
from tests.ui.folders import make_run

PAGE = Path(__file__).parents[2] / "docs" / "meaning.md"


def test_the_page_lists_the_queries_and_what_is_right() -> None:
    written = PAGE.read_text(encoding="utf-8").replace("\\|", "|")
    for query in QUERIES:
        assert f"| {query.words} |" in written
        assert f"`{query.right}`" in written


def test_a_feature_is_right_by_half_of_its_contexts() -> None:
    query = Query("rain", "rain|雨")
    assert is_right(query, ["it rains", "下雨了", "sun", "sun"])
    assert not is_right(query, ["it rains", "sun", "sun"])
    assert not is_right(query, [])


def test_without_the_demos_run_its_vectors_or_their_encoder_one_sentence_says_so(data: Path) -> None:
    with pytest.raises(MissingError, match="asks about texts of the demo's run, which is not there; `make demo` makes"):
        meaning.run()
    run = make_run(data, features=12)
    with pytest.raises(MissingError, match="are about is not known: `python -m dfc meaning demo` reads it"):
        meaning.run()
    encoder = make_encoder(data / "models" / "tiny")
    pipeline.meaning(run, encoder, "cpu")
    shutil.rmtree(encoder)
    with pytest.raises(MissingError, match=r"is not at .*tiny: `python -m dfc meaning demo` fetches it"):
        meaning.run()


def test_queries_are_asked_of_the_demos_run(data: Path) -> None:
    run = make_run(data, features=60)
    pipeline.meaning(run, make_encoder(data / "models" / "tiny"), "cpu")
    figures = meaning.run()
    assert [one.name for one in figures[: len(QUERIES)]] == [query.words for query in QUERIES]
    found = sum(one.value > 0 for one in figures[: len(QUERIES)])
    assert figures[len(QUERIES)].value == found
