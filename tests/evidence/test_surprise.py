"""How surprised the models are, against one document at a time and a sum token by token."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dfc import models
from dfc.activations import beginnings, shards
from dfc.activations.beginnings import Extent
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES
from dfc.evidence import surprise
from dfc.runs import Run

ALL, WINDOW = 10**9, 5


@pytest.fixture
def run(tiny_run: Run, tmp_path: Path) -> Run:
    """A copy of the tiny run that may be written to."""
    return Run(Path(shutil.copytree(tiny_run.path, tmp_path / "tiny")))


def expected(run: Run, shard: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The same as `surprise.ahead`, one document and one pair at a time."""
    found = []
    loaded = {side: models.load(run.config().models.side(side)).model for side in SIDES}
    for row in shards.read_tokens(run.activations, shard).to_pylist():
        lost = {}
        for side in SIDES:
            ids = torch.tensor([row[f"ids_{side}"]])
            with torch.no_grad():
                logs = loaded[side](input_ids=ids).logits[0].log_softmax(-1)
            lost[side] = [0.0] + [-float(logs[at - 1, ids[0, at]]) for at in range(1, ids.shape[1])]
        pairs = len(row["ends"])
        for first in range(pairs):
            until = first
            while until + 1 < pairs and until < first + WINDOW and row["roles"][until + 1] == row["roles"][first]:
                until += 1
            if until == first:
                found.append((np.nan, np.nan))
                continue
            read = {
                side: sum(lost[side][row[f"index_{side}"][first] + 1 : row[f"index_{side}"][until] + 1])
                for side in SIDES
            }
            found.append((read["b"] - read["a"], row["ends"][until] - row["ends"][first]))
    return np.array(found)


def test_what_comes_ahead_is_the_sum_over_tokens_within_the_turn(run: Run) -> None:
    beginnings.measure(run, ALL, WINDOW)
    store = ActivationStore(run.activations)
    for shard in (0, len(store) - 1):
        found = surprise.ahead(store, shard, store.rows(shard), ALL, WINDOW)
        assert found.numpy() == pytest.approx(expected(run, shard), abs=2e-3, nan_ok=True)
        assert found.isfinite().all(1).sum() > 100


def test_between_kept_pairs_is_the_sum_over_tokens_within_the_turn(run: Run) -> None:
    beginnings.measure(run, 500, WINDOW)
    store = ActivationStore(run.activations)
    loaded = {side: models.load(run.config().models.side(side)).model for side in SIDES}
    rows, tokens = store.rows(0), shards.read_tokens(run.activations, 0).to_pylist()
    keep = store.keep(0, rows)
    keep[5::7] = False  # what is left out counts to the next pair
    found = surprise.between(store, 0, rows, keep, 500, WINDOW).to_pylist()
    assert 0 < len(found) < len(tokens)
    for row in found[:3]:
        [document] = [one for one in tokens if one["document"] == row["document"]]
        lost = {}
        for side in SIDES:
            ids = torch.tensor([document[f"ids_{side}"]])
            with torch.no_grad():
                logs = loaded[side](input_ids=ids).logits[0].log_softmax(-1)
            lost[side] = np.array([0.0] + [-float(logs[at - 1, ids[0, at]]) for at in range(1, ids.shape[1])])
        kept = np.flatnonzero(keep[rows.document == row["document"]])[: len(row["ends"])]
        assert row["ends"] == [document["ends"][pair] for pair in kept]
        before = None
        for pair, gap in zip(kept.tolist(), row["gaps"], strict=True):
            if before is None or document["roles"][before] != document["roles"][pair]:
                assert gap is None
            else:
                nats = {
                    side: lost[side][document[f"index_{side}"][before] + 1 : document[f"index_{side}"][pair] + 1].sum()
                    for side in SIDES
                }
                assert gap == pytest.approx(nats["b"] - nats["a"], abs=6e-3)
            before = pair


def test_the_rows_tell_which_pairs_are_known(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their tokens are not read once more: what is known are the beginnings of documents, and within the windows."""
    beginnings.measure(run, 500, WINDOW)
    store = ActivationStore(run.activations)
    rows = [store.rows(shard) for shard in range(len(store))]
    extent = Extent.of(store, 500, WINDOW)
    held = [beginnings.pairs_held(store.folder, shard) for shard in range(len(store))]
    own = [extent.first_pairs(shard, pairs)[pairs > 0] for shard, pairs in enumerate(held)]
    monkeypatch.delattr(shards, "read_tokens")
    for shard, (of, counts) in enumerate(zip(rows, own, strict=True)):
        found = surprise.ahead(store, shard, of, 500, WINDOW).isfinite().all(1).numpy()
        documents = sorted(set(of.document.tolist()))
        assert 0 < np.count_nonzero(counts) < len(documents)
        for document, count in zip(documents, counts.tolist(), strict=True):
            there = found[of.document == document]
            assert there[: count - 1].any() == (count > 1)
            assert not there[max(0, count - 1) :].any()


def test_no_more_pairs_are_measured_than_asked_for(run: Run) -> None:
    store = ActivationStore(run.activations)
    beginnings.measure(run, 500, WINDOW)
    known = [
        surprise.ahead(store, shard, store.rows(shard), 500, WINDOW).isfinite().all(1) for shard in range(len(store))
    ]
    assert 0 < sum(int(part.sum()) for part in known) <= 500
    for pairs, window in ((ALL, WINDOW), (500, WINDOW + 1)):
        other = surprise.ahead(store, 0, store.rows(0), pairs, window)
        assert other.isnan().all(), "another selection is not taken for it"


def test_where_a_shard_has_less_than_a_document_to_give_every_so_manieth_gives_one(run: Run) -> None:
    beginnings.measure(run, 10 * WINDOW, WINDOW)
    store = ActivationStore(run.activations)
    known = [
        int(surprise.ahead(store, shard, store.rows(shard), 10 * WINDOW, WINDOW).isfinite().all(1).sum())
        for shard in range(len(store))
    ]
    assert 0 < sum(known) <= 10 * WINDOW
    assert 0 < sum(count > 0 for count in known) <= 3 < len(store)
    assert max(known) < 4 * WINDOW
