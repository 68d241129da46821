"""The paper's exclusivity score (arXiv 2602.11729): both models steered with a feature of one of them, and compared.

The other model's vector is what the stitch makes of the feature's. Beside them both models write under random
directions as long, carried over likewise, another one at each place: what steering as such makes of their likeness.
Texts are kept as they come, and how alike they are apart from them: another judge or encoder reads what was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from dfc import models
from dfc.config import SIDES, RunConfig, Side, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Crosscoder
from dfc.machine import progress
from dfc.models import LoadedModel, together
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.steering import edits, generation, stitch_file
from dfc.steering.answers import Answer
from dfc.steering.edits import Program
from dfc.steering.generation import BASELINE, Row
from dfc.steering.prompt_sets import OPEN
from dfc.steering.sweeps import scaled
from dfc.steering.vectors import random_pairs
from dfc.store import beside
from dfc.store.effects import ALONE, EffectStore
from dfc.store.reader import Store

STRENGTHS = tuple(float(strength) for strength in range(1, 11))
TOKENS, TEMPERATURE, TOP_P = 200, 0.7, 0.9
"""The paper's; its strength 0 is the models left alone, once for each strength."""
Place = tuple[str, float, int]
"""Prompt, strength and seed of a text."""
_AT_ONCE = 32  # texts, so that not much is lost by an interruption


@dataclass(frozen=True)
class Setting:
    """How the models are steered: at which strengths, on which prompts, and how long their texts may be."""

    strengths: tuple[float, ...] = STRENGTHS
    prompts: tuple[str, ...] = OPEN
    tokens: int = TOKENS

    def __post_init__(self) -> None:
        if not self.strengths or not all(self.strengths):
            raise UserError("exclusivity: give strengths other than 0; the models left alone are always there.")

    @property
    def places(self) -> list[Place]:
        """Prompt, strength and seed of each text: no two texts of a model share their draws."""
        return [
            (prompt, strength, 10_000 * number + round(100 * strength))
            for number, prompt in enumerate(self.prompts)
            for strength in self.strengths
        ]

    @property
    def drawn(self) -> str:
        """How tokens are drawn, as JSON."""
        return json.dumps({"tokens": self.tokens, "temperature": TEMPERATURE, "top_p": TOP_P})


@dataclass(frozen=True)
class _Whose:
    """Whose texts these are: a feature's or random directions' under a stitch, or those of models left alone.

    Attributes:
        unit: what is done to a model at strength 1 in the text of a seed.
        random: whether random directions stand in the place of the feature's vectors.
    """

    feature: int
    fingerprint: str
    r2: float | None
    unit: Callable[[Side, int], Program]
    random: bool = False

    def drawn(self, setting: Setting) -> str:
        """How tokens are drawn, and that directions are, as JSON."""
        return json.dumps(json.loads(setting.drawn) | ({"direction": "random"} if self.random else {}))

    def places(self, setting: Setting) -> list[Place]:
        """Of its texts."""
        alone = self.feature == ALONE
        return [(prompt, 0.0 if alone else strength, seed) for prompt, strength, seed in setting.places]

    def row(self, setting: Setting, place: Place) -> dict[str, Any]:
        """What of a text tells it from others, by the columns of the store."""
        about: dict[str, Any] = {"feature_id": self.feature, "fingerprint": self.fingerprint, "r2": self.r2}
        about["drawn"] = self.drawn(setting)
        return about | dict(zip(("prompt", "strength", "seed"), place, strict=True))


Pair = tuple[str, str, str]
"""A prompt, and what either model wrote after it."""
Compare = Callable[[Sequence[Pair]], Iterator[tuple[int, float]]]
"""How alike the texts of some pairs are, by their place; what is not told does not come."""


@dataclass(frozen=True)
class Way:
    """How likeness is told: `by` a judge or an encoder, its name, and what else tells it from others."""

    by: str
    name: str
    compare: Compare
    known: str = ""

    @property
    def kept(self) -> str:
        """What its word is kept with."""
        return json.dumps({"by": self.by, "name": self.name, "known": self.known}, ensure_ascii=False)


def measure(run: Run, features: Collection[int], setting: Setting, way: Way) -> Generator[int, None, None]:
    """Let both models write under features of one of them, and tell how alike that is; what is kept is not done again.

    Args:
        run: with a stitch.
        features: each of one model alone.
        setting: how they are steered.
        way: who tells how alike two texts are.

    Yields:
        Each feature, after all of it is kept.

    Raises:
        UserError: if a feature is shared, dead or does not exist, or there is no stitch, or a model does not load.
    """
    store, kept = Store(run.store), EffectStore(run.effects)
    for feature in features:
        row = store.feature(feature)
        if row.partition == "shared":
            raise UserError(
                f"feature {feature} is shared: both models have a vector of it, so nothing has to be carried over; "
                f"compare what taking it away does: `python -m dfc causal {run.name} --feature {feature}`."
            )
        if not row.alive:
            raise UserError(f"feature {feature} is dead: it never fires on this run's texts; choose one that is alive.")
        stitch_file.load(run, row.partition)  # refuses before anything is written
    beside.expect_writable(kept.path)
    prints, config = store.fingerprints(list(features)), run.config()
    crosscoder = crosscoder_model.load(run.crosscoder)
    alone = _Whose(ALONE, "", None, lambda side, seed: BASELINE)
    total = 2 * len(setting.places) * (2 * len(features) + 1)
    with progress.bar("exclusivity", total, "texts") as bar:
        _write(kept, config, alone, setting, bar.update)
        _compare(kept, alone, setting, way)
        for feature in features:
            for whose in _steered(run, feature, prints[feature], crosscoder):
                _write(kept, config, whose, setting, bar.update)
                _compare(kept, whose, setting, way)
            yield feature


def _steered(run: Run, feature: int, fingerprint: str, crosscoder: Crosscoder) -> Iterator[_Whose]:
    """The texts under a feature, and those under random directions in its place."""
    units = {side: edits.program(run, [Edit(side, feature)], side) for side in SIDES}
    [r2] = [one.vector.transfer for unit in units.values() for one in unit.actions if one.vector.transfer is not None]
    yield _Whose(feature, fingerprint, r2, lambda side, seed: units[side])
    draw = random_pairs(run, feature, crosscoder)

    def random(side: Side, seed: int) -> Program:
        return Program(tuple(replace(one, vector=draw(seed)[side]) for one in units[side].actions))

    yield _Whose(feature, fingerprint, r2, random, random=True)


def _write(
    kept: EffectStore, config: RunConfig, whose: _Whose, setting: Setting, advance: Callable[[int], object]
) -> None:
    """Write what is missing of some texts, and keep it."""
    there = kept.written(whose.feature, whose.fingerprint, whose.r2, whose.drawn(setting))
    known = set(zip(there["side"], there["prompt"], there["strength"], there["seed"], strict=True))
    places, sampling = whose.places(setting), Sampling(setting.tokens, TEMPERATURE, TOP_P)
    for side in SIDES:
        missing = [place for place in places if (side, *place) not in known]
        advance(len(places) - len(missing))
        if not missing:
            continue
        model = models.shared(config.models.side(side))
        for batch in _batches(model, missing, setting.tokens):
            rows = [
                Row(Prompt(prompt, chat=True), scaled(whose.unit(side, seed), strength), seed)
                for prompt, strength, seed in batch
            ]
            answers = [Answer() for _ in rows]
            with closing(generation.stream_batch(model, rows, sampling)) as pieces:
                for piece in pieces:
                    answers[piece.row].add(piece)
            kept.add_written(
                [
                    {**whose.row(setting, place), "side": side, "text": answer.text}
                    for place, answer in zip(batch, answers, strict=True)
                ]
            )
            advance(len(batch))


def _batches(model: LoadedModel, places: Sequence[Place], tokens: int) -> Iterator[list[Place]]:
    """Texts that are written together: none changes by its neighbours (`LoadedModel.company`)."""
    lengths = {
        prompt: generation.encode_prompt(model, Prompt(prompt, chat=True), tokens).shape[1] for prompt, _, _ in places
    }
    for _, alike in groupby(places, lambda place: model.company(lengths[place[0]], lengths[place[0]] + tokens)):
        left = list(alike)
        size = min(_AT_ONCE, together.most_rows(model, max(lengths[prompt] for prompt, _, _ in left) + tokens))
        yield from (left[first : first + size] for first in range(0, len(left), size))


def _compare(kept: EffectStore, whose: _Whose, setting: Setting, way: Way) -> None:
    """Tell how alike the texts of both models are where that is not kept, and keep it."""
    known = kept.alike({whose.feature: whose.fingerprint})
    mine = (
        (known["feature_id"] == whose.feature) & (known["way"] == way.kept) & (known["drawn"] == whose.drawn(setting))
    )
    if whose.r2 is not None:
        mine &= known["r2"] == whose.r2
    known = known[mine]
    done = set(zip(known["prompt"], known["strength"], known["seed"], strict=True))
    texts = kept.written(whose.feature, whose.fingerprint, whose.r2, whose.drawn(setting)).to_dict("records")
    said = {(row["prompt"], row["strength"], row["seed"], row["side"]): row["text"] for row in texts}
    left = [place for place in whose.places(setting) if place not in done]
    for number, value in way.compare([(place[0], said[*place, "a"], said[*place, "b"]) for place in left]):
        kept.add_alike([{**whose.row(setting, left[number]), "way": way.kept, "value": value}])
