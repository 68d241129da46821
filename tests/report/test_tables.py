from __future__ import annotations

import csv as standard
import io

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from dfc.report import tables


def read(content: bytes) -> list[list[str]]:
    return list(standard.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_numbers_stay_numbers_and_lists_are_joined() -> None:
    frame = pd.DataFrame({"feature_id": [3], "r2": [-0.25], "tokens": [np.array(["党", "廉"])], "verdict": [None]})
    assert read(tables.csv(frame)) == [["feature_id", "r2", "tokens", "verdict"], ["3", "-0.25", "党 廉", ""]]
    assert frame["tokens"][0].tolist() == ["党", "廉"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_no_text_begins_a_formula(texts: list[str]) -> None:
    rows = read(tables.csv(pd.DataFrame({"text": texts, "place": range(len(texts))})))[1:]
    for text, (cell, _) in zip(texts, rows, strict=True):
        assert cell.lstrip(" ")[:1] not in ("=", "+", "-", "@", "\t", "\n")
        plain = text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
        assert cell in (plain, f"'{plain}")
