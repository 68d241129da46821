"""What came of the planted world of a seed."""

from __future__ import annotations

from dataclasses import dataclass

from dfc.config import Partition, Side, Verdict

PURE = 0.5  # of the top contexts
FIRST = 25  # findings of each model that are read
READ = (10, 25)  # entries of a list of both models together, after which is asked what was met
ASKED = (0.6, 0.9)  # of what is planted, after so many of the queue of the page Screen
STEERED = 0.25  # of the continuations, more than without steering


@dataclass(frozen=True)
class PlantedFinding:
    """One of the first findings of a model, by its best feature.

    Attributes:
        rank: among those of its model, from 0.
        side: the model that does better.
        feature_id, partition, verdict: of the best feature.
        gap, error: nats a character beyond matched places, in favour of `side`.
        members: features of the finding.
        own: share of the best feature's top contexts that hold something planted in its model.
        plant: the plant that most of these hold; "" if none holds any.
        share: of the top contexts, those that hold this plant.
        texts: of the top contexts, by kind of text, the commonest first.
        steered: share of continuations that hold the plant when its model is steered with it; None: not tried.
    """

    rank: int
    side: Side
    feature_id: int
    partition: Partition
    verdict: Verdict
    gap: float
    error: float
    members: int
    own: float
    plant: str
    share: float
    texts: dict[str, int]
    steered: float | None = None

    @property
    def false(self) -> bool:
        """Whether it is of something that was not planted in its model."""
        return self.own < PURE

    def shows(self, plant: str) -> bool:
        """Whether it is of that plant."""
        return self.plant == plant and self.share >= PURE


@dataclass(frozen=True)
class PlantResult:
    """What became of a plant.

    Attributes:
        surprise: of each model on its texts, nats a character.
        findings: those of its model that are of it, the first first.
        baseline: share of continuations that hold it without steering.
        listed: the place of the first of these among the findings of both models, from 0; None: there is none.
        queued: the place of the first entry that is of it in the queue of the page Screen, likewise.
    """

    name: str
    side: Side
    kind: str
    surprise: dict[str, float]
    findings: list[PlantedFinding]
    baseline: float
    listed: int | None = None
    queued: int | None = None

    @property
    def found(self) -> bool:
        """Whether a finding is of it."""
        return bool(self.findings)

    @property
    def steers(self) -> bool:
        """Whether a finding brings it out."""
        most = max((finding.steered or 0.0 for finding in self.findings), default=0.0)
        return most - self.baseline >= STEERED


@dataclass(frozen=True)
class SeedResult:
    """What the line found in the world of a seed.

    Attributes:
        ordinary: surprise of each model on texts of which both were given the like, nats a character.
        findings: the first of each model.
        listed: how many there are of each model in all.
    """

    seed: int
    ordinary: dict[str, float]
    plants: list[PlantResult]
    findings: list[PlantedFinding]
    listed: dict[str, int]

    @property
    def false(self) -> list[PlantedFinding]:
        """Findings of something that was not planted in their model."""
        return [finding for finding in self.findings if finding.false]
