from __future__ import annotations

import numpy as np
import torch

from dfc.config import CrosscoderConfig
from dfc.crosscoder.model import Crosscoder
from dfc.features.fingerprint import fingerprints, hash_rows

_M = 2**64 - 1


def splitmix(value: int) -> int:
    mixed = value * 0x9E3779B97F4A7C15 & _M
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _M
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _M
    return mixed ^ mixed >> 31


def test_hash_against_python_integers() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    for salt in (0, 1):
        factors = [splitmix(place + 1 + (salt << 32)) | 1 for place in range(7)]
        expected = [
            splitmix(sum(int(bits) * factor for bits, factor in zip(row.view(np.uint32), factors, strict=True)) & _M)
            for row in rows
        ]
        assert hash_rows(rows, salt).tolist() == expected


def test_hashes_of_many_rows_are_those_of_each_and_differ() -> None:
    rows = np.random.default_rng(1).normal(size=(10_000, 3)).astype(np.float32)
    found = hash_rows(rows)
    assert len(set(found.tolist())) == 10_000
    assert hash_rows(rows[9_000:9_001])[0] == found[9_000]
    assert len(hash_rows(rows[:0])) == 0


def test_a_fingerprint_changes_with_its_own_decoder_alone() -> None:
    crosscoder = Crosscoder(CrosscoderConfig(features=40, exclusive_a=0.2, exclusive_b=0.2, k=4), (6, 9))
    crosscoder.initialise(0, torch.zeros(15))
    before = fingerprints(crosscoder)
    assert len(set(before)) == 40
    assert all(len(name) == 16 for name in before)
    assert fingerprints(crosscoder) == before
    ids, _ = crosscoder.decoder_vectors("b")
    part = crosscoder.parts[-1]
    with torch.no_grad():
        part.decoder[3, -1] += 1e-6 + part.decoder[3, -1].abs() * 1e-6  # B's side of one shared feature
    after = fingerprints(crosscoder)
    changed = [feature for feature in range(40) if before[feature] != after[feature]]
    assert changed == [part.first_id + 3]
    assert changed[0] in ids.tolist()
