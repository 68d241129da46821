"""Processes that tests start, signal and kill: `python -m dfc …` and its like, without the seconds of loading.

On Linux they are forked from one process that has loaded all libraries (tests/template.py); the first test that wants
one starts it, for all processes of the test run. Elsewhere, and in `fresh`, they start as a user starts them.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock

from tests.shared import lasting

ROOT = Path(__file__).resolve().parents[1]
QUIET = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Two threads of a tiny model wait for each other whenever another process is busy."""
_LOAD_SECONDS = 180.0
_held: dict[Path, socket.socket] = {}
"""Connections that keep a template alive for as long as this process wants."""
_running: list[Forked] = []
_mine: list[subprocess.Popen[bytes]] = []
"""Templates that this process has started."""


class Forked:
    """A process that another one has forked for this one: as much of Popen as tests use, its output in files."""

    def __init__(self, arguments: list[str], template: socket.socket, environment: dict[str, str], cwd: Path) -> None:
        self.args = arguments
        self.returncode: int | None = None
        self._output = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        request = {"arguments": arguments, "environment": environment, "folder": str(cwd)}
        with open(os.devnull) as nothing:
            streams = [nothing.fileno(), *(output.fileno() for output in self._output)]
            socket.send_fds(template, [json.dumps(request).encode()], streams)
        self._template = template.makefile("r")
        template.close()
        self.pid = int(self._template.readline())
        _running.append(self)

    def poll(self) -> int | None:
        """Its exit code, as Popen has it, or None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._template], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._template.readline())
            self._template.close()
            _running.remove(self)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote to its two streams, once it has ended."""
        self.wait(timeout)
        written = []
        for output in self._output:
            output.seek(0)
            written.append(output.read().decode())
        return written[0], written[1]


Process = Forked | subprocess.Popen[str]


def start(*arguments: str, environment: dict[str, str] | None = None, cwd: Path = ROOT) -> Process:
    """Start what `python` does with these arguments, `-m module …` or `-c code`, with QUIET and `environment` added."""
    settings = {**os.environ, **QUIET, **(environment or {})}
    if sys.platform != "linux":  # a fork of a process with Apple's libraries may not live
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, *arguments], cwd=cwd, env=settings, text=True, **pipes)
    return Forked(list(arguments), _template(), settings, cwd)


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Start that, and wait for its end."""
    process = start(*arguments, environment=environment)
    try:
        written, said = process.communicate(timeout=300)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.wait(), written, said)


def together(number: int, *arguments: str) -> list[subprocess.CompletedProcess[str]]:
    """Several processes as `torchrun` starts them, which takes as long as they do."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    among = {"WORLD_SIZE": str(number), "LOCAL_WORLD_SIZE": str(number), "MASTER_ADDR": "localhost"}
    processes = [
        start(*arguments, environment={**among, "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(number)
    ]
    ended = []
    try:
        for process in processes:
            written, said = process.communicate(timeout=300)
            ended.append(subprocess.CompletedProcess(process.args, process.wait(), written, said))
    finally:
        for process in processes:
            process.kill()
    return ended


def fresh(*arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """What `python` does with these arguments, in a process that has loaded nothing."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300, **settings)


def dfc(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m dfc …` with this test's data folder."""
    return run("-m", "dfc", *arguments)


def release() -> None:
    """No more are wanted. Whoever started the template sees it end: nothing stays behind, and its time is counted."""
    for process in list(_running):  # those that a test has left behind
        process.kill()
    for connection in _held.values():
        connection.close()
    _held.clear()
    while _mine:
        _mine.pop().wait()


def _template() -> socket.socket:
    """A connection to the process that forks, which is started if it is not there."""
    place = lasting()
    address = place / "template"
    with FileLock(place / "template.lock"):
        if place not in _held:
            _held[place] = _connected(address) or _started(address)
            _held[place].sendall(b"hold")
    connection = _connected(address)
    assert connection, f"{address}: the process that forks has ended"
    return connection


def _connected(address: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(address))
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    return connection


def _started(address: Path) -> socket.socket:
    with address.with_suffix(".log").open("w") as log:
        command = [sys.executable, "-m", "tests.template", str(address)]
        process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **QUIET}, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    _mine.append(process)
    end = time.monotonic() + _LOAD_SECONDS
    while time.monotonic() < end:
        if connection := _connected(address):
            return connection
        assert process.poll() is None, address.with_suffix(".log").read_text()
        time.sleep(0.02)
    process.kill()
    raise TimeoutError(f"{address}: the libraries were not loaded within {_LOAD_SECONDS:.0f} s")
