"""The app as the command line opens it."""

from __future__ import annotations

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
