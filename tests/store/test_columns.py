"""Every column is described once, and what is described is what there is."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from dfc.report import columns_page
from dfc.store import columns
from dfc.store.column import Column

ROOT = Path(__file__).parents[2]
SCHEMA = (ROOT / "dfc" / "store" / "schema.sql").read_text(encoding="utf-8")


def test_columns_of_the_features_are_those_of_the_schema() -> None:
    with duckdb.connect() as connection:
        connection.execute(SCHEMA)
        found = connection.execute("SELECT column_name, column_type FROM (DESCRIBE features)").fetchall()
    kinds = dict(found)
    assert {one.name: one.kind for one in columns.FEATURES}.items() <= kinds.items()
    assert kinds.keys() - {one.name for one in columns.FEATURES} == {"fingerprint", "quantiles", "label_origin"}


def test_names_are_names_and_none_stands_twice() -> None:
    names = [one.name for one in columns.columns()]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() for name in names)
    assert all(one.table == table for table in ("features", "evidence") for one in getattr(columns, table.upper()))


@pytest.mark.parametrize("one", columns.columns(), ids=lambda one: one.name)
def test_what_is_said_is_a_sentence_and_what_is_offered_can_be_done(one: Column) -> None:
    assert one.meaning.endswith(".")
    assert one.title
    number = one.kind in ("FLOAT", "DOUBLE", "INTEGER", "BIGINT")
    assert number or not (one.steps or one.spread)
    assert list(one.steps) == sorted(set(one.steps))
    assert one.axis[0] < one.axis[1]
    assert (one.look == "text") <= one.is_text


def test_the_page_of_the_docs_is_made_of_them() -> None:
    assert (ROOT / "docs" / "columns.md").read_text(encoding="utf-8") == columns_page.markdown()
