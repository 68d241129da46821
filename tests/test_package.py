"""What the package says of itself; `make package` installs it and tries the rest (tests/installed.py)."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

import dfc
from dfc.config import shipped
from dfc.runs import Run

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imported() -> set[str]:
    """Packages of others that the library imports, by the name under which they are imported."""
    names: set[str] = set()
    for path in (ROOT / "dfc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names


def test_dependencies_are_stated_once_and_are_those_that_are_imported() -> None:
    assert "dependencies" in PROJECT["project"]["dynamic"]
    assert PROJECT["tool"]["hatch"]["metadata"]["hooks"]["requirements_txt"]["files"] == ["requirements.txt"]
    stated = re.findall(r"^([\w-]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)
    names = imported()
    for name in ("torch", "transformers", "nnsight", "streamlit", "plotly", "pandas", "duckdb", "numpy", "pyarrow"):
        assert name in stated
        assert name in names


@pytest.mark.parametrize("name", dfc.__all__)
def test_public_names_are_what_they_say(name: str) -> None:
    module, _, attribute = dfc._PLACES[name].rpartition(".")
    assert getattr(dfc, name) is getattr(import_module(f"dfc.{module}"), attribute)
    assert getattr(dfc, name).__doc__


def test_public_names_are_stated_alike() -> None:
    assert sorted(dfc._PLACES) == dfc.__all__
    [block] = [
        node for node in ast.parse(Path(dfc.__file__).read_text(encoding="utf-8")).body if isinstance(node, ast.If)
    ]
    typed = {
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert typed == set(dfc.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        dfc.nothing  # noqa: B018


def test_what_ships_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert shipped.here_or_shipped("data/presets/demo.yaml") == str(ROOT / "data" / "presets" / "demo.yaml")
    assert shipped.here_or_shipped("data/prompts/*.jsonl") == str(ROOT / "data" / "prompts" / "*.jsonl")
    assert shipped.here_or_shipped("owner/name") == "owner/name"
    (tmp_path / "data" / "presets").mkdir(parents=True)
    (tmp_path / "data" / "presets" / "demo.yaml").write_text("mine")
    assert shipped.here_or_shipped("data/presets/demo.yaml") == "data/presets/demo.yaml"


def test_every_file_of_the_package_that_is_no_code_is_data_that_a_wheel_takes_along() -> None:
    kinds = {path.suffix for path in (ROOT / "dfc").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert kinds == {".py", ".sql", ".css", ".html", ".svg", ".typed", ".yaml"}
    inside = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert set(inside.values()) == {f"dfc/shipped/{name}" for name in inside}
    assert all((ROOT / name).exists() for name in inside)


def test_the_example_in_the_readme_runs_and_says_what_the_index_says(tiny_copy: Run) -> None:
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert block.count('"demo"') == 1
    made: dict[str, Any] = {}
    exec(block.replace('"demo"', f'"{tiny_copy.name}"'), made)
    assert set(made["table"]["partition"]) == {"b"}
    rows, codes = made["rows"], made["codes"]
    assert len(codes.values) > 0
    store = dfc.ActivationStore(tiny_copy.activations)
    own = made["crosscoder"].encode(made["crosscoder"].scaled(store.raw(0)[rows.row]))
    assert torch.equal(own.features, codes.features)
    torch.testing.assert_close(own.values, codes.values)
    # over all shards, these are the activations that the index counted
    counted = torch.zeros(64, dtype=torch.long)
    for shard in range(len(store)):
        found = made["crosscoder"].encode(dfc.kept_rows(store, shard).x)
        counted += torch.bincount(found.features, minlength=64)
    indexed = dfc.Store(tiny_copy.store)
    assert counted.tolist() == [indexed.feature(feature).count for feature in range(64)]
