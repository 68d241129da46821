"""Help and errors come at once: what loads torch, transformers or pandas waits until a command needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "nnsight", "streamlit", "pandas"}


def loaded(*lines: str) -> str:
    """Which of these a program has loaded at its end; it prints nothing else."""
    code = "\n".join((*lines, f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.__stdout__)"))
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()[-1]


def test_the_command_line_loads_without_torch() -> None:
    assert loaded("import sys, dfc.cli, dfc.pipeline") == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["steer", "--help"],
        ["rollouts", "--help"],
        ["run", "none.yaml"],
        ["run", "none"],
        ["verify", "none"],
        ["align", "none", "--report"],
        ["rollouts", "none", "--prompts", "none"],
        ["steer", "none", "--feature", "3"],
        ["report", "none", "--feature", "3"],
        ["report", "none"],
        ["findings", "none"],
        ["null", "none"],
        ["stability", "none"],
    ],
    ids=" ".join,
)
def test_help_and_errors_need_none_of_it(arguments: list[str]) -> None:
    run = f"import sys, dfc.cli; sys.argv = ['dfc', *{arguments!r}]"
    assert loaded(run, "try: dfc.cli.main()", "except SystemExit: pass") == "[]"
