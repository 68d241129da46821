"""A run's folder: atomic files, one writer, and settings that fit what was made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import dfc.cli
from dfc import config, pipeline, runs
from dfc.config import RunConfig, Section, SettingsError, UserError
from dfc.machine import disk
from dfc.store.reader import FeatureQuery, Store
from tests import processes
from tests.test_config import SMALL

GLOSSARY = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")


def settings(**sections: Any) -> RunConfig:
    return config.parse({**SMALL, **sections}, origin="test")


def test_a_second_process_is_kept_out() -> None:
    run = runs.create(settings())
    code = f"from dfc import runs\nwith runs.find({str(run.path)!r}).lock(): pass"
    with run.lock():
        second = processes.run("-c", code)
    assert second.returncode
    assert "another process is working on this run" in second.stderr
    assert processes.run("-c", code).returncode == 0


def test_settings_may_change_until_something_was_made_with_them() -> None:
    run = runs.create(settings())
    runs.create(settings(training={"steps": 7}))
    assert run.config().training.steps == 7
    run.crosscoder.mkdir()
    with pytest.raises(UserError, match=r"made with other settings \(training\.steps: 7 there, 8 now\)"):
        runs.create(settings(training={"steps": 8}))
    runs.create(settings(training={"steps": 7}, index={"top_contexts": 3}))
    assert run.config().index.top_contexts == 3


def test_a_run_from_before_a_setting_has_what_was_done_then(data: Path) -> None:
    """Exclusive features read their model's whole stream before there was a choice, which is not the default now."""
    run = runs.create(config.parse(SMALL, origin="small"))
    written = (run.path / "run.yaml").read_text(encoding="utf-8")
    assert "exclusive_reads: unpredicted" in written
    disk.write_text(run.path / "run.yaml", re.sub(r".*exclusive_reads.*\n", "", written))
    assert run.config().crosscoder.exclusive_reads == "stream"
    disk.write_text(run.path / "run.yaml", written)
    assert run.config().crosscoder.exclusive_reads == "unpredicted"


def test_what_may_change_at_any_time_is_taken_over() -> None:
    run = runs.create(settings())
    for result in (run.activations, run.crosscoder):
        result.mkdir()
    run.store.write_bytes(b"")
    models = {side: {**SMALL["models"][side], "device": "cpu", "name": f"model {side}"} for side in "ab"}
    changed = settings(
        models=models,
        harvest={"batch_tokens": 512},
        training={"log_every": 7, "checkpoint_every": 9, "device": "cpu", "tensorboard": True, "compute": "float32"},
        index={"batch": 64},
        evidence={"min_firings": 3},
        judge={"model": "m", "criterion": "c"},
    )
    assert runs.create(changed).config() == changed
    for refused, sentence in (
        ({"models": {**models, "a": {**models["a"], "dtype": "bfloat16"}}}, r"models\.a\.dtype: 'float32' there"),
        ({"harvest": {"batch_tokens": 512, "skip_first": 5}}, r"harvest\.skip_first: 4 there, 5 now"),
        ({"training": {"steps": 5}}, r"training\.steps: 100000 there, 5 now"),
        ({"index": {"top_contexts": 5}}, r"index\.top_contexts: 20 there, 5 now"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            runs.create(settings(**{"models": models, **refused}))
    assert run.config() == changed


def test_what_depends_on_what_is_gone_is_in_the_way() -> None:
    """The activations were deleted and the corpus changed: what was made of the old ones is not kept in silence."""
    run = runs.create(settings(corpus={**SMALL["corpus"], "pairs": 10}))
    run.crosscoder.mkdir()
    for path in (run.store, run.stitch, run.null_result, run.stability, run.steering):
        path.write_bytes(b"")
    changed = settings(corpus={**SMALL["corpus"], "pairs": 20})
    listed = r"\(stitch\.safetensors, crosscoder, null\.json, stability\.json, steering\.duckdb, features\.duckdb\)\.$"
    with pytest.raises(SettingsError, match=rf"stitch\.safetensors: was made with .*pairs: 10 there, 20 now.*{listed}"):
        runs.create(changed)
    run.stitch.unlink()
    with pytest.raises(SettingsError, match=r"/crosscoder: was made with other settings \(corpus\.pairs: 10 there"):
        runs.create(changed)
    run.crosscoder.rmdir()
    for path in (run.null_result, run.stability, run.steering):
        with pytest.raises(SettingsError, match=path.name):
            runs.create(changed)
        path.unlink()
    with pytest.raises(SettingsError, match=r"features\.duckdb: was made with other settings \(corpus\.pairs"):
        runs.create(changed, again="train")
    run.store.unlink()
    assert runs.create(changed).config().corpus.pairs == 20


def test_a_store_that_is_made_anew_takes_other_settings(tiny_copy: runs.Run) -> None:
    old = tiny_copy.config()
    changed = old.model_copy(update={"index": old.index.model_copy(update={"top_contexts": 2})})
    with pytest.raises(SettingsError, match=r"features\.duckdb: was made with other settings \(index\.top_contexts"):
        runs.create(changed)
    given = tiny_copy.path.parent / "changed.yaml"
    given.write_text(config.dump(changed))
    result = CliRunner().invoke(dfc.cli.app, ["index", "--again", str(given)])
    assert result.exit_code == 0, result.output
    assert tiny_copy.config().index.top_contexts == 2
    store = Store(tiny_copy.store)
    ids = store.feature_ids(FeatureQuery())
    assert max(sum(context.band == 0 for context in store.contexts(feature)) for feature in ids) == 2
    other = old.model_copy(update={"training": old.training.model_copy(update={"steps": 7})})
    with pytest.raises(SettingsError, match=r"crosscoder: was made with other settings \(training\.steps"):
        runs.create(other, again="index")


def test_the_glossary_says_which_stage_depends_on_which_settings() -> None:
    section = GLOSSARY.split("## Which settings may change after which stage")[1]
    lines = [line.split("|")[1:-1] for line in section.splitlines() if line.startswith("| `")]
    rows = [(stage.strip(" `"), sections, results) for stage, sections, results in lines]
    run = runs.Run(Path("run"))
    assert [stage for stage, _, _ in rows] == list(runs.STAGES)
    for stage, sections, results in rows:
        assert tuple(re.findall(r"`(\w+)`", sections)) == runs.DEPENDS[stage]
        listed = {Path(name).name for name in re.findall(r"`([\w./]+)`", results)}
        assert listed == {getattr(run, name).name for name, of in runs.RESULTS.items() if of == stage}
    [paragraph] = re.findall(r"These may change at any time.*?No stage depends on `evidence`", section, re.S)
    named = set(re.findall(r"`(\w+\.[\w.]+)`", paragraph))
    assert named == {
        f"{place}.{name}" for place, kind in PLACES.items() for name in kind.model_fields if kind.is_any_time(name)
    }
    left = RunConfig.model_fields.keys() - {name for sections in runs.DEPENDS.values() for name in sections}
    assert left == {"name", "evidence", "judge"}
    for name in left:
        assert f"`{name}`" in section


PLACES: dict[str, type[Section]] = {
    "models.a": config.ModelConfig,
    "corpus": config.CorpusConfig,
    "corpus.sources": config.SourceConfig,
    "harvest": config.HarvestConfig,
    "crosscoder": config.CrosscoderConfig,
    "training": config.TrainingConfig,
    "index": config.IndexConfig,
}


def test_metric_lines_stop_at_a_line_cut_short() -> None:
    run = runs.create(settings())
    assert run.metric_lines() == []
    run.metrics.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert run.metric_lines() == [{"step": 1}, {"step": 2}]


def test_finding_runs(data: Path) -> None:
    assert runs.all_runs() == []
    with pytest.raises(UserError, match="none yet; `make demo` makes one"):
        runs.find("demo")
    run = runs.create(settings())
    assert runs.find("small") == runs.find(str(run.path)) == run
    assert [found.name for found in runs.all_runs()] == ["small"]
    with pytest.raises(UserError, match="the runs are: small"):
        runs.find("demo")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run \(it has no run\.yaml\)"):
        runs.Run(tmp_path).config()


def test_stages_are_done_once_and_recorded(tiny_run: runs.Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.path.rglob("*") if path.is_file()}
    pipeline.run_stages(tiny_run)
    assert capsys.readouterr().err.splitlines() == [f"{stage}: done already" for stage in runs.STAGES]
    after = {path: path.stat().st_mtime_ns for path in tiny_run.path.rglob("*") if path.is_file()}
    assert {path for path in after if after[path] != before.get(path)} <= {tiny_run.path / ".lock"}
    for facts in json.loads(tiny_run.provenance.read_text()).values():
        assert facts["versions"] == runs.versions()
