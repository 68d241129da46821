"""Harvesting that is killed, shared between processes, or short of memory or disk."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
import yaml
from torch import Tensor

from dfc import config, models, pipeline, runs
from dfc.activations import batches, harvest, int8, pairing, shards
from dfc.activations.loader import kept_rows
from dfc.config import SIDES, SettingsError, UserError
from dfc.machine import disk, processes
from dfc.machine.processes import ALONE, Group
from dfc.runs import Run
from dfc.store.reader import Store
from tests import tiny
from tests.activations.test_harvest import files
from tests.processes import QUIET, fresh, start, together


@pytest.fixture
def many_shards(tiny_models: tuple[Path, Path], tmp_path: Path) -> dict[str, object]:
    """Settings whose stages take long enough to be killed in the middle."""
    return tiny.tiny_settings(tmp_path / "texts", tiny_models, corpus={"pairs": 4_000}, harvest={"shard_pairs": 60})


def made(settings: dict[str, object], name: str) -> Run:
    return runs.create(config.parse({**settings, "name": name}, origin="test"))


@pytest.mark.slow
def test_killed_at_any_moment_no_pair_is_lost_or_doubled(many_shards: dict[str, object]) -> None:
    whole, killed = made(many_shards, "whole"), made(many_shards, "killed")
    pipeline.run_stages(whole, until="harvest")
    draw = random.Random(0)
    kills = 0
    while not killed.done()["harvest"]:
        before = written(killed)
        process = start("-m", "dfc", "harvest", str(killed.path))
        wanted = before + draw.randint(1, 40)
        while process.poll() is None and written(killed) < wanted:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        assert written(killed) > before  # every start comes further
    assert kills >= 2
    assert files(killed) == files(whole)
    assert killed.corpus.read_bytes() == whole.corpus.read_bytes()


def written(run: Run) -> int:
    """Files that are there for good; documents are joined into corpus.parquet at the end of pairing."""
    walked = os.walk(run.activations)  # unlike rglob, it bears folders that go while they are read
    names = [name for folder, _, files in walked if Path(folder).name != "documents" for name in files]
    return len([name for name in names if "." in name and not name.endswith(".part")])


@pytest.mark.slow
def test_two_processes_write_the_same_store(many_shards: dict[str, object]) -> None:
    one, two = made(many_shards, "one"), made(many_shards, "two")
    pipeline.run_stages(one, until="harvest")
    for done in together(2, "-m", "dfc", "harvest", str(two.path)):
        assert done.returncode == 0, done.stderr
    assert files(two) == files(one)


@pytest.mark.slow
def test_two_processes_do_everything_from_a_yaml(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    """The first makes the run's folder and its store; the others neither write beside it nor wait for its lock."""
    settings = tmp_path / "both.yaml"
    settings.write_text(yaml.safe_dump(tiny.tiny_settings(tmp_path / "texts", tiny_models, name="both")))
    torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone")
    done = fresh(*torchrun, "-m", "dfc", "run", str(settings), env={**os.environ, **QUIET})
    assert done.returncode == 0, done.stderr
    for done in together(2, "-m", "dfc", "run", str(settings)):
        assert done.returncode == 0, done.stderr
    assert Store(runs.find("both").store).facts()["verified"]


def test_a_lost_corpus_is_drawn_again_and_the_activations_stay(tiny_copy: Run) -> None:
    before, corpus = files(tiny_copy), tiny_copy.corpus.read_bytes()
    times = {path: path.stat().st_mtime_ns for path in tiny_copy.activations.glob("?/*")}
    tiny_copy.corpus.unlink()
    pipeline.run_stages(tiny_copy, until="harvest")
    assert tiny_copy.corpus.read_bytes() == corpus
    assert files(tiny_copy) == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_activations_of_texts_that_have_changed_are_not_kept(tiny_copy: Run, tiny_run: Run, tmp_path: Path) -> None:
    settings = tiny_copy.config().model_dump(mode="json")
    for source in settings["corpus"]["sources"]:
        copy = tmp_path / Path(source["path"]).name
        copy.write_text(Path(source["path"]).read_text().replace("river", "canal"))
        source["path"] = str(copy)
    disk.write_text(tiny_copy.path / "run.yaml", config.dump(config.parse(settings, origin="test")))
    tiny_copy.corpus.unlink()
    pipeline.run_stages(tiny_copy, until="harvest")
    fresh = made(settings, "fresh")
    pipeline.run_stages(fresh, until="harvest")
    assert files(tiny_copy) == files(fresh)
    assert files(tiny_copy) != files(tiny_run)


def test_a_batch_too_large_for_the_memory_is_read_in_halves() -> None:
    ids = [[length] * length for length in (3, 9, 1, 7, 7, 2, 0, 8)]
    sizes: list[int] = []

    def read(rows: Tensor, mask: Tensor) -> list[Tensor]:
        sizes.append(rows.numel())
        if rows.numel() > 20:
            raise torch.OutOfMemoryError
        return [rows[:, :, None].float()]

    found: dict[int, float] = {}
    for batch, [stream] in batches._streams(ids, None, read, limit_of(64), torch.device("cpu")):
        for place, document in enumerate(batch):
            found[document] = float(stream[place, 0, 0])
    assert found == {i: float(len(sequence)) for i, sequence in enumerate(ids) if len(sequence)}
    assert [size for size in sizes if size > 20] == [63, 27]  # 7 × 9, 3 × 9; what follows keeps to the limit

    with pytest.raises(UserError, match="no memory for a document of 30 tokens; lower max_tokens"):
        list(batches._streams([[1] * 30], None, read, limit_of(64), torch.device("cpu")))


def limit_of(tokens: int) -> batches.Limit:
    limit = batches.Limit.__new__(batches.Limit)
    limit.company = lambda length: ()
    limit.tokens = tokens
    return limit


def test_the_disk_is_checked_before_the_work(tiny_copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tiny_copy.path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=300_000))
    pairing.check_disk(tiny_copy)  # what it needs is there already
    shutil.rmtree(tiny_copy.activations)
    with pytest.raises(UserError, match=r"need about \d+ kB, 300 kB are free on this disk; lower corpus\.pairs"):
        pairing.pair(tiny_copy)


@pytest.mark.parametrize("form", ["bfloat16", "int8"])
def test_the_predicted_size_is_about_right(form: shards.Format, many_shards: dict[str, object]) -> None:
    many_shards["harvest"] = {"shard_pairs": 2_000, "format": form}
    run = made(many_shards, form)
    pipeline.run_stages(run, until="harvest")
    pairs = shards.ActivationStore(run.activations).manifest.pairs
    size = sum(path.stat().st_size for path in run.activations.rglob("*.*"))
    assert shards.predicted_bytes(pairs, (32, 40), form) == pytest.approx(size, rel=0.2)


def test_int8_is_close_where_columns_differ_a_hundredfold() -> None:
    """As in a residual stream: a few columns are much larger than all others."""
    torch.manual_seed(0)
    columns = torch.ones(64)
    columns[[3, 17]] = 100.0
    rows = torch.randn(500, 64) * columns * (0.5 + torch.rand(500, 1))
    codes, scales = int8.quantise(rows)
    assert codes.dtype == torch.int8
    assert codes.abs().max() == 127
    rebuilt = codes * scales[:64] * scales[64:, None]
    error = (rebuilt - rows).square().sum(0) / rows.square().sum(0)
    assert float(error.max()) < 1e-3  # of every column's own variance


def test_int8_rows_that_are_empty_or_not_finite() -> None:
    rows = torch.zeros(3, 8)
    rows[1, 2], rows[2] = float("nan"), torch.arange(8.0)
    codes, scales = int8.quantise(rows)
    rebuilt = codes * scales[:8] * scales[8:, None]
    assert rebuilt.isfinite().all()
    torch.testing.assert_close(rebuilt[2], rows[2], atol=0.05, rtol=0)


def test_a_store_in_int8_holds_nearly_the_same_rows(tiny_run: Run) -> None:
    settings = tiny_run.config().model_dump(mode="json")
    settings["harvest"]["format"] = "int8"
    run = made(settings, "int8")
    pipeline.run_stages(run, until="harvest")
    full, small = shards.ActivationStore(tiny_run.activations), shards.ActivationStore(run.activations)
    scales = [[facts.side(side).column_scale() for side in SIDES] for facts in (full.manifest, small.manifest)]
    for of_full, of_small in zip(*scales, strict=True):
        torch.testing.assert_close(of_full, of_small, atol=0, rtol=0.01)
    plain = [
        replace(manifest, **{side: replace(manifest.side(side), scale=1.0) for side in SIDES})
        for manifest in (full.manifest, small.manifest)
    ]
    assert plain[0] == plain[1]
    for shard in range(len(full)):
        keep: npt.NDArray[np.bool_] = full.keep(shard, full.rows(shard))
        a, b = full.raw(shard)[keep].float(), small.raw(shard)[keep].float()
        assert float((a - b).square().sum() / (a - a.mean(0)).square().sum()) < 1e-3


def test_scale_and_outlier_rules(tiny_run: Run) -> None:
    norms, kept, variances = {}, {}, {}
    for rule, factor in (("variance", 1.5), ("columns", 1.5), ("median", None), ("rms", 1.1), ("none", None)):
        settings = tiny_run.config().model_dump(mode="json")
        settings["harvest"] |= {"scale": rule, "outlier_factor": factor}
        run = made(settings, rule)
        shutil.copytree(tiny_run.activations, run.activations)
        shutil.copy(tiny_run.corpus, run.corpus)
        (run.activations / "manifest.json").unlink()
        harvest.harvest([run])
        store = shards.ActivationStore(run.activations)
        kept[rule] = store.manifest.kept
        late = [np.minimum(rows.index_a, rows.index_b) >= 4 for rows in map(store.rows, range(len(store)))]
        scaled = torch.cat([(store.raw(shard) * store.column_scale())[mask] for shard, mask in enumerate(late)])
        norms[rule] = scaled[:, :32].norm(dim=1)
        x = torch.cat([kept_rows(store, shard).x for shard in range(len(store))]).double().numpy()
        variances[rule] = x.var(axis=0)
    target = ((32 + 40) / 2) ** 0.5
    assert float(norms["median"].median()) == pytest.approx(target, rel=1e-2)
    assert float(norms["rms"].square().mean().sqrt()) == pytest.approx(target, rel=1e-2)
    assert (store.manifest.a.scale, store.manifest.b.scale) == (1.0, 1.0)
    for rule in ("variance", "columns"):
        assert [part.sum() for part in np.split(variances[rule], [32])] == pytest.approx([36.0, 36.0], rel=1e-5)
    assert variances["columns"][:32] == pytest.approx(36 / 32, rel=1e-5)
    assert variances["columns"][32:] == pytest.approx(36 / 40, rel=1e-5)
    assert np.ptp(variances["variance"]) > 0.5
    assert kept["rms"] < kept["median"] == kept["none"] == len(norms["none"])


def test_the_manifest_says_what_the_rows_were_made_of(tiny_run: Run) -> None:
    manifest = shards.ActivationStore(tiny_run.activations).manifest
    a, b = manifest.a, manifest.b
    for facts, model in ((a, tiny_run.config().models.a), (b, tiny_run.config().models.b)):
        origin = models.fingerprint(model)
        assert (facts.weights, facts.tokenizer, facts.template) == (origin.weights, origin.tokenizer, origin.template)
        assert (facts.layer, facts.dtype) == (model.layer, model.dtype)
    assert (a.bos, b.bos) == (False, True)
    assert len({a.weights, b.weights, a.tokenizer, b.tokenizer, a.template, b.template}) == 6


def test_several_layers_are_read_in_one_pass(many_shards: dict[str, object], tmp_path: Path) -> None:
    models_ = many_shards["models"]
    assert isinstance(models_, dict)
    settings = {**many_shards, "models": {"a": {**models_["a"], "layer": [1, 0.9, 3]}, "b": models_["b"]}}
    (tmp_path / "sites.yaml").write_text(yaml.safe_dump(settings))
    sites = [runs.create(site) for site in config.load_sites(tmp_path / "sites.yaml")]
    assert [run.name for run in sites] == ["tiny-1-2", "tiny-0.9-2", "tiny-3-2"]
    pipeline.run_sites(sites, until="harvest")
    for run, layer in zip(sites, (1, 5, 3), strict=True):
        alone = made(
            {**settings, "models": {"a": {**models_["a"], "layer": layer}, "b": models_["b"]}}, f"alone{layer}"
        )
        pipeline.run_stages(alone, until="harvest")
        assert files(run) == files(alone)


def test_lists_of_layers_that_do_not_fit(many_shards: dict[str, object], tmp_path: Path) -> None:
    models_ = many_shards["models"]
    assert isinstance(models_, dict)
    for a, b in (([1, 2], [1]), ([], 1)):
        pair = {"a": {**models_["a"], "layer": a}, "b": {**models_["b"], "layer": b}}
        (tmp_path / "sites.yaml").write_text(yaml.safe_dump({**many_shards, "models": pair}))
        with pytest.raises(UserError, match="must list as many layers, or one of them a single"):
            config.load_sites(tmp_path / "sites.yaml")
    pair = {"a": {**models_["a"], "layer": [1, 2, 1]}, "b": {**models_["b"], "layer": 0}}
    (tmp_path / "sites.yaml").write_text(yaml.safe_dump({**many_shards, "models": pair}))
    with pytest.raises(UserError, match="layer 1 of A and 0 of B are listed twice"):
        config.load_sites(tmp_path / "sites.yaml")


def test_a_spread_model_is_not_spread_by_several_processes_at_once(
    tiny_copy: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchrun starts them; refused before anything is done."""
    old = tiny_copy.config()
    spread = old.models.model_copy(update={"b": old.models.b.model_copy(update={"device_map": "auto"})})
    runs.create(old.model_copy(update={"models": spread}))
    monkeypatch.setattr(processes, "joined", lambda: nullcontext(Group(0, 2)))
    monkeypatch.setattr(Group, "wait", lambda self: None)
    monkeypatch.setattr(Group, "least", lambda self, value: float(value))
    pipeline.run_stages(tiny_copy, until="harvest")  # done already
    (tiny_copy.activations / "manifest.json").unlink()
    with pytest.raises(SettingsError, match=r"models\.b\.device_map spreads a model over all devices, and 2 processes"):
        pipeline.run_stages(tiny_copy)
    assert not tiny_copy.done()["harvest"]
    monkeypatch.setattr(processes, "joined", lambda: nullcontext(ALONE))
    harvest.check_processes(tiny_copy, ALONE)
