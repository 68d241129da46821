"""Does steering with a finding's best feature move its quirk? And does a random direction?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dfc import models
from dfc.activations.shards import ActivationStore
from dfc.machine import progress
from dfc.models import LoadedModel
from dfc.organisms import quirks
from dfc.organisms.quirks import Quirk
from dfc.organisms.setting import Setting
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.steering.edits import Program, program
from dfc.steering.generation import BASELINE, generate
from dfc.steering.sweeps import randomised, scaled
from dfc.steering.vectors import steering_vector

MOVED = 0.25
"""Share of the questions on which the feature must change more than a random direction does."""


@dataclass(frozen=True)
class Shares:
    """Of some questions, those on which the quirk shows: left alone, and by strength, with the feature and at random.

    Attributes:
        alone: without steering.
        feature, random: where the vector of a strength is added, or taken away, in the order of the strengths.
    """

    alone: float
    feature: list[float]
    random: list[float]


@dataclass(frozen=True)
class Steered:
    """What steering with one feature does to its quirk.

    Attributes:
        feature_id: the best feature of the quirk's first finding.
        strengths: length of what is added, in medians of the stream's norm.
        added: on questions beside the topic, where the quirk may come.
        removed: on questions of the topic, where it may go.
    """

    feature_id: int
    strengths: list[float]
    added: Shares
    removed: Shares

    @property
    def gain(self) -> float:
        """By how much more the quirk comes with the feature than at random, at the best strength of each."""
        return max(self.added.feature) - max(self.added.random)

    @property
    def loss(self) -> float:
        """By how much more it goes."""
        return min(self.removed.random) - min(self.removed.feature)

    @property
    def moves(self) -> bool:
        """Whether it does either."""
        return max(self.gain, self.loss) >= MOVED


def steer(run: Run, quirk: Quirk, feature_id: int, setting: Setting) -> Steered:
    """Steer model A with a feature: added beside the quirk's topic, taken away on it.

    Raises:
        UserError: if the model does not load, or the run has no such feature.
    """
    model = models.load(run.config().models.a)
    vector = steering_vector(run, feature_id, "a").vector
    unit = program(run, [Edit("a", feature_id)], "a")
    median = ActivationStore(run.activations).manifest.a.median_norm / float(vector.norm())

    def programs(sign: float) -> list[Program]:
        strengths = [sign * strength * median for strength in setting.strengths]
        return [scaled(one, strength) for one in (unit, randomised(unit)) for strength in strengths]

    beside = [*quirks.general().held_out, *quirk.asks("held_out", shows=False)][: setting.steered]
    topic = quirk.asks("held_out")[-setting.steered :]  # the first ones were answered for the corpus
    added = _shares(model, quirk, beside, programs(1), setting)
    return Steered(feature_id, list(setting.strengths), added, _shares(model, quirk, topic, programs(-1), setting))


def _shares(
    model: LoadedModel, quirk: Quirk, asks: Sequence[str], programs: Sequence[Program], setting: Setting
) -> Shares:
    shown = torch.zeros(1 + len(programs))
    with progress.bar(f"steering {model.title}"[:22], len(asks), "prompts") as bar:
        for ask in asks:
            said = generate(model, Prompt(ask, chat=True), Sampling(setting.tokens), [BASELINE, *programs])
            shown += torch.tensor([float(quirk.is_shown(answer.text)) for answer in said])
            bar.update()
    alone, *rest = (shown / len(asks)).tolist()
    half = len(rest) // 2
    return Shares(alone, rest[:half], rest[half:])
