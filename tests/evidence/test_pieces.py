"""A new measure is a piece and a column, and nothing else: it appears wherever figures are read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dfc import pipeline
from dfc.crosscoder.model import Crosscoder
from dfc.evidence import verify
from dfc.evidence.moments import Batch
from dfc.evidence.pieces import Found, Piece
from dfc.machine.processes import Group
from dfc.report import columns_page, document
from dfc.runs import Run
from dfc.store import columns
from dfc.store.column import SHARES, Column
from dfc.store.notes import Notebook
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell import feature_filters as filters
from dfc.ui.shell import orders
from tests.ui.pages import FEATURE, TABLE, calm, text, visit

EVENNESS = Column(
    "evenness",
    "FLOAT",
    "even",
    "Share of its firings that fall on held-out documents.",
    called="evenness of firing",
    sorted=True,
    steps=SHARES,
    spread=True,
)


class Firings:
    """All of them, and those on held-out documents, (2, features)."""

    def __init__(self, features: int) -> None:
        self.counts = torch.zeros(2, features)

    def observe(self, batch: Batch) -> None:
        fired = torch.bincount(batch.codes.features, minlength=self.counts.shape[1])
        self.counts[0] += fired
        self.counts[1] += fired * batch.held_out

    def gather(self, group: Group) -> None:
        self.counts = group.added(self.counts)


def evenness(crosscoder: Crosscoder) -> Piece:
    """Counts firings on the way."""
    firings = Firings(crosscoder.config.features)

    def end(found: Found) -> dict[str, np.ndarray]:
        assert "own_r2" in found.columns, "pieces before it have ended"
        return {"evenness": (firings.counts[1] / firings.counts[0]).double().numpy()}

    return Piece(end, firings)


@pytest.fixture
def run(tiny_run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The tiny run, judged with the measure."""
    monkeypatch.setattr(columns, "EVIDENCE", (*columns.EVIDENCE, EVENNESS))
    monkeypatch.setattr(verify, "PIECES", (*verify.PIECES, evenness))
    run = Run(Path(shutil.copytree(tiny_run.path, data / "runs" / "tiny")))
    pipeline.verify(run, surprised=False)
    return run


def test_it_appears_everywhere(run: Run) -> None:
    store = Store(run.store)
    for feature in range(64):
        row, found = store.feature(feature), store.evidence(feature)
        assert found is not None
        expected = found.held_out_count / row.count if row.count else None
        assert found.evenness == (None if expected is None else pytest.approx(expected, abs=1e-6))
    alive = FeatureQuery(alive_only=True, order="evenness", limit=64)
    table = store.features(alive)
    assert table["evenness"].is_monotonic_decreasing
    half = float(table["evenness"].median())
    assert store.count(alive.ranged(evenness=(half, 1.0))) == (table["evenness"] >= half).sum()
    assert set(store.reference()["evenness"]) == {"a", "b", "shared"}

    assert orders.orders()["evenness"] == "evenness of firing"
    assert [entry.title for entry in filters.ranges() if entry.field == "evenness"] == ["Evenness of firing"]
    assert "| `evenness` | FLOAT | even |" in columns_page.markdown()
    chosen = document.of_features(run, [int(table["feature_id"].iloc[0])])
    report = document.report_html(run, chosen, Notebook(run.path / "notes.duckdb"), None)
    assert report.count("evenness of firing") == 2, "beside its spread, and explained"

    page = calm(visit(TABLE, run="tiny", show="shared", order="evenness of firing"))
    shown = page.dataframe[0].value
    assert shown["evenness"].is_monotonic_decreasing
    assert "evenness" in [slider.key for slider in page.select_slider]
    one = calm(visit(FEATURE, run="tiny", feature=str(int(table["feature_id"].iloc[0]))))
    assert "evenness of firing" in text(one)
