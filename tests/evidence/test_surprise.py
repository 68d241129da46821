"""How surprised the models are, against one document at a time and a sum token by token."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dfc import models
from dfc.activations import shards
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, UserError
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
    surprise.measure(run, ALL, WINDOW)
    store = ActivationStore(run.activations)
    for shard in (0, len(store) - 1):
        found = surprise.ahead(store, shard, store.rows(shard), ALL, WINDOW)
        assert found.numpy() == pytest.approx(expected(run, shard), abs=2e-3, nan_ok=True)
        assert found.isfinite().all(1).sum() > 100


def test_between_kept_pairs_is_the_sum_over_tokens_within_the_turn(run: Run) -> None:
    surprise.measure(run, 500, WINDOW)
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
    surprise.measure(run, 500, WINDOW)
    store = ActivationStore(run.activations)
    rows = [store.rows(shard) for shard in range(len(store))]
    own = [surprise._beginnings(store, shard, 500, WINDOW) for shard in range(len(store))]
    monkeypatch.delattr(shards, "read_tokens")
    for shard, (of, beginnings) in enumerate(zip(rows, own, strict=True)):
        found = surprise.ahead(store, shard, of, 500, WINDOW).isfinite().all(1).numpy()
        documents = sorted(set(of.document.tolist()))
        assert 0 < len(beginnings.counts) < len(documents)
        for document, count in zip(documents, [*beginnings.counts.tolist(), *[0] * len(documents)], strict=False):
            there = found[of.document == document]
            assert there[: count - 1].any() == (count > 1)
            assert not there[max(0, count - 1) :].any()


def test_no_more_pairs_are_measured_than_asked_for(run: Run) -> None:
    store = ActivationStore(run.activations)
    surprise.measure(run, 500, WINDOW)
    known = [
        surprise.ahead(store, shard, store.rows(shard), 500, WINDOW).isfinite().all(1) for shard in range(len(store))
    ]
    assert 0 < sum(int(part.sum()) for part in known) <= 500
    for pairs, window in ((ALL, WINDOW), (500, WINDOW + 1)):
        other = surprise.ahead(store, 0, store.rows(0), pairs, window)
        assert other.isnan().all(), "another selection is not taken for it"


def test_where_a_shard_has_less_than_a_document_to_give_every_so_manieth_gives_one(run: Run) -> None:
    surprise.measure(run, 10 * WINDOW, WINDOW)
    store = ActivationStore(run.activations)
    known = [
        int(surprise.ahead(store, shard, store.rows(shard), 10 * WINDOW, WINDOW).isfinite().all(1).sum())
        for shard in range(len(store))
    ]
    assert 0 < sum(known) <= 10 * WINDOW
    assert 0 < sum(count > 0 for count in known) <= 3 < len(store)
    assert max(known) < 4 * WINDOW


@pytest.mark.parametrize(
    ("pairs", "share", "window", "counts"),
    [
        ([100, 3, 50, 40], 193, 2, [100, 3, 50, 40]),  # all
        ([100, 3, 50, 40], 192, 2, [99, 3, 50, 40]),
        ([100, 3, 50, 40], 100, 2, [32, 3, 32, 32]),
        ([100, 3, 50, 40], 30, 2, [9, 3, 9, 9]),
        ([100, 3, 50, 40], 20, 2, [8, 3, 8]),  # four windows at least: one document goes without
        ([100, 3, 50, 40], 7, 2, []),
        ([], 10, 2, []),
    ],
)
def test_from_each_document_comes_as_much_as_from_any(
    pairs: list[int], share: int, window: int, counts: list[int]
) -> None:
    found = surprise.Beginnings.of(np.array(pairs, dtype=np.int64), share, window)
    assert found.counts.tolist() == counts
    assert found.total == sum(counts)


def test_what_is_measured_stays_and_what_is_missing_is_made_again(run: Run) -> None:
    surprise.measure(run, ALL, WINDOW)
    files = sorted((run.activations / "surprise").iterdir())
    assert len(files) == 2 * len(ActivationStore(run.activations))
    contents = [path.read_bytes() for path in files]
    files[1].unlink()
    stamps = [path.stat().st_mtime_ns for path in files if path != files[1]]
    surprise.measure(run, ALL, WINDOW)
    assert [path.read_bytes() for path in files] == contents
    assert [path.stat().st_mtime_ns for path in files if path != files[1]] == stamps


def test_a_new_measurement_takes_the_place_of_the_one_before(run: Run) -> None:
    surprise.measure(run, ALL, WINDOW)
    before = set((run.activations / "surprise").iterdir())
    surprise.measure(run, ALL, WINDOW + 1)
    after = set((run.activations / "surprise").iterdir())
    assert len(after) == len(before)
    assert not after & before


def test_a_damaged_file_is_named_with_the_remedy(run: Run) -> None:
    surprise.measure(run, ALL, WINDOW)
    [*_, last] = sorted((run.activations / "surprise").iterdir())
    last.write_bytes(b"\x93NUMPY")
    with pytest.raises(UserError, match=r"surprise.*dfc verify"):
        surprise.measure(run, ALL, WINDOW)


def test_a_model_that_is_gone_is_named(run: Run, tmp_path: Path) -> None:
    settings = (run.path / "run.yaml").read_text()
    (run.path / "run.yaml").write_text(settings.replace(run.config().models.b.source, str(tmp_path / "gone")))
    with pytest.raises(UserError, match="gone"):
        surprise.measure(Run(run.path), ALL, WINDOW)


def test_a_model_that_changed_since_it_was_harvested_is_not_measured(run: Run, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run.config().models.b.source, tmp_path / "other"))
    weights = other / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    settings = (run.path / "run.yaml").read_text()
    (run.path / "run.yaml").write_text(settings.replace(run.config().models.b.source, str(other)))
    with pytest.raises(UserError, match="holds other weights"):
        surprise.measure(Run(run.path), ALL, WINDOW)
