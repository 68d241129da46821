"""Run folders for tests of the app: whole, half written, broken, of another schema."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

from dfc import config
from dfc.config import CorpusConfig, CrosscoderConfig, ModelConfig, ModelPair, RunConfig, SourceConfig
from dfc.runs import Run
from tests.stores import SOURCES, make_store

FEATURES = 300
A_FEATURE, B_FEATURE, SHARED_FEATURE, DEAD_FEATURE = 0, 60, 150, 59
HOSTILE_FEATURE = 1
"""Of `make_store`: the first of A and B, an alive shared one, A's dead one, and one on hostile text."""


def make_config(name: str) -> RunConfig:
    return RunConfig(
        name=name,
        models=ModelPair(
            a=ModelConfig(source="HuggingFaceTB/SmolLM2-135M-Instruct", layer=15),
            b=ModelConfig(source="google/gemma-3-270m", layer=9, name="Gemma-3-270m"),
        ),
        corpus=CorpusConfig(sources=tuple(SourceConfig(name=source, path=f"{source}.jsonl") for source in SOURCES)),
        crosscoder=CrosscoderConfig(features=FEATURES, exclusive_a=0.2, exclusive_b=0.2, k=32),
    )


def make_run(data_folder: Path, name: str = "demo", features: int = FEATURES) -> Run:
    """A finished run with a realistic store."""
    run = make_half_run(data_folder, name)
    run.crosscoder.mkdir()
    (run.crosscoder / "model.safetensors").write_bytes(b"")
    make_store(run.store, features)
    return run


def make_half_run(data_folder: Path, name: str = "half") -> Run:
    """A run that stopped while training: texts and activations are there, and some metrics."""
    run = Run(data_folder / "runs" / name)
    run.activations.mkdir(parents=True)
    (run.path / "run.yaml").write_text(config.dump(make_config(name)))
    run.corpus.write_bytes(b"")
    (run.activations / "manifest.json").write_text("{}")
    lines = [
        {"step": step, "loss": 900.0 / step, "fve_a": 1 - 40 / (step + 40), "fve_b": 1 - 60 / (step + 60)}
        for step in range(50, 500, 50)
    ]
    lines.append({"step": 450, "held_out_fve_a": 0.88, "held_out_fve_b": 0.84})
    run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 500, "lo')
    return run


def make_broken_run(data_folder: Path, name: str = "broken") -> Run:
    """A run whose store is no DuckDB file."""
    run = make_half_run(data_folder, name)
    run.crosscoder.mkdir()
    (run.crosscoder / "model.safetensors").write_bytes(b"")
    run.store.write_bytes(b"not a database" * 500)
    return run


def make_old_run(data_folder: Path, name: str = "old") -> Run:
    """A run whose store was written with an older schema."""
    run = make_run(data_folder, name, features=20)
    with duckdb.connect(str(run.store)) as connection:
        connection.execute("UPDATE run SET value = '0' WHERE key = 'schema_version'")
    return run
