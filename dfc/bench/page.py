"""docs/performance.md: what the benchmarks measured, builds beside each other, from the JSON that they leave.

A build has a folder of its own, docs/performance/BUILD/, with a file of each benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dfc.bench import figures
from dfc.bench.figures import Figure
from dfc.config import MissingError
from dfc.machine import disk

_FOLDER = "performance"
_LEAD = """# Performance

What `python -m dfc bench` measured, written by `python -m dfc performance`. Each figure stands beside a floor or a
peer that was measured in the same run (ratio), and beside the same figure of other builds. Figures of builds are to be
compared only where they were measured on one machine, one after the other; what each was measured on is said.
"""


@dataclass(frozen=True)
class Measured:
    """One benchmark of one build.

    Attributes:
        build: what the build is called.
        machine, when: where and when it was measured.
        figures: by their name.
    """

    build: str
    machine: str
    when: str
    figures: Mapping[str, Figure]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            UserError: if it is damaged.
        """
        with disk.reading(path, "measure again, or delete it"):
            content: dict[str, Any] = disk.read_json(path)
            made = {
                name: Figure(name, entry["value"], entry["unit"], entry["against"], entry["ratio"], entry["target"])
                for name, entry in content["figures"].items()
            }
            return cls(path.parent.name, content["machine"], content["measured"], made)


def keep(folder: Path, build: str, name: str, measured: list[Figure]) -> None:
    """Leave what a benchmark measured among what is known of a build; what was there of that benchmark goes."""
    disk.write_text(folder / _FOLDER / build / f"{name}.json", figures.as_json(name, measured) + "\n")


def write(folder: Path) -> Path:
    """Write performance.md from all that was kept under a folder.

    Raises:
        MissingError: if nothing was.
        UserError: if a file is damaged.
    """
    of_name: dict[str, list[Measured]] = {}
    for path in sorted((folder / _FOLDER).glob("*/*.json")):
        of_name.setdefault(path.stem, []).append(Measured.read(path))
    if not of_name:
        raise MissingError(
            f"{folder / _FOLDER}: no benchmark was kept there; `python -m dfc bench NAME --keep BUILD` does that."
        )
    target = folder / "performance.md"
    parts = [_of_one(name, sorted(of_name[name], key=lambda one: one.when, reverse=True)) for name in sorted(of_name)]
    disk.write_text(target, "\n".join([_LEAD, *parts]))
    return target


def _of_one(name: str, builds: Sequence[Measured]) -> str:
    """A benchmark: a row for each figure of any build, the latest build first."""
    latest, *others = builds
    heads = ["figure", latest.build, "ratio", "to", "target", *(f"{one.build}: value, ratio" for one in others)]
    lines = [f"## {name}", "", *(f"- {one.build}: {one.machine}, {one.when[:10]}" for one in builds), ""]
    lines += [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for figure in dict.fromkeys(figure for one in builds for figure in one.figures):
        here = latest.figures.get(figure)
        cells = [figure, _value(here), _ratio(here), here.against if here else "", _target(here)]
        for other in others:
            there = other.figures.get(figure)
            cells.append(", ".join(filter(None, [_value(there), _ratio(there)])))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _value(figure: Figure | None) -> str:
    return "–" if figure is None else f"{figure.value:,.4g} {figure.unit}".strip()


def _ratio(figure: Figure | None) -> str:
    return "" if figure is None or figure.ratio is None else f"{figure.ratio:.3g}"


def _target(figure: Figure | None) -> str:
    if figure is None or figure.target is None:
        return ""
    return f"≤ {figure.target:g}: {'met' if figure.met else '**missed**'}"
