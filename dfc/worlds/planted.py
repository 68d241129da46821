"""The planted world: do two models trained from nothing, each given what the other is not, show just that?

Both are trained, compared by the whole line, and its findings are held against what was planted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from dfc import config, models, pipeline, progress, runs
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, VERDICTS, RunConfig, Side, UserError
from dfc.models import LoadedModel
from dfc.runs import Run
from dfc.steering.generation import Sampling, stream
from dfc.steering.vectors import steering_vector
from dfc.store.reader import FeatureQuery, Store
from dfc.worlds import planted_models, planted_texts
from dfc.worlds.planted_models import ModelTraining
from dfc.worlds.planted_texts import Plant, PlantedWorld

PURE = 0.5  # of the top contexts
STEERED = 0.25  # of the continuations, more than without steering


@dataclass(frozen=True)
class Setting:
    """What is made of each seed.

    Attributes:
        tales: given to each model.
        documents: shared ones in the corpus.
        planted: documents of each plant in it.
        run: settings of the run, whole sections or keys of them, beside models and sources.
        prompts: continuations sampled from each, with steering and without.
        tokens: length of a continuation.
        strength: length of what steering adds to the stream, in medians of the stream's norm.
        steered: most confident findings of a plant that are steered with.
    """

    training: ModelTraining = field(default_factory=ModelTraining)
    tales: int = 3
    documents: int = 2_000
    planted: int = 120
    run: dict[str, Any] = field(default_factory=lambda: RUN)
    prompts: int = 12
    tokens: int = 32
    strength: float = 0.5
    steered: int = 3


RUN: dict[str, Any] = {
    "corpus": {"pairs": 80_000, "held_out": 0.2, "drop_duplicates": False},
    "harvest": {"skip_first": 2, "outlier_factor": None},
    "crosscoder": {"features": 1_024, "k": 16},
    "training": {
        "steps": 1_500,
        "batch": 512,
        "learning_rate": 1e-3,
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


@dataclass(frozen=True)
class Feature:
    """A living feature of an exclusive partition.

    Attributes:
        own: share of its top contexts that hold something planted in its model.
        plant: the plant that most of these hold; "" if none holds any.
        share: of the top contexts, those that hold this plant.
        sources: of the top contexts, the commonest first.
        steered: share of continuations that hold the plant when its model is steered with it; None: not tried.
    """

    feature_id: int
    side: Side
    verdict: str
    confidence: float
    own: float
    plant: str
    share: float
    sources: dict[str, int]
    steered: float | None = None


@dataclass(frozen=True)
class PlantResult:
    """What became of a plant.

    Attributes:
        surprise: of each model on its texts, nats a character.
        verdicts: of the features of its side whose top contexts hold it.
        baseline: share of continuations that hold it without steering.
        best: of its exclusive features, the one that steers best.
        found: whether that one steers well enough.
    """

    name: str
    side: Side
    kind: str
    example: str
    surprise: dict[str, float]
    verdicts: dict[str, int]
    baseline: float
    best: Feature | None
    found: bool


@dataclass(frozen=True)
class SeedResult:
    """What the line found in the world of a seed; `findings` are the dedicated features with the verdict exclusive."""

    seed: int
    plants: list[PlantResult]
    features: dict[str, int]
    findings: list[Feature]

    @property
    def false(self) -> list[Feature]:
        """Findings of something that was not planted in their model."""
        return [finding for finding in self.findings if finding.own < PURE]


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
    world = planted_texts.draw(seed, setting.tales)
    texts, trained = (runs.data_folder() / kind / f"planted-{seed}" for kind in ("texts", "models"))
    _keep_settings(trained / "world.json", {"world": asdict(world), "training": asdict(setting.training)})
    for side in SIDES:
        planted_models.make(world, side, setting.training, trained / side)
    documents = planted_texts.corpus_documents(world, setting.documents, setting.planted)
    for source, found in documents.items():
        runs.write_text(texts / f"{source}.jsonl", "\n".join(json.dumps({"text": text}) for text in found) + "\n")
    made = runs.create(_settings(seed, setting, documents, texts, trained))
    pipeline.run_stages(made)
    pipeline.verify(made)
    result = _judged(made, world, setting, documents)
    runs.write_json(made.path / "planted.json", asdict(result))
    return result


def _settings(seed: int, setting: Setting, documents: dict[str, list[str]], texts: Path, trained: Path) -> RunConfig:
    """The run's settings; a source weighs as much as it has texts."""
    names = {"a": "planted A (Llama)", "b": "planted B (GPT-NeoX)"}
    layer = setting.training.layers // 2
    content = {
        "name": f"planted-{seed}",
        "models": {side: {"source": str(trained / side), "layer": layer, "name": names[side]} for side in SIDES},
        **setting.run,
    }
    sources = [
        {"name": source, "path": str(texts / f"{source}.jsonl"), "weight": float(sum(map(len, found)))}
        for source, found in documents.items()
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
    loaded = {side: models.load(made.config().models.side(side)) for side in SIDES}
    prompts = planted_texts.prompts(world, setting.prompts)
    features = [feature for side in SIDES for feature in _features(made, world, side)]
    plants, findings = [], {f.feature_id: f for f in features if f.verdict == "exclusive"}
    with progress.bar("steering", len(world.plants), "plants") as bar:
        baselines = {side: _continuations(loaded[side], prompts, setting) for side in SIDES}
        for plant in world.plants:
            own = [feature for feature in features if feature.plant == plant.name and feature.share >= PURE]
            tried = []
            for feature in [feature for feature in own if feature.verdict == "exclusive"][: setting.steered]:
                said = _continuations(loaded[plant.side], prompts, setting, made, feature)
                tried.append(Feature(**{**vars(feature), "steered": _share_of(plant, said)}))
            findings.update({feature.feature_id: feature for feature in tried})
            best = max(tried, key=lambda feature: feature.steered or 0, default=None)
            baseline = _share_of(plant, baselines[plant.side])
            counts = Counter(feature.verdict for feature in own)
            plants.append(
                PlantResult(
                    plant.name,
                    plant.side,
                    plant.kind,
                    plant.phrases[0],
                    {
                        side: planted_models.surprise(loaded[side].model, loaded[side].tokenizer, documents[plant.name])
                        for side in SIDES
                    },
                    {verdict: counts[verdict] for verdict in VERDICTS if counts[verdict]},
                    baseline,
                    best,
                    best is not None and (best.steered or 0) - baseline >= STEERED,
                )
            )
            bar.update()
    alive = Counter(feature.side for feature in features)
    return SeedResult(world.seed, plants, {side: alive[side] for side in SIDES}, list(findings.values()))


def _features(made: Run, world: PlantedWorld, side: Side) -> list[Feature]:
    """The living features of a model's partition, the most confident first."""
    store, own = Store(made.store), {plant.name for plant in world.given(side)}
    table = store.features(FeatureQuery(partitions=(side,), order="confidence", limit=1_000_000))
    found = []
    for row in table.to_dict("records"):
        sources = Counter(context.source for context in store.contexts(row["feature_id"]) if context.band == 0)
        shown = max(sources.total(), 1)
        planted = [(source, count) for source, count in sources.most_common() if source in own]
        plant, most = planted[0] if planted else ("", 0)
        total = sum(count for _, count in planted)
        found.append(
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
    return found


def _continuations(
    model: LoadedModel, prompts: list[str], setting: Setting, made: Run | None = None, feature: Feature | None = None
) -> list[str]:
    """What a model says after each prompt, steered with a feature of a run if one is given."""
    vector, strength = None, 0.0
    if made and feature:
        vector = steering_vector(made, feature.feature_id, feature.side)
        manifest = ActivationStore(made.activations).manifest
        strength = setting.strength * manifest.side(feature.side).median_norm / float(vector.vector.norm())
    return [
        "".join(stream(model, prompt, Sampling(setting.tokens, temperature=1.0, seed=seed), vector, strength))
        for seed, prompt in enumerate(prompts)
    ]


def _share_of(plant: Plant, texts: list[str]) -> float:
    return sum(plant.holds(text) for text in texts) / len(texts)
