"""The planted world: do two models trained from nothing, each given what the other is not, show just that?

Both are trained, compared by the whole line, and its findings are held against what was planted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from dfc import config, models, pipeline, runs
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, VERDICTS, RunConfig, Side, UserError
from dfc.evidence import verify
from dfc.machine import progress
from dfc.models import LoadedModel
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.steering.edits import Program, program
from dfc.steering.generation import BASELINE, generate
from dfc.steering.vectors import steering_vector
from dfc.store.reader import FeatureQuery, Store
from dfc.worlds import planted_models, planted_texts
from dfc.worlds.planted_models import ModelTraining
from dfc.worlds.planted_result import PURE, STEERED, Feature, PlantResult, SeedResult
from dfc.worlds.planted_texts import Plant, PlantedWorld


@dataclass(frozen=True)
class Setting:
    """What is made of each seed.

    Attributes:
        topics: given to each model alone.
        documents: shared ones in the corpus.
        planted: documents of each plant in it.
        run: settings of the run, whole sections or keys of them, beside models and sources.
        prompts: continuations sampled from each, with steering and without.
        tokens: length of a continuation.
        layer: block of both models that is read: it holds what is being told, and blocks are left to be steered.
        strength: length of what steering adds to the stream, in medians of the stream's norm.
        steered: most confident findings of a plant that are steered with.
    """

    training: ModelTraining = field(default_factory=ModelTraining)
    topics: int = 3
    documents: int = 1_400
    planted: int = 140
    run: dict[str, Any] = field(default_factory=lambda: RUN)
    prompts: int = 12
    tokens: int = 32
    layer: int = 1
    strength: float = 1.0
    steered: int = 3


_ORDINARY = 20  # texts of each source on which the models' surprise is measured

RUN: dict[str, Any] = {
    "corpus": {"pairs": 80_000, "held_out": 0.2, "drop_duplicates": False},
    "harvest": {"skip_first": 2, "outlier_factor": None},
    "crosscoder": {"features": 1_024, "k": 16},
    "training": {
        "steps": 1_500,
        "batch": 512,
        "learning_rate": 2e-3,
        "warmup_steps": 50,
        "k_start": 64,
        "k_anneal_steps": 200,
        "aux_k": 32,
        "dead_after_pairs": 20_000,
        "threshold_decay": 0.99,
        "threshold_start": 300,
        "checkpoint_every": 500,
    },
}


def run(seeds: Sequence[int], setting: Setting, workers: int) -> list[SeedResult]:
    """Make and judge a world for each seed; what is made is kept, and not made again.

    Raises:
        UserError: if something was made with other settings.
    """
    if workers == 1:
        return [one_seed(seed, setting) for seed in seeds]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_one_thread, seeds, repeat(setting)))


def _one_thread(seed: int, setting: Setting) -> SeedResult:
    torch.set_num_threads(1)  # worlds are made side by side
    return one_seed(seed, setting)


def one_seed(seed: int, setting: Setting) -> SeedResult:
    """The world of one seed from its texts to its findings; planted.json in the run's folder keeps them.

    Raises:
        UserError: if something was made with other settings.
    """
    progress.say(f"planted world, seed {seed}")
    world = planted_texts.draw(seed, setting.topics)
    texts, trained = (runs.data_folder() / kind / f"planted-{seed}" for kind in ("texts", "models"))
    _keep_settings(trained / "world.json", {"world": asdict(world), "training": asdict(setting.training)})
    for side in SIDES:
        planted_models.make(world, side, setting.training, trained / side)
    documents = planted_texts.corpus_documents(world, setting.documents, setting.planted)
    for source, source_texts in documents.items():
        runs.write_text(
            texts / f"{source}.jsonl", "\n".join(json.dumps({"text": text}) for text in source_texts) + "\n"
        )
    made = runs.create(_settings(seed, setting, documents, texts, trained))
    pipeline.run_stages(made)
    pipeline.verify(made)
    result = _judged(made, world, setting, documents)
    runs.write_json(made.path / "planted.json", asdict(result))
    return result


def _settings(seed: int, setting: Setting, documents: dict[str, list[str]], texts: Path, trained: Path) -> RunConfig:
    """The run's settings; a source weighs as much as it has texts."""
    names = {"a": "planted A (Llama)", "b": "planted B (GPT-NeoX)"}
    sides = {side: {"source": str(trained / side), "layer": setting.layer, "name": names[side]} for side in SIDES}
    content = {
        "name": f"planted-{seed}",
        "models": sides,
        **setting.run,
    }
    sources = [
        {"name": source, "path": str(texts / f"{source}.jsonl"), "weight": float(sum(map(len, source_texts)))}
        for source, source_texts in documents.items()
    ]
    content["corpus"] = {**setting.run["corpus"], "sources": sources}
    return config.parse(content, origin=f"planted-{seed}")


def _keep_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write what the models are trained with; if they are, see that it is what they were trained with."""
    if path.exists():
        with runs.reading(path, f"delete {path.parent} and start again"):
            old = runs.read_json(path)
        if old != json.loads(json.dumps(settings)):
            raise UserError(f"{path.parent}: the models were trained with other settings; delete it and start again.")
    runs.write_json(path, settings)


def _judged(made: Run, world: PlantedWorld, setting: Setting, documents: dict[str, list[str]]) -> SeedResult:
    plants: list[PlantResult] = []
    findings: dict[int, Feature] = {}
    by_probes: list[Feature] = []
    alive: dict[str, int] = {}
    without_surprise = verify.judge(made, surprised=False).verdicts
    loaded = {side: models.load(made.config().models.side(side)) for side in SIDES}
    for side in SIDES:
        features = _features(made, world, side)
        alive[side] = len(features)
        by_probes += [feature for feature in features if without_surprise[feature.feature_id] == "exclusive"]
        own = {
            plant: [feature for feature in features if feature.plant == plant.name and feature.share >= PURE]
            for plant in world.given(side)
        }
        tried = {plant: _exclusive(some)[: setting.steered] for plant, some in own.items()}
        baseline, steered = _continuations(
            made, loaded[side], world, setting, [f for some in tried.values() for f in some]
        )
        findings |= {feature.feature_id: feature for feature in _exclusive(features)}
        for plant, some in own.items():
            measured = [replace(f, steered=_share_of(plant, steered[f.feature_id])) for f in tried[plant]]
            findings |= {feature.feature_id: feature for feature in measured}
            best = max(measured, key=lambda feature: feature.steered or 0.0, default=None)
            unsteered = _share_of(plant, baseline)
            counts = Counter(feature.verdict for feature in some)
            texts = documents[plant.name]
            plants.append(
                PlantResult(
                    plant.name,
                    side,
                    plant.kind,
                    {at: planted_models.surprise(loaded[at].model, loaded[at].tokenizer, texts) for at in SIDES},
                    {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
                    unsteered,
                    best,
                    best is not None and (best.steered or 0.0) - unsteered >= STEERED,
                )
            )
    planted = {plant.name for plant in world.plants}
    texts = [text for source, some in documents.items() if source not in planted for text in some[:_ORDINARY]]
    ordinary: dict[str, float] = {
        side: planted_models.surprise(loaded[side].model, loaded[side].tokenizer, texts) for side in SIDES
    }
    return SeedResult(world.seed, ordinary, plants, alive, list(findings.values()), by_probes)


def _exclusive(features: list[Feature]) -> list[Feature]:
    return [feature for feature in features if feature.verdict == "exclusive"]


def _features(made: Run, world: PlantedWorld, side: Side) -> list[Feature]:
    """The living features of a model's partition, the most confident first."""
    store, own = Store(made.store), {plant.name for plant in world.given(side)}
    table = store.features(FeatureQuery(partitions=(side,), order="confidence", limit=1_000_000))
    features = []
    for row in table.to_dict("records"):
        sources = Counter(context.source for context in store.contexts(row["feature_id"]) if context.band == 0)
        shown = max(sources.total(), 1)
        planted = [(source, count) for source, count in sources.most_common() if source in own]
        plant, most = planted[0] if planted else ("", 0)
        total = sum(count for _, count in planted)
        features.append(
            Feature(
                row["feature_id"],
                side,
                row["verdict"],
                row["confidence"],
                total / shown,
                plant,
                most / shown,
                dict(sources.most_common()),
            )
        )
    return features


def _continuations(
    made: Run, model: LoadedModel, world: PlantedWorld, setting: Setting, features: list[Feature]
) -> tuple[list[str], dict[int, list[str]]]:
    """What a model says after each prompt, left alone and steered with each of some features of its own."""
    programs = [BASELINE, *(_program(made, setting, feature) for feature in features)]
    prompts = planted_texts.prompts(world, setting.prompts)
    said: list[list[str]] = []
    with progress.bar(f"steering {model.title}"[:22], len(prompts), "prompts") as bar:
        for seed, prompt in enumerate(prompts):
            sampling = Sampling(setting.tokens, temperature=1.0, seed=seed)
            said.append([answer.text for answer in generate(model, Prompt(prompt), sampling, programs)])
            bar.update()
    baseline, *steered = (list(texts) for texts in zip(*said, strict=True))
    return baseline, {feature.feature_id: texts for feature, texts in zip(features, steered, strict=True)}


def _program(made: Run, setting: Setting, feature: Feature) -> Program:
    """Adds a feature's vector at every position, as long as the setting says."""
    vector = steering_vector(made, feature.feature_id, feature.side).vector
    median = ActivationStore(made.activations).manifest.side(feature.side).median_norm
    strength = setting.strength * median / float(vector.norm())
    return program(made, [Edit(feature.side, feature.feature_id, strength=strength)], feature.side)


def _share_of(plant: Plant, texts: list[str]) -> float:
    return sum(plant.holds(text) for text in texts) / len(texts)
