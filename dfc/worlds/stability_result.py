"""In how many runs each finding recurs, as the app reads it: without torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from dfc import runs
from dfc.config import PARTITIONS, VERDICTS, Partition, Verdict
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
    """

    runs: list[str]
    pairs: int
    threshold: float
    findings: dict[int, list[Match]]
    matched: dict[str, float]
    rules: dict[str, str] = field(default_factory=dict)

    @property
    def alike(self) -> bool:
        """Whether all of them were judged by one rule, as far as that is known."""
        return len(set(self.rules.values())) <= 1


def write(run: Run, result: StabilityResult) -> None:
    """Keep the result in the run's stability.json."""
    runs.write_json(run.stability, asdict(result))


def read(run: Run) -> StabilityResult | None:
    """The result of the last comparison that a run took part in; None if there was none.

    Raises:
        DamagedError: if the file is damaged, or names what is no run, partition or verdict.
        VersionError: if another version of dfc made it.
    """
    path = run.stability
    if not path.exists():
        return None
    with runs.reading(path, f"make it again with `python -m dfc stability {run.path} RUN`", AttributeError):
        content = runs.read_json(path)
        findings = {
            int(feature): [Match(**match) for match in matches] for feature, matches in content["findings"].items()
        }
        result = StabilityResult(**content | {"findings": findings})
        _check(result)
        return result


def _check(result: StabilityResult) -> None:
    """See that names are such as can be shown and looked up; the file may have come from elsewhere.

    Raises:
        ValueError: naming the first that is not.
    """
    matches = [match for of_feature in result.findings.values() for match in of_feature]
    for name in [*result.runs, *(match.run for match in matches)]:
        if not isinstance(name, str) or Path(name).name != name:
            raise ValueError(f"{name!r} is no run")
    for partition in [*result.matched, *(match.partition for match in matches)]:
        if partition not in PARTITIONS:
            raise ValueError(f"{partition!r} is no partition")
    for match in matches:
        if match.verdict not in VERDICTS:
            raise ValueError(f"{match.verdict!r} is no verdict")
    numbers = [number for match in matches for number in (match.feature_id, match.correlation)]
    for value in [result.pairs, result.threshold, *result.matched.values(), *numbers]:
        if not isinstance(value, int | float):
            raise ValueError(f"{value!r} is no number")
