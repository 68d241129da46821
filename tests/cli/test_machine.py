"""The app as the command line opens it."""

from __future__ import annotations

import signal
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from dfc.cli import machine
from tests.ui.browser import START_SECONDS, free_port


def test_the_app_answers_beside_what_is_done_and_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_DATA", str(tmp_path))
    monkeypatch.setenv("STREAMLIT_SERVER_HEADLESS", "true")
    port, answer, end = free_port(), b"", time.monotonic() + START_SECONDS
    with pytest.raises(KeyboardInterrupt), machine.opened(port) as app:
        while not answer and app.poll() is None and time.monotonic() < end:
            with suppress(OSError), urllib.request.urlopen(f"http://localhost:{port}/_stcore/health") as reply:
                answer = reply.read()
            time.sleep(0.05)
        raise KeyboardInterrupt
    assert answer == b"ok"
    assert app.poll() is not None


def test_a_command_that_is_terminated_ends_the_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_DATA", str(tmp_path))
    monkeypatch.setenv("STREAMLIT_SERVER_HEADLESS", "true")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, machine.opened(free_port()) as app:
        signal.raise_signal(signal.SIGTERM)
    assert ended.value.code == 128 + signal.SIGTERM
    assert app.poll() is not None
    assert signal.getsignal(signal.SIGTERM) == before
