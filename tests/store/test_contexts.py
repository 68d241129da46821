"""Contexts as they are packed: tokens and activations come back as they were."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from dfc.config import SIDES
from dfc.store.contexts import COLUMNS, token_texts, unpacked

ROW: dict[str, Any] = {
    "feature_id": 3, "band": 0, "rank": 1, "document": 7, "source": "web", "role": "user", "start": 4, "stop": 9,
    "peak": 2.5, "peak_a": 2, "peak_b": 1, "text_a": "a 老💻b", "text_b": None,
    "lengths_a": [2, 0, 1, 1, 1], "lengths_b": [2, 1, 2], "unknown_a": [1, 3], "unknown_b": [],
    "fired": [1], "activations": [2.5],
}  # fmt: skip
CHAT = ROW | {"text_b": "<u> a 老💻b", "lengths_b": [4, 2, 1, 2], "unknown_b": [0], "peak_b": 2}


def test_unpacked() -> None:
    context = unpacked(ROW)
    assert context.tokens_a == ["a ", "", "老", "💻", "b"]
    assert context.tokens_b == ["a ", "老", "💻b"]
    assert context.activations_a == [0.0, None, 2.5, None, 0.0]
    assert context.activations_b == [0.0, 2.5, 0.0]
    assert (context.role, context.start, context.stop) == ("user", 4, 9)


def test_unpacked_where_the_renderings_differ() -> None:
    context = unpacked(CHAT)
    assert context.tokens_b == ["<u> ", "a ", "老", "💻b"]
    assert context.activations_b == [None, 0.0, 2.5, 0.0]


def test_token_texts_of_many() -> None:
    rows = [ROW, CHAT, ROW | {"text_a": "", "lengths_a": [], "lengths_b": []}, CHAT]
    table = pa.Table.from_pylist(rows, schema=COLUMNS)
    for part in (table, table.slice(1), table.slice(1, 2), table.slice(4)):
        contexts = [unpacked(row) for row in part.to_pylist() if row["text_a"]]
        for side in SIDES:
            found = [tokens for tokens in token_texts(part, side).to_pylist() if tokens]
            assert found == [vars(context)[f"tokens_{side}"] for context in contexts]
