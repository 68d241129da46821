"""What a run's evidence is to be read against, as a page: its null run, its distributions, its stability."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfc.config import PARTITIONS, VERDICTS, UserError
from dfc.machine import disk
from dfc.report.line_chart import Line, line_chart
from dfc.runs import Run
from dfc.store.reader import Store
from dfc.worlds import null_result, stability_result
from dfc.worlds.null_result import NullResult
from dfc.worlds.stability_result import StabilityResult

_DRAWN = ("matched_gap", "probe_ratio", "confidence")
_COLOURS = {"a": "#0072b2", "b": "#c25500", "shared": "#009e73", "null": "#7a7a7a"}
_LEVELS = range(0, 100, 10)  # per cent; the largest values have no bound

Distributions = dict[str, dict[str, list[float]]]


def write(run: Run, folder: Path) -> Path:
    """calibration.md and its figures, from what `verify`, `null` and `stability` have left in a run.

    Raises:
        UserError: if the run has no evidence, or no null run.
    """
    store, null = Store(run.store), null_result.read(run)
    reference = store.reference()
    if not reference:
        raise UserError(f"{run.path}: has no evidence yet; collect it with `python -m dfc verify {run.path}`.")
    if null is None:
        raise UserError(f"{run.path}: had no null run yet; make it with `python -m dfc null {run.path}`.")
    names = [name for name in _DRAWN if name in reference]
    for name in names:
        disk.write_text(folder / "images" / f"calibration-{name}.svg", _chart(name, reference[name], null))
    path = folder / "calibration.md"
    disk.write_text(path, _page(run, store, null, stability_result.read(run), names))
    return path


def _chart(name: str, own: dict[str, list[float]], null: NullResult) -> str:
    """Quantiles of a measure in each population of the run, and among the dedicated features of the null run."""
    against = null.reference.get(name, {})
    drawn: dict[str, list[float]] = {partition: own[partition] for partition in PARTITIONS if partition in own}
    drawn |= {f"null {side}": against[side] for side in ("a", "b") if side in against}
    lines = [
        Line(population, _COLOURS[population.split()[0]], [*_LEVELS], [max(0.0, values[level]) for level in _LEVELS])
        for population, values in drawn.items()
    ]
    return line_chart(lines, "per cent of the features below", name.replace("_", " "))


def _page(run: Run, store: Store, null: NullResult, stability: StabilityResult | None, figures: list[str]) -> str:
    verdicts: Any = store.verdicts()
    own: dict[str, dict[str, int]] = {
        partition: {verdict: int(verdicts.loc[partition].get(verdict, 0)) for verdict in VERDICTS}
        for partition in PARTITIONS
        if partition in verdicts.index
    }
    counts = [_counts(f"`{run.name}`", partition, row) for partition, row in own.items()]
    counts += [_counts("null run", partition, row) for partition, row in null.verdicts.items()]
    pictures = "\n\n".join(f"![{name}](images/calibration-{name}.svg)" for name in figures)
    return f"""# Calibration of the run `{run.name}`

Made by `python -m dfc calibration {run.name}`; do not edit by hand. [evidence.md](evidence.md) explains the measures.

## Verdicts, and those of the null run

| run | partition | {" | ".join(VERDICTS)} |
|---|---|{"---|" * len(VERDICTS)}
{chr(10).join(counts)}

The null run compares model A with itself in a rotated basis: {null.exclusive} of its {null.dedicated} dedicated
features ({null.share:.1%}) came out exclusive, all falsely. It is judged by probes and correlations alone:
a model is exactly as surprised as itself, so that with surprise nothing could.
Target: at most 1 %. {"Met" if null.share <= 0.01 else "**Missed**"}.

## Distributions

10 %, 50 % and 90 % of the features that are not dead lie below; the figures draw what is negative as 0:

{_distributions(store.reference(), null.reference)}

{pictures}

## Stability

{_stability(run, stability)}
"""


def _counts(name: str, partition: str, row: dict[str, int]) -> str:
    return f"| {name} | {partition} | " + " | ".join(str(row.get(verdict, 0)) for verdict in VERDICTS) + " |"


def _distributions(own: Distributions, null: Distributions) -> str:
    populations: list[tuple[Distributions, str, str]] = [(own, partition, partition) for partition in PARTITIONS]
    populations += [(null, side, f"null {side}") for side in ("a", "b")]
    lines = ["| measure | " + " | ".join(title for _, _, title in populations) + " |"]
    lines.append("|---|" + "---|" * len(populations))
    for measure in own:
        cells = [_three(distributions.get(measure, {}).get(partition)) for distributions, partition, _ in populations]
        lines.append(f"| {measure} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _three(quantiles: list[float] | None) -> str:
    return "–" if quantiles is None else " · ".join(f"{quantiles[level]:.2f}" for level in (10, 50, 90))


def _stability(run: Run, result: StabilityResult | None) -> str:
    if result is None:
        return f"Not measured yet: `python -m dfc stability {run.name} --seeds 2`, then make this page again."
    others = len(result.runs)
    counts = [sum(len(of_feature) == number for of_feature in result.findings.values()) for number in range(others + 1)]
    again = sum(match.verdict == "exclusive" for of_feature in result.findings.values() for match in of_feature)
    names, matches = ", ".join(f"`{name}`" for name in result.runs), sum(map(len, result.findings.values()))
    everywhere = ", ".join(f"{partition} {share:.0%}" for partition, share in result.matched.items())
    rows = "\n".join(f"| {number} of {others} | {count} |" for number, count in enumerate(counts))
    return f"""Against {names}, over {result.pairs:,} pairs; a match is mutual and has a correlation of
{result.threshold:g} at least. Each of the {len(result.findings)} features called exclusive has a match in so many of
the other runs:

| runs | features |
|---|---|
{rows}

Of the {matches} matches {again} are called exclusive, too. Matched in another run, of all features that are judged:
{everywhere}.{_groups(result)}"""


def _groups(result: StabilityResult) -> str:
    told = stability_result.groups_in_words(result)
    return f"\n\nAs whole groups ([findings.md](findings.md)), {told}." if told else ""
