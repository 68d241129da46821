from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from dfc.features.fired import fired
from dfc.features.live import Reading
from tests.readings import example


def test_the_whole_text() -> None:
    table = fired(example())
    assert table.to_dict("list") == {
        "feature_id": [3, 7],
        "max": [2.0, 4.0],
        "mean": [3.5 / 4, 1.0],
        "firings": [3, 1],
        "row": [2, 3],
    }


def test_a_span() -> None:
    table = fired(example(), 0, 1)
    assert table.to_dict("list") == {"feature_id": [3], "max": [0.5], "mean": [0.5], "firings": [1], "row": [1]}
    assert fired(example(), 0, 0).empty


@given(some.lists(some.tuples(some.integers(0, 9), some.integers(0, 5), some.floats(0.125, 9, width=32)), max_size=40))
def test_as_a_loop_finds_it(entries: list[tuple[int, int, float]]) -> None:
    cells = {(feature, row): value for row, feature, value in entries}
    keys = sorted(cells)
    reading = Reading(
        "",
        {"a": ["x"] * 10, "b": ["x"] * 10},
        {"a": np.arange(10), "b": np.arange(10)},
        np.ones(10, dtype=bool),
        (),
        np.array([row for _, row in keys], dtype=np.int64),
        np.array([feature for feature, _ in keys], dtype=np.int64),
        np.array([cells[key] for key in keys], dtype=np.float32),
        {"a": [], "b": []},
        np.zeros(10, dtype=np.uint8),
    )
    table = fired(reading, 2, 7).set_index("feature_id")
    expected = {
        feature: [value for (f, row), value in cells.items() if f == feature and 2 <= row <= 7]
        for feature in {feature for feature, row in cells if 2 <= row <= 7}
    }
    assert set(table.index) == set(expected)
    for feature, values in expected.items():
        assert table.loc[feature, "max"] == max(values)
        assert table.loc[feature, "mean"] == pytest.approx(sum(values) / 6, rel=1e-5)
        assert table.loc[feature, "firings"] == len(values)
        assert cells[feature, int(table.loc[feature, "row"])] == max(values)
