"""Every pair is encoded once, whatever interrupts it, whoever asks, and old codes are not taken for new."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from typing import Any

import duckdb
import pytest

from dfc import pipeline
from dfc.activations.shards import ActivationStore
from dfc.config import MemoryShortError, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.evidence import verify
from dfc.features import codes, contexts, encoding, logit_lens
from dfc.machine import disk
from dfc.runs import Run
from dfc.store import TABLES
from dfc.worlds import stability
from tests import processes


def forget(run: Run) -> None:
    """As if the run had never been encoded."""
    shutil.rmtree(run.codes)


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


def test_interrupted_it_goes_on_and_ends_the_same(
    tiny_copy: Run, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_copy.store.unlink()
    forget(tiny_copy)
    shards = len(ActivationStore(tiny_copy.activations))
    found: list[int] = []
    lenses: list[str] = []
    # While the codes are made, between the two models' logits, and while the store is written.
    for module, name, fail_at in ((encoding, "encode_shard", 2), (logit_lens, "logit_lens", 1), (contexts, "build", 0)):
        with monkeypatch.context() as patch:
            watched = counting(patch, module, name, fail_at)
            encoded = watched if name == "encode_shard" else counting(patch, encoding, "encode_shard")
            looked = watched if name == "logit_lens" else counting(patch, logit_lens, "logit_lens")
            with pytest.raises(KeyboardInterrupt):
                pipeline.run_stages(tiny_copy, until="index")
            found += [rows.shard for _, rows, *_ in encoded]
            lenses += [side for _, side, *_ in looked]
        assert not tiny_copy.store.exists()
    looked = counting(monkeypatch, logit_lens, "logit_lens")
    encoded = counting(monkeypatch, encoding, "encode_shard")
    pipeline.run_stages(tiny_copy, until="index")
    assert found + [rows.shard for _, rows, *_ in encoded] == list(range(shards))
    assert lenses + [side for _, side, *_ in looked] == ["a", "b"]
    assert not (tiny_copy.path / "index.part").exists()
    assert tables(tiny_copy) == tables(tiny_run)


@pytest.mark.parametrize("at", ["codes/00001.safetensors", "index.part/logits_a.parquet", "features.duckdb.part"])
def test_killed_it_goes_on_and_ends_the_same(
    at: str, tiny_copy: Run, tiny_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process is killed while codes are made, between the models' logits, and while the store is written."""
    tiny_copy.store.unlink()
    forget(tiny_copy)
    process = processes.start("-m", "dfc", "index", str(tiny_copy.path))
    while not (tiny_copy.path / at).exists():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not tiny_copy.store.exists()
    left = len(list(tiny_copy.codes.glob("*.safetensors")))
    calls = counting(monkeypatch, encoding, "encode_shard")
    pipeline.run_stages(tiny_copy, until="index")
    assert left > 0
    assert len(calls) == len(ActivationStore(tiny_copy.activations)) - left
    assert tables(tiny_copy) == tables(tiny_run)
    assert {path.name for path in tiny_copy.path.iterdir()} == {path.name for path in tiny_run.path.iterdir()}


def test_index_and_evidence_read_what_was_encoded(tiny_copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run from before there were codes is encoded by whoever comes first, and its features stay as they are."""
    before = tables(tiny_copy)
    other = Run(shutil.copytree(tiny_copy.path, tiny_copy.path.parent / "other"))
    forget(tiny_copy)
    assert tiny_copy.done()["encode"], "what was made of them is there"
    calls = counting(monkeypatch, encoding, "encode_shard")
    judged = verify.judge(tiny_copy, surprised=False)
    shards = len(ActivationStore(tiny_copy.activations))
    assert len(calls) == shards
    pipeline.run_stages(tiny_copy, again="index")
    stability.compare([tiny_copy, other])
    assert verify.judge(other, surprised=False).table() == judged.table()
    assert len(calls) == shards
    assert tables(tiny_copy) == before


@pytest.mark.parametrize("change", ["weights", "one shard", "manifest", "index", "damage", "nothing"])
def test_codes_of_something_else_are_not_used(tiny_copy: Run, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = list(range(len(ActivationStore(tiny_copy.activations))))
    expected = {"weights": everything, "manifest": everything, "one shard": [1], "damage": [1]}
    if change == "weights":
        crosscoder = crosscoder_model.load(tiny_copy.crosscoder)
        crosscoder.parts[0].encoder.data *= 1.01
        crosscoder_model.save(crosscoder, tiny_copy.crosscoder)
    elif change == "one shard":
        facts = disk.read_json(tiny_copy.activations / "a" / "00001.json")
        facts["checksums"]["rows"] += 1
        disk.write_json(tiny_copy.activations / "a" / "00001.json", facts)
    elif change == "manifest":
        facts = disk.read_json(tiny_copy.activations / "manifest.json")
        facts["a"]["norm_limit"] *= 2
        disk.write_json(tiny_copy.activations / "manifest.json", facts)
    elif change == "index":
        text = (tiny_copy.path / "run.yaml").read_text()
        disk.write_text(tiny_copy.path / "run.yaml", text.replace("top_contexts: 6", "top_contexts: 5"))
    elif change == "damage":
        path = codes.path_of(tiny_copy.codes, 1)
        path.write_bytes(path.read_bytes()[:-10])
    calls = counting(monkeypatch, encoding, "encode_shard")
    encoding.encode(tiny_copy)
    assert [rows.shard for _, rows, *_ in calls] == expected.get(change, [])
    encoding.encode(tiny_copy)
    assert len(calls) == len(expected.get(change, []))


def test_codes_of_shards_that_are_gone_go_too(tiny_copy: Run) -> None:
    beyond = codes.path_of(tiny_copy.codes, len(ActivationStore(tiny_copy.activations)))
    shutil.copyfile(codes.path_of(tiny_copy.codes, 0), beyond)
    (tiny_copy.codes / "manifest.json").unlink()
    encoding.encode(tiny_copy)
    assert not beyond.exists()


def test_what_was_encoded_is_said_and_recorded(tiny_copy: Run, capsys: pytest.CaptureFixture[str]) -> None:
    forget(tiny_copy)
    capsys.readouterr()
    encoding.encode(tiny_copy)
    facts = disk.read_json(tiny_copy.codes / "manifest.json")
    kept = ActivationStore(tiny_copy.activations).manifest.kept
    assert facts["pairs"] == kept
    size = sum(path.stat().st_size for path in tiny_copy.codes.glob("*.safetensors"))
    assert size < 9 * facts["entries"] + 20_000 * len(ActivationStore(tiny_copy.activations))
    said = f"{kept:,} pairs, {facts['entries'] / kept:.1f} features a pair, {size / 1e6:,.1f} MB"
    assert said in capsys.readouterr().err
    recorded = disk.read_json(tiny_copy.provenance)["encode"]
    assert recorded.items() >= {**facts, "processes": 1, "device": "cpu"}.items()


def test_a_full_disk_and_a_full_memory_are_named(tiny_copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    forget(tiny_copy)
    with monkeypatch.context() as patch:
        patch.setattr(encoding, "encode_shard", full)
        with pytest.raises(MemoryShortError, match=r"cpu or this machine has no memory .* lower index\.batch"):
            encoding.encode(tiny_copy)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"codes: .* pairs need 0\.0 GB, and 0\.0 GB are free"):
        encoding.encode(tiny_copy)


def test_a_run_that_is_not_trained_is_not_encoded(tiny_copy: Run) -> None:
    (tiny_copy.crosscoder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="holds no trained crosscoder; train it with"):
        encoding.encode(tiny_copy)


@pytest.mark.slow
def test_two_processes_share_the_shards(tiny_copy: Run) -> None:
    """The same codes, to the bit, whoever wrote them; what is there already stays."""
    before = {path.name: path.read_bytes() for path in tiny_copy.codes.iterdir()}
    tiny_copy.store.unlink()
    for path in tiny_copy.codes.iterdir():
        if path.name != "00001.safetensors":
            path.unlink()
    for done in processes.together(2, "-m", "dfc", "encode", str(tiny_copy.path)):
        assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in tiny_copy.codes.iterdir()} == before
    assert disk.read_json(tiny_copy.provenance)["encode"]["processes"] == 2
