"""Nulls with signal: pairs between which there is little to be found, though they differ in every weight."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dfc import pipeline, runs
from dfc.evidence import findings
from dfc.machine import progress
from dfc.organisms import tuning
from dfc.organisms.result import GENERIC, Null
from dfc.organisms.setting import UNTRAINED, Setting, model_folder
from dfc.report import findings as told
from dfc.runs import Run
from dfc.store.reader import FeatureQuery, Store
from dfc.worlds import planted, planted_models, planted_texts

FIRST = (10, 25, 100)
_NOMINAL = 0.05


def twins(setting: planted.Setting, seed: int) -> Null:
    """Model A of a planted world, trained from two seeds on texts of the same kinds, as models A and B.

    It is set beside the world's own pair, which is made if it is not there.

    Raises:
        UserError: from a stage, or if something was made with other settings.
    """
    planted.one_seed(seed, setting)
    name = planted.run_name(seed)
    texts, trained = (runs.data_folder() / kind / name for kind in ("texts", "models"))
    world = planted_texts.draw(seed, setting.topics)
    planted_models.make(world, "a", setting.training, trained / "a-1", seed=1)
    sides = {"a": ("planted A", trained / "a"), "b": ("planted A, another seed", trained / "a-1")}
    made = runs.create(planted.settings(f"{name}-twins", setting, texts / "corpus.jsonl", sides))
    return _judged(made, runs.find(name))


def generic(setting: Setting, begins: Run, real: Run) -> Null:
    """Model A fine-tuned on ordinary chats, as model A, and as it is, as model B; on what all organisms have in common.

    Args:
        setting: how.
        begins: what `pair.common` gave.
        real: the untrained model beside model B.

    Raises:
        UserError: from a stage, if a model does not load, or if something was made with other settings.
    """
    untrained = setting.model(UNTRAINED)
    tuning.tune(untrained, tuning.generic_chats(setting.tuning), setting.tuning, model_folder(GENERIC))
    config = begins.config()
    models = config.models.model_copy(update={"a": setting.model(GENERIC), "b": untrained})
    made = runs.create(config.model_copy(update={"name": f"organisms-{GENERIC}", "models": models}))
    return _judged(made, real)


def _judged(made: Run, real: Run) -> Null:
    progress.say(f"null `{made.name}`")
    pipeline.run_stages(made)
    pipeline.verify(made, again=False)
    store, evidence = Store(made.store), made.config().evidence
    everything = FeatureQuery(alive_only=False, order="feature_id", descending=False)
    table = store.features(replace(everything, limit=store.count(everything)))
    gap, error, documents, rate = (
        table[name].to_numpy(dtype=np.float64, na_value=np.nan)
        for name in ("matched_gap", "matched_error", "matched_documents", "false_discovery")
    )
    chance = findings.p_values(gap, error, documents, evidence)
    tested = np.isfinite(chance)
    return Null(
        tested=int(tested.sum()),
        passing=int((rate <= evidence.false_discovery).sum()),
        nominal=float((chance[tested] <= _NOMINAL).mean()) if tested.any() else 0.0,
        found=_found(store),
        real=_found(Store(real.store)),
        rate=evidence.false_discovery,
        first=tuple(_told(store)),
    )


def _told(store: Store) -> Iterator[str]:
    """The first findings in words."""
    for one in told.of(store)[: FIRST[0]]:
        context = store.strongest_contexts([one.feature_id])[one.feature_id]
        gap = told.amount(one.gap, one.error)
        yield f"{one.side.upper()} better by {gap}, mainly on {one.main_source}: {told.quoted(context, one.side)}"


def _found(store: Store) -> dict[str, int]:
    """Findings of both models together, among the first so many."""
    count = len(store.findings())
    return {str(first): min(first, count) for first in FIRST}
