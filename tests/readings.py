"""A text that was read by both models, invented."""

from __future__ import annotations

import numpy as np

from dfc.features.live import Reading


def example() -> Reading:
    """Five pairs, of which the first does not count; feature 3 fires on three of them, feature 7 on one."""
    return Reading(
        source="prompt",
        tokens={"a": ["", "the", " old", " br", "idge", " fell", "."], "b": ["the", " old", " bridge", " fell", ".\n"]},
        index={"a": np.array([1, 2, 4, 5, 6]), "b": np.array([0, 1, 2, 3, 4])},
        kept=np.array([False, True, True, True, True]),
        cut=(),
        rows=np.array([1, 2, 4, 3]),
        features=np.array([3, 3, 3, 7]),
        values=np.array([0.5, 2.0, 1.0, 4.0], dtype=np.float32),
        ids={"a": [], "b": []},
        why=np.array([1, 0, 0, 0, 0], dtype=np.uint8),
    )
