"""A short name of each feature's decoder: notes written about a feature tell by it whether the feature changed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dfc.config import SIDES
from dfc.crosscoder.model import Crosscoder

_ROWS = 4096


def fingerprints(crosscoder: Crosscoder) -> list[str]:
    """16 hexadecimal digits for each feature, from the exact bits of its decoder vectors in both models."""
    hashes = np.zeros(crosscoder.config.features, dtype=np.uint64)
    for place, side in enumerate(SIDES):
        ids, vectors = crosscoder.decoder_vectors(side)
        hashes[ids.numpy()] += hash_rows(vectors.float().numpy(), salt=place)
    return [f"{value:016x}" for value in hashes.tolist()]


def hash_rows(rows: npt.NDArray[np.float32], salt: int = 0) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of each row of (rows, width): its bits times odd numbers, summed modulo 2⁶⁴, and mixed."""
    width = rows.shape[1]
    factors = _mix(np.arange(1, width + 1, dtype=np.uint64) + np.uint64(salt << 32)) | np.uint64(1)
    sums = [
        (np.ascontiguousarray(rows[start : start + _ROWS]).view(np.uint32) * factors).sum(axis=1, dtype=np.uint64)
        for start in range(0, len(rows), _ROWS)
    ]
    return _mix(np.concatenate(sums)) if sums else np.zeros(0, dtype=np.uint64)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele et al. 2014): each bit of the result depends on every bit of the value."""
    mixed = values * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
