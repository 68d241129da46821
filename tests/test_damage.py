"""Half-written and damaged runs: one sentence that names the file, and a remedy that works."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dfc import pipeline, runs
from dfc.activations import shards
from dfc.activations.shards import ActivationStore
from dfc.config import UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.runs import Run
from dfc.store.reader import Store
from tests.activations.test_harvest import files


@pytest.fixture
def run(tiny_copy: Run) -> Run:
    return tiny_copy


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def blank(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def lose(path: Path) -> None:
    path.unlink()


def again(run: Run, *stages: str) -> None:
    """Do these stages again as if they had not been done, and what is missing after them."""
    results = {"train": run.crosscoder / "model.safetensors", "index": run.store}
    for stage in stages:
        if stage == "encode":
            shutil.rmtree(run.codes, ignore_errors=True)
        else:
            results[stage].unlink(missing_ok=True)
    pipeline.run_stages(run)


@pytest.mark.parametrize("stage", ["pair", "harvest"])
def test_deleted_activations_are_made_again(stage: str, run: Run) -> None:
    before, corpus = files(run), run.corpus.read_bytes()
    shutil.rmtree(run.activations)
    assert not run.done()["pair"]
    pipeline.run_stages(run, until=stage)
    if stage == "harvest":
        assert files(run) == before
    assert run.corpus.read_bytes() == corpus


def test_a_pairing_that_fails_leaves_no_old_corpus_behind(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("dfc.activations.shards.write_tokens", full)
    shutil.rmtree(run.activations)
    with pytest.raises(OSError, match="No space"):
        pipeline.run_stages(run)
    assert not run.corpus.exists()
    assert not any(run.done()[stage] for stage in ("pair", "harvest"))


@pytest.mark.parametrize("damage", [cut, lose])
@pytest.mark.parametrize("suffix", [".rows", ".norms", ".json"])
def test_damaged_activations(
    suffix: str, damage: Callable[[Path], None], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(run)
    damage(run.activations / "b" / f"00001{suffix}")
    for stages in (("train", "encode", "index"), ("encode", "index")):
        with pytest.raises(UserError, match=rf"b/00001\{suffix}: .*run `python -m dfc harvest --repair"):
            again(run, *stages)
    capsys.readouterr()
    pipeline.repair(run)
    said = capsys.readouterr().err
    assert f"b/00001{suffix}: " in said
    assert "--repair" not in said
    again(run)
    assert files(run) == before
    assert run.store.exists()


def test_a_flipped_bit_is_found_by_its_checksum_and_only_that_shard_is_made_again(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files(run)
    path = run.activations / "a" / "00002.rows"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    others = {other: other.stat().st_mtime_ns for other in run.activations.glob("?/*") if other.stem != path.stem}
    pipeline.repair(run)
    assert "a/00002.rows: has another checksum than was written\n" in capsys.readouterr().err
    assert files(run) == before
    assert {other: other.stat().st_mtime_ns for other in others} == others
    pipeline.repair(run)
    assert "no damaged files; the activations are whole" in capsys.readouterr().err


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip])
def test_damaged_surprise(damage: Callable[[Path], None], run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    kept = sorted((run.activations / "surprise").iterdir())
    before = kept[1].read_bytes()
    damage(kept[1])
    pipeline.repair(run)
    assert f"{kept[1].name}: is damaged" in capsys.readouterr().err
    assert len(kept[1].read_bytes()) == len(before)
    capsys.readouterr()
    pipeline.repair(run)
    assert "no damaged files" in capsys.readouterr().err


def test_a_harvest_goes_on_with_the_model_that_began_it_alone(run: Run, tmp_path: Path) -> None:
    (run.activations / "b" / "00001.json").unlink()
    (run.activations / "manifest.json").unlink()
    source = Path(run.config().models.b.source)
    other = Path(shutil.copytree(source, tmp_path / "other"))
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    settings = (run.path / "run.yaml").read_text()
    (run.path / "run.yaml").write_text(settings.replace(str(source), str(other)))
    with pytest.raises(UserError, match=r"its weights or its tokenizer are others .* than those by which part of"):
        pipeline.run_stages(Run(run.path), until="harvest")
    (run.path / "run.yaml").write_text(settings)
    pipeline.run_stages(Run(run.path), until="harvest")


@pytest.mark.parametrize("damage", [cut, blank, lose, flip])
def test_damaged_tokens(damage: Callable[[Path], None], run: Run) -> None:
    before = files(run)
    damage(shards.tokens_path(run.activations, 1))
    with pytest.raises(UserError, match=r"tokens/00001\.parquet: is .*; run `python -m dfc harvest --repair"):
        again(run, "index")
    rows = {path: path.stat().st_mtime_ns for path in run.activations.glob("?/*")}
    pipeline.repair(run)
    assert {path: path.stat().st_mtime_ns for path in rows} == rows
    pipeline.run_stages(run)
    assert files(run) == before


@pytest.mark.parametrize("damage", [cut, blank])
def test_a_damaged_manifest(damage: Callable[[Path], None], run: Run) -> None:
    before = files(run)
    damage(run.activations / "manifest.json")
    with pytest.raises(UserError, match=r"manifest\.json: is damaged .*; delete it and run"):
        ActivationStore(run.activations)
    pipeline.repair(run)
    assert files(run) == before
    (run.activations / "manifest.json").unlink()
    pipeline.run_stages(run, until="harvest")
    assert files(run) == before


def test_only_what_was_paired_can_be_repaired(run: Run) -> None:
    position = run.activations / "pairing.json"
    position.write_text("{}")
    with pytest.raises(UserError, match=r"pairing\.json: is damaged .*; delete .*activations and run"):
        pipeline.repair(run)
    run.corpus.unlink()
    with pytest.raises(UserError, match="is not paired to the end; run `python -m dfc harvest"):
        pipeline.repair(run)


@pytest.mark.parametrize("damage", [cut, blank, lose])
def test_a_damaged_corpus(damage: Callable[[Path], None], run: Run) -> None:
    damage(run.corpus)
    run.store.unlink()
    if damage is not lose:
        with pytest.raises(UserError, match=r"corpus\.parquet: is damaged .*; delete .*activations and make both"):
            pipeline.run_stages(run)
        shutil.rmtree(run.activations)
    pipeline.run_stages(run)
    assert run.store.exists()


@pytest.mark.parametrize("damage", [cut, blank, lose])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_crosscoder(name: str, damage: Callable[[Path], None], run: Run) -> None:
    weights = run.crosscoder / "model.safetensors"
    whole = weights.read_bytes()
    damage(run.crosscoder / name)
    with pytest.raises(UserError, match=r"crosscoder.*`python -m dfc train .*tiny"):
        crosscoder_model.load(run.crosscoder)
    weights.unlink(missing_ok=True)
    pipeline.run_stages(run, until="train")
    assert weights.read_bytes() == whole


@pytest.mark.parametrize("damage", [cut, blank])
def test_a_damaged_checkpoint(damage: Callable[[Path], None], run: Run) -> None:
    whole = (run.crosscoder / "model.safetensors").read_bytes()
    damage(run.crosscoder / "checkpoint.safetensors")
    with pytest.raises(UserError, match=r"checkpoint\.safetensors: is damaged .*; delete it and train again"):
        again(run, "train")
    (run.crosscoder / "checkpoint.safetensors").unlink()
    pipeline.run_stages(run, until="train")
    assert (run.crosscoder / "model.safetensors").read_bytes() == whole


def test_damaged_provenance_and_settings(run: Run) -> None:
    cut(run.provenance)
    with pytest.raises(UserError, match=r"provenance\.json: is damaged .*; delete it"):
        runs.record(run, "index")
    blank(run.path / "run.yaml")
    with pytest.raises(UserError, match=r"run\.yaml"):
        run.config()


def test_a_store_with_damaged_pages(run: Run) -> None:
    content = bytearray(run.store.read_bytes())
    content[len(content) // 4 :] = bytes(len(content) - len(content) // 4)
    run.store.write_bytes(content)
    with pytest.raises(UserError, match=r"features\.duckdb: is not a readable feature store .*dfc index --again"):
        read_everything(Store(run.store))
    pipeline.run_stages(run, again="index")
    read_everything(Store(run.store))


def read_everything(store: Store) -> None:
    for feature in range(64):
        store.feature(feature)
        store.contexts(feature)
        store.logits(feature)
        store.sources(feature)


def test_a_crosscoder_in_which_nothing_fires_is_indexed(run: Run) -> None:
    crosscoder = crosscoder_model.load(run.crosscoder)
    for part in crosscoder.parts:
        part.threshold.fill_(1e9)
    crosscoder_model.save(crosscoder, run.crosscoder)
    pipeline.run_stages(run, again="index")
    store = Store(run.store)
    assert store.facts()["l0"] == 0
    assert set(store.partitions()["alive"]) == {0}
    assert store.contexts(0) == []
    assert not store.feature(0).alive


def test_a_missing_source_is_noticed_before_anything_is_lost(run: Run) -> None:
    before = files(run)
    for source in run.config().corpus.sources[1:]:
        Path(source.path).rename(source.path + ".away")
    try:
        run.corpus.unlink()
        with pytest.raises(UserError, match=r"corpus source `chinese`: .*no such file"):
            pipeline.run_stages(run)
        assert files(run) == before
    finally:
        for source in run.config().corpus.sources[1:]:
            Path(source.path + ".away").rename(source.path)
