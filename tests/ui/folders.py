"""Run folders for tests of the app: whole, half written, broken, of another schema."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from dfc import config
from dfc.config import CorpusConfig, CrosscoderConfig, EvidenceConfig, ModelConfig, ModelPair, RunConfig, SourceConfig
from dfc.runs import Run
from dfc.store import attached
from dfc.store.reader import Store
from dfc.store.writer import evidence_writer
from tests.stores import SOURCES, TEXTS, documents, make_store

FEATURES = 300
A_FEATURE, B_FEATURE, SHARED_FEATURE, DEAD_FEATURE = 0, 60, 150, 59
HOSTILE_FEATURE = 1
"""Of `make_store`: the first of A and B, an alive shared one, A's dead one, and one on hostile text."""
ONLY_IN_CORPUS = "A sentence that no context is cut from."
"""The last document of a finished run."""


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
    corpus = pa.concat_tables([documents(), documents().slice(0, 1).set_column(4, "contents", [[[ONLY_IN_CORPUS]]])])
    pq.write_table(corpus.set_column(0, "document", [list(range(len(corpus)))]), run.corpus)
    return run


def make_half_run(data_folder: Path, name: str = "half") -> Run:
    """A run that stopped while training: texts and activations are there, and some metrics."""
    run = Run(data_folder / "runs" / name)
    run.activations.mkdir(parents=True)
    (run.path / "run.yaml").write_text(config.dump(make_config(name)))
    run.corpus.write_bytes(b"")
    (run.activations / "tokens").mkdir()
    (run.activations / "tokens" / "00000.parquet").write_bytes(b"")
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


FOUND = {0: ("a", (150, 0, 151)), 1: ("b", (60,)), 2: ("a", (1, 61))} | {n: ("a", (157 + n,)) for n in range(3, 13)}
"""By their number the side and the features of the findings that `find` makes: of A twelve, of B one."""


def find(path: Path, passing: bool = True) -> None:
    """Evidence with the models' surprise: the findings in FOUND, or none; every feature but the last was tested.

    The gap of finding n is (30 − n) hundredths of a nat, its error a hundredth; each further feature's is a thousandth
    less. What was not found has the gap 0.01.
    """
    table = Store(path).norms()
    size, partitions = len(table), table["partition"].tolist()
    found = FOUND if passing else {}
    place_of = {feature: (n, p) for n, (_, members) in found.items() for p, feature in enumerate(members)}
    toward = {feature: (30 - n) / 100 - p / 1_000 for feature, (n, p) in place_of.items()}
    knows = [found[place_of[feature][0]][0] if feature in place_of else "" for feature in range(size)]
    gaps = [toward.get(feature, 0.01) for feature in range(size)]
    own = ["a" if partition == "shared" else partition for partition in partitions]
    signed = [-gap if side and side != mine else gap for gap, side, mine in zip(gaps, knows, own, strict=True)]
    evidence = {
        "feature_id": list(range(size)),
        "documents": [40] * size,
        "held_out_count": [50] * size,
        "probe_r2_a": [0.4] * size,
        "probe_r2_b": [0.1] * size,
        "matched_gap": signed,
        "matched_error": [0.01] * size,
        "held_out_gap": signed,
        "held_out_error": [0.02] * size,
        "plain_gap": [2 * gap for gap in signed],
        "plain_error": [0.03] * size,
        "false_discovery": [*([0.001] * (size - 1)), None],
        "finding": [place_of.get(feature, (None, None))[0] for feature in range(size)],
        "place": [place_of.get(feature, (None, None))[1] for feature in range(size)],
        "knows": knows,
        "verdict": ["exclusive" if feature in (0, 60) else "unclear" for feature in range(size)],
        "confidence": [0.9 if feature in (0, 60) else 0.1 for feature in range(size)],
    }
    listed = {
        "finding": list(found),
        "side": pa.array([side for side, _ in found.values()], pa.string()),
        "feature_id": pa.array([members[0] for _, members in found.values()], pa.int32()),
        "members": pa.array([len(members) for _, members in found.values()], pa.int32()),
        "documents": pa.array([1_000 + n for n in found], pa.int32()),
        "effective": pa.array([300.0] * len(found), pa.float32()),
        "gap": pa.array([(30 - n) / 100 for n in found], pa.float32()),
        "error": pa.array([0.01] * len(found), pa.float32()),
        "held_out_gap": pa.array([None if n == 1 else (30 - n) / 100 for n in found], pa.float32()),
        "held_out_error": pa.array([None if n == 1 else 0.02 for n in found], pa.float32()),
        "plain_gap": pa.array([2 * (30 - n) / 100 for n in found], pa.float32()),
        "plain_error": pa.array([0.03] * len(found), pa.float32()),
        "false_discovery": pa.array([0.001] * len(found), pa.float32()),
    }
    texts = [
        {"trait": trait, "name": name, "documents": 80, "pairs": 4_000, "gap": gap, "error": error}
        for trait, name, gap, error in (
            ("source", "code", 0.2, 0.01),
            ("source", "news-zh", -0.3, 0.02),
            ("source", "web", 0.01, 0.02),
            ("role", "text", 0.05, 0.01),
            ("script", "latin", -0.04, None),
        )
    ]
    settings = EvidenceConfig().model_dump(mode="json")
    with evidence_writer(attached.evidence_path(path)) as writer:
        writer.facts({"verified": True, "rule": "surprise", "evidence": settings, "identity": attached.identity(path)})
        writer.append("evidence", pa.table(evidence))
        writer.append("findings", pa.table(listed))
        writer.append("texts", pa.Table.from_pylist(texts))


def judge(path: Path) -> None:
    """Evidence for every feature of a store: the first of each partition is exclusive, no shared one has a mirror."""
    table = Store(path).norms()
    size = len(table)
    first = table.groupby("partition")["feature_id"].min().to_dict()
    verdicts = ["exclusive" if row.feature_id == first[row.partition] else "unclear" for row in table.itertuples()]
    none, dedicated = pa.nulls(size, pa.float32()), table["partition"].ne("shared").tolist()
    with evidence_writer(attached.evidence_path(path)) as writer:
        writer.facts({"verified": True, "rule": "probes", "identity": attached.identity(path)})
        writer.append(
            "evidence",
            pa.table(
                {
                    "feature_id": table["feature_id"].to_numpy(),
                    "held_out_count": [50] * size,
                    "documents": [40] * size,
                    **{f"probe_r2_{side}": [value] * size for side, value in (("a", 0.41), ("b", 0.07))},
                    **{f"auroc_{side}": [0.9] * size for side in "ab"},
                    "probe_ratio": [0.17] * size,
                    "mirror_id": pa.array([int(first["b"]) if alone else None for alone in dedicated], pa.int32()),
                    "mirror_correlation": pa.array([0.12 if alone else None for alone in dedicated], pa.float32()),
                    "shared_id": pa.nulls(size, pa.int32()),
                    **dict.fromkeys(("shared_correlation", "decoder_cosine", "nu_epsilon", "nu_r"), none),
                    "verdict": verdicts,
                    "confidence": [0.9 if verdict == "exclusive" else 0.1 for verdict in verdicts],
                }
            ),
        )


def make_steerable_run(data_folder: Path, name: str = "steer", models: ModelPair | None = None) -> Run:
    """A finished run whose two models and crosscoder can be loaded: small random ones, unless models are given."""
    import torch

    from dfc import models as loading
    from dfc.activations.manifest import Manifest, SideFacts
    from dfc.crosscoder import model as crosscoder_model

    pair = models or ModelPair(
        a=make_model(data_folder / "models" / "tiny-a", width=32), b=make_model(data_folder / "models" / "tiny-b", 48)
    )
    run = make_run(data_folder, name)
    settings = make_config(name).model_copy(update={"models": pair})
    (run.path / "run.yaml").write_text(config.dump(settings))
    widths = loading.describe(pair.a).width, loading.describe(pair.b).width
    crosscoder = crosscoder_model.Crosscoder(settings.crosscoder, widths)
    crosscoder.initialise(0, torch.zeros(sum(widths)))
    crosscoder_model.save(crosscoder, run.crosscoder)
    a, b = (SideFacts("", "", None, "", "", "", True, 1, 3, width, "float32", 1.0, 1e6, 1.0) for width in widths)
    manifest = Manifest(a, b, skip_first=4, shards=())
    (run.activations / "manifest.json").write_text(json.dumps(asdict(manifest)))
    return run


def make_model(folder: Path, width: int, layers: int = 3) -> ModelConfig:
    """A Llama with random weights and a tokenizer trained on the texts of `make_store`; more layers write slower."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<s>"]
    )
    tokenizer.train_from_iterator([text for texts in TEXTS.values() for text in texts], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>").save_pretrained(folder)
    torch.manual_seed(width)
    size = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": layers, "num_attention_heads": 4}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=1024, eos_token_id=None, **size)
    ).save_pretrained(folder)
    return ModelConfig(source=str(folder), layer=1)
