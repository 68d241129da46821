"""Help and errors come at once: what loads torch, transformers or pandas waits until a command needs it."""

from __future__ import annotations

import os

import pytest

from tests.processes import fresh

HEAVY = {"torch", "transformers", "nnsight", "streamlit", "pandas"}


def loaded(*lines: str) -> str:
    """Which of these a program has loaded at its end; it prints nothing else."""
    code = "\n".join((*lines, f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.__stdout__)"))
    result = fresh("-c", code)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_the_command_line_loads_without_torch() -> None:
    assert loaded("import sys, dfc.cli, dfc.pipeline") == "[]"


COMMANDS = [
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
    ["screen", "none"],
    ["explain", "none"],
    ["runs"],
    ["overview", "none"],
    ["features", "none"],
    ["feature", "none", "3"],
    ["prompt", "none", "--text", "a"],
    ["contrast", "none", "--sets", "harmful", "harmless"],
    ["null", "none"],
    ["stability", "none"],
]
AFTER_EACH = f"""
import os, sys, dfc.cli
for number, arguments in enumerate({COMMANDS!r}):
    if os.fork() == 0:  # what one command loads is not loaded in the next
        sys.argv = ["dfc", *arguments]
        try:
            dfc.cli.main()
        except SystemExit:
            pass
        print(number, sorted({HEAVY!r} & set(sys.modules)), file=sys.__stdout__, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def after_each(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each of the commands has loaded at its end."""
    lines = fresh("-c", AFTER_EACH, env={**os.environ, "DFC_DATA": str(tmp_path_factory.mktemp("none"))})
    return dict(line.split(" ", 1) for line in lines.stdout.splitlines() if line[:1].isdigit())


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=[" ".join(command) for command in COMMANDS])
def test_help_and_errors_need_none_of_it(number: int, after_each: dict[str, str]) -> None:
    assert after_each[str(number)] == "[]"
