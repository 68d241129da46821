"""What came of the planted world of a seed."""

from __future__ import annotations

from dataclasses import dataclass

from dfc.config import Side

PURE = 0.5  # of the top contexts
STEERED = 0.25  # of the continuations, more than without steering


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

    @property
    def false(self) -> bool:
        """Whether it is of something that was not planted in its model."""
        return self.own < PURE


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
    surprise: dict[str, float]
    verdicts: dict[str, int]
    baseline: float
    best: Feature | None
    found: bool


@dataclass(frozen=True)
class SeedResult:
    """What the line found in the world of a seed.

    Attributes:
        ordinary: surprise of each model on texts of which both were given the like, nats a character.
        features: living ones in the partition of each model.
        findings: the dedicated features with the verdict exclusive.
        by_probes: those that would have it if the models' surprise by the text were not known.
    """

    seed: int
    ordinary: dict[str, float]
    plants: list[PlantResult]
    features: dict[str, int]
    findings: list[Feature]
    by_probes: list[Feature]

    @property
    def false(self) -> list[Feature]:
        """Findings of something that was not planted in their model."""
        return [finding for finding in self.findings if finding.false]
