"""Data flows one way: a room imports only rooms before it, nothing runs in a circle, pages do not know each other."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.M)
"""In the order in which data flows."""
SHELL = "shell"


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted((root / "dfc").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: Mapping[str, Path]) -> set[str]:
    """Modules that a file imports, wherever in it; of `from package import name` the most exact that there is."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in known else str(node.module))
    return names & known.keys()


def arrows(root: Path) -> Iterator[tuple[str, str]]:
    """Every import of one module by another."""
    known = modules(root)
    for name, path in known.items():
        yield from ((name, target) for target in sorted(imports(path, known)) if target != name)


def upward(pairs: Iterator[tuple[str, str]]) -> list[str]:
    """Imports of a room that comes later."""
    place = {f"dfc.{room}": number for number, room in enumerate(ROOMS)}

    def of(module: str) -> int | None:
        return place.get(".".join(module.split(".")[:2]))  # none of `dfc` itself and of `python -m dfc`

    return [
        f"{source} imports {target}"
        for source, target in pairs
        if (here := of(source)) is not None and (there := of(target)) is not None and here < there
    ]


def across(pairs: Iterator[tuple[str, str]]) -> list[str]:
    """Imports of one page's room by another's, or by what all pages share."""
    found = []
    for source, target in pairs:
        if source.startswith("dfc.ui.") and target.startswith("dfc.ui."):
            here, there = source.split(".")[2], target.split(".")[2]
            if there not in (here, SHELL):
                found.append(f"{source} imports {target}")
    return found


def circles(pairs: Iterator[tuple[str, str]]) -> list[str]:
    """A circle of imports, if there is one; a package's own `__init__` may name what it gives out."""
    graph: dict[str, set[str]] = {}
    for source, target in pairs:
        if not target.startswith(f"{source}."):
            graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" → ".join(error.args[1])]
    return []


def test_every_room_has_its_place_in_the_map() -> None:
    there = {
        path.stem for path in (ROOT / "dfc").iterdir() if not path.name.startswith("_") and path.suffix != ".typed"
    }
    assert set(ROOMS) == there
    assert len(ROOMS) == len(set(ROOMS))


@pytest.mark.parametrize("broken", [upward, across, circles])
def test_data_flows_one_way(broken: Callable[[Iterator[tuple[str, str]]], list[str]]) -> None:
    assert broken(arrows(ROOT)) == []


def test_what_breaks_the_rule_is_seen(tmp_path: Path) -> None:
    files = {
        "config/__init__.py": "",
        "config/base.py": "def late():\n    from dfc.cli import base\n",
        "cli/__init__.py": "",
        "cli/base.py": "import dfc.runs",
        "ui/steer/page.py": "from dfc.ui.prompt import page",
        "ui/prompt/page.py": "from dfc.ui.shell import frame",
        "ui/shell/frame.py": "from dfc.ui.shell.address import get",
        "ui/shell/address.py": "from dfc.ui.shell import frame",
        "runs.py": "from dfc.config import base",
    }
    for name, text in files.items():
        path = tmp_path / "dfc" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert upward(arrows(tmp_path)) == ["dfc.config.base imports dfc.cli.base"]
    assert across(arrows(tmp_path)) == ["dfc.ui.steer.page imports dfc.ui.prompt.page"]
    assert len(circles(arrows(tmp_path))) == 1
