"""In how many runs each finding recurs, as the app reads it: without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from dfc.config import PARTITIONS, SIDES, VERDICTS, Partition, Side, Verdict
from dfc.machine import disk
from dfc.runs import Run


@dataclass(frozen=True)
class Match:
    """The feature of another run that fires like a finding: each is the other's most correlated one.

    Attributes:
        run: name of the other run.
        feature_id: in that run.
        correlation: of their activations over the same pairs.
        partition, verdict: of that feature.
    """

    run: str
    feature_id: int
    correlation: float
    partition: Partition
    verdict: Verdict


@dataclass(frozen=True)
class Counterpart:
    """The finding of another run that is likest to one: of the same model, by how much it fires in each passage.

    Attributes:
        run: name of the other run.
        finding: its number there.
        feature_id: its best feature.
        correlation: of what both fire in each passage.
        overlap: mean squared cosine of the principal angles between the spans of their decoder vectors; None where no
            feature of one acts in the model.
        largest: the largest overlap with any finding of that model there.
        elsewhere: the middle one with its other findings there; None if there is none.
    """

    run: str
    finding: int
    feature_id: int
    correlation: float
    overlap: float | None
    largest: float | None
    elsewhere: float | None


@dataclass(frozen=True)
class Recurrence:
    """A finding, a group of features, and its counterparts.

    Attributes:
        finding: its number, by rank among those of both models.
        side: the model that knows better.
        feature_id: its best feature.
        members: features in it.
        counterparts: at most one in each other run.
    """

    finding: int
    side: Side
    feature_id: int
    members: int
    counterparts: list[Counterpart]

    def by_firing(self, threshold: float) -> int:
        """In how many other runs a finding fires like it."""
        return sum(other.correlation >= threshold for other in self.counterparts)

    def by_span(self, threshold: float) -> int:
        """In how many other runs a finding has its span."""
        return sum(other.largest is not None and other.largest >= threshold for other in self.counterparts)


@dataclass(frozen=True)
class StabilityResult:
    """What a run has in common with others over the same pairs.

    Attributes:
        runs: names of the others.
        pairs: over how many pairs features are correlated.
        threshold: least correlation of a match.
        findings: for each feature that the evidence calls exclusive, its matches, at most one in each other run.
        matched: for each partition, the share of its features that fire often enough to be judged which have a match,
            averaged over the other runs: what the findings are to be set against.
        rules: by which rule each run's features were judged, this one's too; empty where it was not kept.
        groups: for each finding that is a group of features, the surest first, its counterparts; empty where the
            models' surprise was not measured.
    """

    runs: list[str]
    pairs: int
    threshold: float
    findings: dict[int, list[Match]]
    matched: dict[str, float]
    rules: dict[str, str] = field(default_factory=dict)
    groups: list[Recurrence] = field(default_factory=list)

    @property
    def alike(self) -> bool:
        """Whether all of them were judged by one rule, as far as that is known."""
        return len(set(self.rules.values())) <= 1


def write(run: Run, result: StabilityResult) -> None:
    """Keep the result in the run's stability.json."""
    disk.write_json(run.stability, asdict(result))


def read(run: Run) -> StabilityResult | None:
    """The result of the last comparison that a run took part in; None if there was none.

    Raises:
        DamagedError: if the file is damaged, or names what is no run, partition or verdict.
        VersionError: if another version of dfc made it.
    """
    path = run.stability
    if not path.exists():
        return None
    with disk.reading(path, f"make it again with `python -m dfc stability {run.path} RUN`", AttributeError):
        content = disk.read_json(path)
        findings = {
            int(feature): [Match(**match) for match in matches] for feature, matches in content["findings"].items()
        }
        groups = [
            Recurrence(**group | {"counterparts": [Counterpart(**other) for other in group["counterparts"]]})
            for group in content.get("groups", [])
        ]
        result = StabilityResult(**content | {"findings": findings, "groups": groups})
        _check(result)
        return result


def _check(result: StabilityResult) -> None:
    """See that names are such as can be shown and looked up; the file may have come from elsewhere.

    Raises:
        ValueError: naming the first that is not.
    """
    matches = [match for of_feature in result.findings.values() for match in of_feature]
    others = [other for group in result.groups for other in group.counterparts]
    for name in [*result.runs, *(match.run for match in matches), *(other.run for other in others)]:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{name!r} is no run")
    for partition in [*result.matched, *(match.partition for match in matches)]:
        if partition not in PARTITIONS:
            raise ValueError(f"{partition!r} is no partition")
    for match in matches:
        if match.verdict not in VERDICTS:
            raise ValueError(f"{match.verdict!r} is no verdict")
    numbers: list[float] = [number for match in matches for number in (match.feature_id, match.correlation)]
    for group in result.groups:
        if group.side not in SIDES:
            raise ValueError(f"{group.side!r} is no model")
        numbers += [group.finding, group.feature_id, group.members]
    for other in others:
        numbers += [other.finding, other.feature_id, other.correlation]
        numbers += [value for value in (other.overlap, other.largest, other.elsewhere) if value is not None]
    for value in [result.pairs, result.threshold, *result.matched.values(), *numbers]:
        if not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number")


def groups_in_words(result: StabilityResult, first: int = 25) -> str:
    """How many of the first findings recur in all other runs, by where they fire and by their span; empty without any.

    Args:
        result: of a run.
        first: so many findings, the surest first.
    """
    some, others = result.groups[:first], len(result.runs)
    if not some:
        return ""
    firing, span = (
        sum(count(result.threshold) == others for count in counts)
        for counts in ([group.by_firing for group in some], [group.by_span for group in some])
    )
    least = [other.elsewhere for group in some for other in group.counterparts if other.elsewhere is not None]
    chance = f"; with other findings there the overlap is {sum(least) / len(least):.2f}" if least else ""
    return (
        f"of the first {len(some)} findings {firing} fire like one of every other run, passage by passage (correlation "
        f"{result.threshold:g} or more), and {span} have its span (overlap {result.threshold:g} or more{chance})"
    )
