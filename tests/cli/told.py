"""Commands called in this process, and the one JSON value that they print."""

from __future__ import annotations

import json
from typing import Any

from typer.testing import CliRunner

import dfc.cli
from dfc.config import UserError


def told(*arguments: str) -> Any:
    """The JSON value on standard output; there is nothing else."""
    result = CliRunner().invoke(dfc.cli.app, [*arguments, "--json"])
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def printed(*arguments: str) -> str:
    """What is printed for people."""
    result = CliRunner().invoke(dfc.cli.app, list(arguments))
    assert result.exit_code == 0, result.exception
    return result.stdout


def refused(*arguments: str) -> str:
    """The one sentence of a command that cannot do what was asked, which prints nothing."""
    result = CliRunner().invoke(dfc.cli.app, list(arguments))
    assert isinstance(result.exception, UserError)
    assert not result.stdout
    return str(result.exception)
