"""Codes on disk: every pair is encoded once, whatever interrupts the index, and old ones are not taken for new."""

from __future__ import annotations

import itertools
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import torch

from dfc import pipeline, runs
from dfc.activations.shards import ActivationStore
from dfc.config import UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.features import codes, contexts, logit_lens
from dfc.features.codes import CodesOnDisk
from dfc.runs import Run
from dfc.store import TABLES
from tests import processes


@pytest.fixture
def encoded(tiny_copy: Run) -> CodesOnDisk:
    return CodesOnDisk.of(
        tiny_copy, crosscoder_model.load(tiny_copy.crosscoder), ActivationStore(tiny_copy.activations), 99
    )


def tables(run: Run) -> dict[str, Any]:
    with duckdb.connect(str(run.store), read_only=True) as connection:
        content = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}
    content["run"] = [row for row in content["run"] if row[0] != "created"]
    return content


def counting(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, fail_at: int = -1) -> list[Any]:
    """First arguments of each call of a function that raises at one of them."""
    calls: list[Any] = []
    real: Callable[..., Any] = getattr(module, name)

    def counted(*arguments: Any, **named: Any) -> Any:
        if len(calls) == fail_at:
            raise KeyboardInterrupt
        result = real(*arguments, **named)
        calls.append(arguments)
        return result

    monkeypatch.setattr(module, name, counted)
    return calls


def test_an_interrupted_index_goes_on_and_ends_the_same(
    tiny_copy: Run, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_copy.store.unlink()
    shards = len(ActivationStore(tiny_copy.activations))
    found: list[int] = []
    lenses: list[str] = []
    # While the codes are made, between the two models' logits, and while the store is written.
    for module, name, fail_at in ((codes, "encode_shard", 2), (logit_lens, "logit_lens", 1), (contexts, "build", 0)):
        with monkeypatch.context() as patch:
            watched = counting(patch, module, name, fail_at)
            encoded = watched if name == "encode_shard" else counting(patch, codes, "encode_shard")
            looked = watched if name == "logit_lens" else counting(patch, logit_lens, "logit_lens")
            with pytest.raises(KeyboardInterrupt):
                pipeline.run_stages(tiny_copy, until="index")
            found += [rows.shard for _, rows, *_ in encoded]
            lenses += [side for _, side, *_ in looked]
        assert not tiny_copy.store.exists()
    looked = counting(monkeypatch, logit_lens, "logit_lens")
    encoded = counting(monkeypatch, codes, "encode_shard")
    pipeline.run_stages(tiny_copy, until="index")
    assert found + [rows.shard for _, rows, *_ in encoded] == list(range(shards))
    assert lenses + [side for _, side, *_ in looked] == ["a", "b"]
    assert not (tiny_copy.path / "index.part").exists()
    assert tables(tiny_copy) == tables(tiny_run)


@pytest.mark.parametrize("at", ["index.part/00001.safetensors", "index.part/logits_a.parquet", "features.duckdb.part"])
def test_a_killed_index_goes_on_and_ends_the_same(
    at: str, tiny_copy: Run, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed while codes are made, between the models' logits, and while the store is written."""
    tiny_copy.store.unlink()
    process = processes.start("-m", "dfc", "index", str(tiny_copy.path))
    while not (tiny_copy.path / at).exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not tiny_copy.store.exists()
    left = len(list((tiny_copy.path / "index.part").glob("*.safetensors")))
    calls = counting(monkeypatch, codes, "encode_shard")
    pipeline.run_stages(tiny_copy, until="index")
    assert left > 0
    assert len(calls) == len(ActivationStore(tiny_copy.activations)) - left
    assert tables(tiny_copy) == tables(tiny_run)
    assert {path.name for path in tiny_copy.path.iterdir()} == {path.name for path in tiny_run.path.iterdir()}


def test_the_codes_are_those_of_the_crosscoder(encoded: CodesOnDisk) -> None:
    encoded.encode()
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


def test_without_a_partition_less_is_explained(encoded: CodesOnDisk) -> None:
    """Against leaving the partition's features out of the dense reconstruction."""
    encoded.encode()
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


@pytest.mark.parametrize("change", ["weights", "settings", "activations", "nothing"])
def test_codes_of_something_else_are_not_used(tiny_copy: Run, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ActivationStore(tiny_copy.activations)
    crosscoder = crosscoder_model.load(tiny_copy.crosscoder)
    CodesOnDisk.of(tiny_copy, crosscoder, store, 99).encode()
    if change == "weights":
        crosscoder.parts[0].encoder.data *= 1.01
        crosscoder_model.save(crosscoder, tiny_copy.crosscoder)
    elif change == "settings":
        text = (tiny_copy.path / "run.yaml").read_text()
        runs.write_text(tiny_copy.path / "run.yaml", text.replace("top_contexts: 6", "top_contexts: 5"))
    elif change == "activations":
        facts = runs.read_json(tiny_copy.activations / "a" / "00001.json")
        facts["checksums"]["rows"] += 1
        runs.write_json(tiny_copy.activations / "a" / "00001.json", facts)
    calls = counting(monkeypatch, codes, "encode_shard")
    CodesOnDisk.of(tiny_copy, crosscoder, store, 99).encode()
    assert len(calls) == (0 if change == "nothing" else len(store))


def test_damaged_codes_and_a_full_disk_are_named(encoded: CodesOnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded.encode()
    path: Path = encoded.folder / "00001.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"00001\.safetensors: is damaged .*delete .*index\.part"):
        encoded.shard(1)
    path.unlink()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"0\.0 GB are free"):
        encoded.encode()
