"""The queries by meaning: those of the page, and when a feature is right."""

from __future__ import annotations

from pathlib import Path

from dfc.bench.meaning import QUERIES, Query, is_right

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
