"""A process whose threads compute leaves by its own exit code."""

from __future__ import annotations

import threading

import pytest

from dfc.machine import workers
from dfc.machine.workers import Worker
from tests import processes

COMPUTING = """
import sys, threading, torch
from dfc.cli import base
from dfc.machine import workers
from dfc.machine.workers import Worker

begun = threading.Event()

def compute():
    x = torch.randn(700, 700)
    begun.set()
    while not ({heeds} and workers.ENDING.is_set()):
        x @ x

def command():
    Worker(compute, "computing").start()
    begun.wait()
    print("written")
    {ends}

workers.end.__defaults__ = (0.5,)
base.app = command
base.main()
"""


@pytest.mark.parametrize("heeds", [True, False])
@pytest.mark.parametrize(
    ("ends", "code", "said"),
    [
        ("sys.exit(130)", 130, ""),
        ("sys.exit()", 0, ""),
        ("raise base.UserError('the disk is full.')", 2, "dfc: the disk is full."),
        ("raise RuntimeError('a mistake')", 1, "RuntimeError: a mistake"),
    ],
)
def test_the_exit_code_is_the_commands_whatever_computes(heeds: bool, ends: str, code: int, said: str) -> None:
    program = COMPUTING.format(heeds=heeds, ends=ends)
    result = processes.run("-c", program)
    assert result.returncode == code, result.stderr
    assert result.stdout == "written\n"
    assert said in result.stderr
    assert "terminate called" not in result.stderr


def test_workers_are_waited_for_only_so_long() -> None:
    release = threading.Event()
    worker = Worker(lambda: bool(release.wait(30)), "waiting")
    worker.start()
    assert not workers.end(0.05)
    assert not workers.ENDING.is_set()
    release.set()
    assert workers.end(30)
    assert not worker.is_alive()
