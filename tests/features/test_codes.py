"""Codes on disk are those of the crosscoder, and say how much of held-out pairs they explain."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from dfc.activations.loader import kept_rows
from dfc.activations.shards import ActivationStore
from dfc.config import UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.features import codes
from dfc.features.codes import CodesOnDisk, ShardCodes
from dfc.runs import Run


@pytest.fixture
def encoded(tiny_run: Run) -> CodesOnDisk:
    return CodesOnDisk(
        tiny_run.codes, crosscoder_model.load(tiny_run.crosscoder), ActivationStore(tiny_run.activations)
    )


def test_the_codes_are_those_of_the_crosscoder(encoded: CodesOnDisk) -> None:
    entries = 0
    for shard in range(len(encoded)):
        raw, keep = encoded.store.raw(shard), encoded.store.keep(shard, encoded.store.rows(shard))
        expected = torch.zeros(len(raw), encoded.features)
        found = encoded.crosscoder.encode(raw.float() * encoded.store.column_scale())
        expected[found.rows, found.features] = found.values
        expected[~torch.from_numpy(keep)] = 0
        stored = encoded.shard(shard)
        got = torch.zeros_like(expected)
        got[torch.from_numpy(stored.rows), torch.from_numpy(stored.features)] = torch.from_numpy(stored.values)
        assert torch.equal(got > 0, expected > 0)
        torch.testing.assert_close(got, expected)
        places = list(zip(stored.features.tolist(), stored.rows.tolist(), strict=True))
        assert all(before < after for before, after in itertools.pairwise(places))
        entries += len(places)
    assert encoded.count() == entries > 0


def test_the_codes_of_some_rows(encoded: CodesOnDisk) -> None:
    """As the crosscoder gives them for these rows alone, sorted by feature."""
    kept, stored = kept_rows(encoded.store, 1), encoded.shard(1)
    for chosen in (slice(0, 70), slice(3, None, 4), slice(0, 0)):
        own = stored.of_rows(kept.row[chosen].numpy())
        found = encoded.crosscoder.encode(kept.x[chosen])
        places = sorted(zip(found.features.tolist(), found.rows.tolist(), strict=True))
        assert list(zip(own.features.tolist(), own.rows.tolist(), strict=True)) == places
        dense = torch.zeros(len(kept.x[chosen]), encoded.features)
        dense[found.rows, found.features] = found.values
        torch.testing.assert_close(own.values, dense[own.rows, own.features])


def test_the_codes_of_each_of_several_parts(encoded: CodesOnDisk) -> None:
    """As of one after another; rows that are in none have none."""
    kept, stored = kept_rows(encoded.store, 1).row.numpy(), encoded.shard(1)
    for parts in ([], [kept[:0]], [kept], [kept[1::3], kept[:0], kept[0::3]], [*np.array_split(kept[:99], 7)]):
        for rows, found in zip(parts, stored.of_each(parts), strict=True):
            expected = stored.of_rows(rows)
            assert all(torch.equal(column, getattr(expected, name)) for name, column in vars(found).items())
            assert found.features.dtype == expected.features.dtype


def test_rows_on_which_nothing_fires_have_no_codes() -> None:
    stored = ShardCodes(np.array([0, 2]), np.array([1, 3]), np.array([0.5, 2.0], dtype=np.float32))
    own = stored.of_rows(np.array([0, 3, 9]))
    assert (own.rows.tolist(), own.features.tolist(), own.values.tolist()) == ([1], [1], [2.0])
    assert len(stored.of_rows(np.array([0, 2, 9])).rows) == 0


def test_without_a_partition_less_is_explained(encoded: CodesOnDisk) -> None:
    """Against leaving the partition's features out of the dense reconstruction."""
    crosscoder, store = encoded.crosscoder, encoded.store
    x = torch.cat([store.raw(shard).float() * store.column_scale() for shard in range(len(store))])
    rows = [store.rows(shard) for shard in range(len(store))]
    held_out = torch.cat([torch.from_numpy(r.held_out & store.keep(s, r)) for s, r in enumerate(rows)])
    x = x[held_out]
    found = crosscoder.encode(x)
    dense = torch.zeros(len(x), encoded.features)
    dense[found.rows, found.features] = found.values
    vectors = torch.zeros(encoded.features, x.shape[1])
    for side, columns in (("a", slice(0, crosscoder.widths[0])), ("b", slice(crosscoder.widths[0], None))):
        ids, own = crosscoder.decoder_vectors(side)
        vectors[ids, columns] = own
    partitions = crosscoder.partitions()

    def fve(without: str) -> list[float]:
        chosen = torch.tensor([partition != without for partition in partitions])
        residual = x - crosscoder.decoder_bias.detach() - dense[:, chosen] @ vectors[chosen]
        error, variance = residual.square().sum(0), (x - x.mean(0)).square().sum(0)
        return [
            float(1 - e.sum() / v.sum())
            for e, v in zip(error.split(crosscoder.widths), variance.split(crosscoder.widths), strict=True)
        ]

    added, whole = encoded.held_out().added(), fve("")
    assert set(added) == {"a", "b", "shared"}
    for partition, of_side in added.items():
        expected = [all_ - part for all_, part in zip(whole, fve(partition), strict=True)]
        assert list(of_side.values()) == pytest.approx(expected, abs=1e-5)
    assert added["a"]["b"] == added["b"]["a"] == 0


def test_a_damaged_file_is_named(tiny_copy: Run) -> None:
    damaged = CodesOnDisk(
        tiny_copy.codes, crosscoder_model.load(tiny_copy.crosscoder), ActivationStore(tiny_copy.activations)
    )
    path = codes.path_of(tiny_copy.codes, 1)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"codes/00001\.safetensors: is damaged .*delete it and start .* again"):
        damaged.shard(1)
    assert codes.made_from(tiny_copy.codes, 1) == ""
    path.unlink()
    with pytest.raises(UserError, match=r"codes/00001\.safetensors: is missing; .*encodes these pairs anew"):
        damaged.held_out()
