"""The benchmark of the app: that every page stands on the invented store, not how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfc.bench import app


def test_every_page_is_visited_on_an_invented_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DFC_DATA", str(tmp_path))
    app.invent(tmp_path, 40)
    measured = app.visit(str(tmp_path), 40, 1)
    visited = [at.page for at in app.visits(40, 1)]
    assert sum(map(len, measured.times.values())) == len(visited)
    assert {
        "Feature",
        "Decoder norms",
        "Exclusive features",
        "Screen",
        "Screen, next",
        "Screen, decide finding",
    } <= set(measured.times)
