"""The planted world: do two models trained from nothing, each given what the other is not, show just that?

Both are trained, compared by the whole line, and its findings are held against what was planted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from dfc import config, models, pipeline, runs
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, RunConfig, Side, UserError
from dfc.machine import disk, progress
from dfc.models import LoadedModel
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.screen import triage
from dfc.steering.edits import Program, program
from dfc.steering.generation import BASELINE, generate
from dfc.steering.vectors import steering_vector
from dfc.store.reader import Store
from dfc.worlds import planted_models, planted_texts
from dfc.worlds.planted_models import ModelTraining
from dfc.worlds.planted_result import FIRST, PURE, PlantedFinding, PlantResult, SeedResult
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
        steered: first findings of a plant that are steered with.
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
    texts, trained = (runs.data_folder() / kind / run_name(seed) for kind in ("texts", "models"))
    _keep_settings(trained / "world.json", {"world": asdict(world), "training": asdict(setting.training)})
    for side in SIDES:
        planted_models.make(world, side, setting.training, trained / side)
    documents = planted_texts.corpus_documents(world, setting.documents, setting.planted)
    # One source: what is planted is not told apart from the rest but by what the models make of it.
    rows = [json.dumps({"text": text}) for some in documents.values() for text in some]
    disk.write_text(texts / "corpus.jsonl", "\n".join(rows) + "\n")
    sides = {"a": ("planted A (Llama)", trained / "a"), "b": ("planted B (GPT-NeoX)", trained / "b")}
    made = runs.create(settings(run_name(seed), setting, texts / "corpus.jsonl", sides))
    pipeline.run_stages(made)
    pipeline.verify(made)
    result = _judged(made, world, setting, documents)
    disk.write_json(made.path / "planted.json", asdict(result))
    return result


def run_name(seed: int) -> str:
    """What the run of a seed is called."""
    return f"planted-{seed}"


def settings(name: str, setting: Setting, texts: Path, sides: Mapping[str, tuple[str, Path]]) -> RunConfig:
    """A run on the texts of a world.

    Args:
        name: of the run.
        setting: how.
        texts: the world's corpus.
        sides: of each model its title and its folder.
    """
    models = {
        side: {"source": str(folder), "layer": setting.layer, "name": title} for side, (title, folder) in sides.items()
    }
    content = {"name": name, "models": models, **setting.run}
    content["corpus"] = {**setting.run["corpus"], "sources": [{"name": "texts", "path": str(texts)}]}
    return config.parse(content, origin=name)


def _keep_settings(path: Path, settings: dict[str, Any]) -> None:
    """Write what the models are trained with; if they are, see that it is what they were trained with."""
    if path.exists():
        with disk.reading(path, f"delete {path.parent} and start again"):
            old = disk.read_json(path)
        if old != json.loads(json.dumps(settings)):
            raise UserError(f"{path.parent}: the models were trained with other settings; delete it and start again.")
    disk.write_json(path, settings)


def _judged(made: Run, world: PlantedWorld, setting: Setting, documents: dict[str, list[str]]) -> SeedResult:
    loaded = {side: models.load(made.config().models.side(side)) for side in SIDES}
    kind_of = {text: kind for kind, some in documents.items() for text in some}
    store = Store(made.store)
    rows = store.findings().to_dict("records")
    in_list = _places(store, world, kind_of, [(row["feature_id"], row["side"]) for row in rows])
    in_queue = _places(store, world, kind_of, _queue(made))
    findings: list[PlantedFinding] = []
    plants: list[PlantResult] = []
    listed: dict[str, int] = {}
    for side in SIDES:
        given = world.given(side)
        first, listed[side] = _findings(store, side, kind_of, {plant.name for plant in given})
        own = {plant: [finding for finding in first if finding.shows(plant.name)] for plant in given}
        tried = [finding for some in own.values() for finding in some[: setting.steered]]
        baseline, steered = _continuations(made, loaded[side], world, setting, tried)
        for plant, some in own.items():
            brought_out = {rank: _share_of(plant, texts) for rank, texts in steered.items()}
            measured = [replace(finding, steered=brought_out.get(finding.rank)) for finding in some]
            surprise: dict[str, float] = {
                at: planted_models.surprise(loaded[at].model, loaded[at].tokenizer, documents[plant.name])
                for at in SIDES
            }
            without = _share_of(plant, baseline)
            places = in_list.get(plant.name), in_queue.get(plant.name)
            plants.append(PlantResult(plant.name, side, plant.kind, surprise, measured, without, *places))
        findings += first
    planted = {plant.name for plant in world.plants}
    texts = [text for kind, some in documents.items() if kind not in planted for text in some[:_ORDINARY]]
    ordinary: dict[str, float] = {
        side: planted_models.surprise(loaded[side].model, loaded[side].tokenizer, texts) for side in SIDES
    }
    return SeedResult(world.seed, ordinary, plants, findings, listed)


def _findings(store: Store, side: Side, kind_of: dict[str, str], own: set[str]) -> tuple[list[PlantedFinding], int]:
    """The first findings of a model, and how many there are.

    Args:
        store: of the run.
        side: the model that does better.
        kind_of: by text, what kind it is: the plant that it holds, or what else it is about.
        own: what is planted in the model.
    """
    found = []
    table = store.findings(side)
    for rank, row in enumerate(table.head(FIRST).to_dict("records")):
        kinds = _kinds(store, row["feature_id"], kind_of)
        plant, share = _plant(kinds, own)
        found.append(
            PlantedFinding(
                rank,
                side,
                row["feature_id"],
                row["partition"],
                row["verdict"],
                row["gap"],
                row["error"],
                row["members"],
                sum(kinds[kind] for kind in own) / max(kinds.total(), 1),
                plant,
                share,
                dict(kinds.most_common()),
            )
        )
    return found, len(table)


def _kinds(store: Store, feature: int, kind_of: Mapping[str, str]) -> Counter[str]:
    """How many of a feature's top contexts lie in texts of each kind."""
    top = [context.document for context in store.contexts(feature) if context.band == 0]
    return Counter(kind_of["".join(store.document(number).contents)] for number in top)


def _plant(kinds: Counter[str], own: Container[str]) -> tuple[str, float]:
    """Of what is planted in a model, what most of these contexts hold, and the share that do; "" if none does."""
    planted = [(kind, count / kinds.total()) for kind, count in kinds.most_common() if kind in own]
    return planted[0] if planted else ("", 0.0)


def _queue(made: Run) -> list[tuple[int, Side]]:
    """What the page Screen asks about, in its order, with the flags that `dfc screen` looks for."""
    return [(one.subject.feature_id, one.subject.side) for one in triage.screened(made)]


def _places(
    store: Store, world: PlantedWorld, kind_of: Mapping[str, str], entries: Sequence[tuple[int, Side]]
) -> dict[str, int]:
    """Of each plant that an entry is of, the place of the first such entry, from 0.

    Args:
        store: of the run.
        world: what is planted.
        kind_of: by text, what kind it is.
        entries: best features in the order in which they are read, each with the model in whose favour it is.
    """
    own = {side: {plant.name for plant in world.given(side)} for side in SIDES}
    places: dict[str, int] = {}
    for place, (feature, side) in enumerate(entries):
        plant, share = _plant(_kinds(store, feature, kind_of), own[side])
        if share >= PURE:
            places.setdefault(plant, place)
    return places


def _continuations(
    made: Run, model: LoadedModel, world: PlantedWorld, setting: Setting, findings: list[PlantedFinding]
) -> tuple[list[str], dict[int, list[str]]]:
    """What a model says after each prompt, left alone and, by rank, steered with the best feature of its findings."""
    programs = [BASELINE, *(_program(made, setting, finding) for finding in findings)]
    prompts = planted_texts.prompts(world, setting.prompts)
    said: list[list[str]] = []
    with progress.bar(f"steering {model.title}"[:22], len(prompts), "prompts") as bar:
        for seed, prompt in enumerate(prompts):
            sampling = Sampling(setting.tokens, temperature=1.0, seed=seed)
            said.append([answer.text for answer in generate(model, Prompt(prompt), sampling, programs)])
            bar.update()
    baseline, *steered = (list(texts) for texts in zip(*said, strict=True))
    return baseline, {finding.rank: texts for finding, texts in zip(findings, steered, strict=True)}


def _program(made: Run, setting: Setting, feature: PlantedFinding) -> Program:
    """Adds a feature's vector at every position, as long as the setting says."""
    vector = steering_vector(made, feature.feature_id, feature.side).vector
    median = ActivationStore(made.activations).manifest.side(feature.side).median_norm
    strength = setting.strength * median / float(vector.norm())
    return program(made, [Edit(feature.side, feature.feature_id, strength=strength)], feature.side)


def _share_of(plant: Plant, texts: list[str]) -> float:
    return sum(plant.holds(text) for text in texts) / len(texts)
