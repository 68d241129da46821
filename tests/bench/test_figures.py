"""What benchmarks measure with."""

from __future__ import annotations

import multiprocessing

import numpy as np

from dfc.bench.figures import high_water


def test_a_process_does_not_count_what_its_parent_had() -> None:
    kept = np.ones(60_000_000)  # 458 MB
    assert high_water() > kept.nbytes / 2**20
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        before, after = pool.apply(_before_and_after, (kept.nbytes // 4,))
    assert 1 < before < kept.nbytes / 2**20
    assert after > before


def _before_and_after(size: int) -> tuple[float, float]:
    before = high_water()
    np.ones(size // 8 + int(before) * 2**20 // 8)
    return before, high_water()
