"""The activation store against plain forward passes, and against damage."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import torch

from dfc import config, models, runs
from dfc.activations import documents, harvest, pairing, shards
from dfc.activations.loader import kept_rows, read_ahead, rows_of_batch, training_batches
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, Side, UserError
from dfc.runs import Run
from tests import tiny


def files(run: Run) -> dict[str, bytes]:
    folder = run.activations
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("side", SIDES)
def test_rows_equal_a_plain_forward_of_each_document_alone(side: Side, tiny_run: Run) -> None:
    store = ActivationStore(tiny_run.activations)
    settings = tiny_run.config().models.side(side)
    model = models.load(settings).model
    columns = slice(0, 32) if side == "a" else slice(32, 72)
    for shard in range(len(store)):
        raw = store.raw(shard)[:, columns]
        row = 0
        for document in pq.read_table(shards.tokens_path(store.folder, shard)).to_pylist():
            index = document[f"index_{side}"]
            if not index:
                continue
            with torch.no_grad():
                out = model(torch.tensor([document[f"ids_{side}"]]), output_hidden_states=True)
            plain = out.hidden_states[settings.layer + 1][0, index].bfloat16()
            torch.testing.assert_close(raw[row : row + len(index)], plain, rtol=2e-2, atol=1e-2)
            row += len(index)
        assert row == len(raw) == store.manifest.shards[shard].pairs


def test_norms_scales_and_masks(tiny_run: Run) -> None:
    store = ActivationStore(tiny_run.activations)
    manifest = store.manifest
    assert manifest.pairs >= 2_000
    for place, side in enumerate(SIDES):
        columns = (slice(0, 32), slice(32, 72))[place]
        rows = [store.raw(shard)[:, columns].float().norm(dim=1) for shard in range(len(store))]
        origin = [store.rows(shard) for shard in range(len(store))]
        late = np.concatenate([np.minimum(o.index_a, o.index_b) >= 4 for o in origin])
        facts = manifest.side(side)
        assert facts.median_norm == pytest.approx(float(np.median(torch.cat(rows).numpy()[late])), rel=1e-2)
        stream = torch.cat([store.raw(s)[:, columns][store.keep(s, o)] for s, o in enumerate(origin)]).double()
        deviation = stream.std(0, correction=0).numpy()
        deviation = np.maximum(deviation, np.median(deviation) / 100)
        scaled = deviation * facts.column_scale().numpy()
        assert scaled == pytest.approx(np.full(len(scaled), scaled[0]), rel=1e-4)
        assert (scaled**2).sum() == pytest.approx((32 + 40) / 2, rel=1e-4)
        assert facts.norm_limit == pytest.approx(2 * facts.median_norm)
    for shard in range(len(store)):
        origin_rows = store.rows(shard)
        keep = store.keep(shard, origin_rows)
        assert not keep[np.minimum(origin_rows.index_a, origin_rows.index_b) < 4].any()
        kept = kept_rows(store, shard)
        assert len(kept.x) == keep.sum() == manifest.shards[shard].train + manifest.shards[shard].held_out
        assert int(kept.held_out.sum()) == manifest.shards[shard].held_out


def kept_places(store: ActivationStore) -> npt.NDArray[np.int64]:
    return np.flatnonzero(store.keep(0, store.rows(0)))


def test_outliers_and_rows_that_are_not_finite_are_left_out(tiny_copy: Run) -> None:
    rows = shards.read_rows(tiny_copy.activations, "b", 0).clone()
    usable = kept_places(ActivationStore(tiny_copy.activations))
    rows[usable[0]] *= 100
    rows[usable[1]] = float("nan")
    rows[usable[2], 3] = float("inf")
    shards.write_rows(tiny_copy.activations, "b", 0, rows)
    store = ActivationStore(tiny_copy.activations)
    assert set(usable.tolist()) - set(kept_places(store).tolist()) == set(usable[:3].tolist())
    assert bool(kept_rows(store, 0).x.isfinite().all())


def test_documents_are_held_out_whole(tiny_run: Run) -> None:
    documents = pq.read_table(tiny_run.corpus).to_pylist()
    held_out = {row["document"] for row in documents if row["held_out"]}
    assert 0.05 < len(held_out) / len(documents) < 0.4
    for shard in range(len(list((tiny_run.activations / "tokens").iterdir()))):
        rows = shards.flatten(pq.read_table(shards.tokens_path(tiny_run.activations, shard)))
        assert all((document in held_out) == held for document, held in zip(rows.document, rows.held_out, strict=True))


def test_what_is_missing_is_made_again_alike_and_the_rest_is_left_alone(tiny_copy: Run) -> None:
    before = files(tiny_copy)
    (tiny_copy.activations / "manifest.json").unlink()
    lost = [tiny_copy.activations / "a" / "00001.json", tiny_copy.activations / "b" / "00000.json"]
    for path in lost:
        for file in path.parent.glob(f"{path.stem}.*"):
            file.unlink()
    times = {path: path.stat().st_mtime_ns for path in tiny_copy.activations.glob("?/*")}
    harvest.harvest([tiny_copy])
    assert files(tiny_copy) == before
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())


def test_a_fraction_of_depth_reads_the_block_it_means(tiny_copy: Run) -> None:
    """Half of 6 and of 4 blocks, which the run gives as indices: the same activations and manifest."""
    before = files(tiny_copy)
    settings = tiny_copy.path / "run.yaml"
    settings.write_text(settings.read_text().replace("layer: 3", "layer: 0.5").replace("layer: 2", "layer: 0.5"))
    assert [tiny_copy.config().models.side(side).layer for side in SIDES] == [0.5, 0.5]
    for lost in ("manifest.json", "a", "b"):
        path = tiny_copy.activations / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    harvest.harvest([tiny_copy])
    assert files(tiny_copy) == before


def test_an_unfinished_store_says_how_to_go_on(tiny_copy: Run) -> None:
    (tiny_copy.activations / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"not complete; go on with `python -m dfc harvest"):
        ActivationStore(tiny_copy.activations)


def test_sources_are_mixed_by_weight(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models)
    sources = settings["corpus"]["sources"][:2]
    sources[0]["weight"] = 3
    run = runs.create(config.parse({**settings, "corpus": {"pairs": 1_000, "sources": sources}}, origin="test"))
    pairing.pair(run)
    source = {row["document"]: row["source"] for row in pq.read_table(run.corpus).to_pylist()}
    counts = dict.fromkeys(("english", "chinese"), 0)
    for path in (run.activations / "tokens").iterdir():
        for document in shards.flatten(pq.read_table(path)).document:
            counts[source[int(document)]] += 1
    assert 1.5 < counts["english"] / counts["chinese"] < 5


def test_nothing_is_written_for_a_layer_or_a_corpus_that_is_not_there(
    tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models)
    (tmp_path / "empty.jsonl").write_text("\n{}\nnot json\n")
    empty = {"sources": [{"name": "empty", "path": str(tmp_path / "empty.jsonl")}]}
    wrong = {**settings["models"]["b"], "layer": 4}
    for change, sentence in (
        ({"corpus": empty}, r"`empty` .* is empty: 2 rows without `text` or `messages`, the first at empty\.jsonl:\d"),
        ({"models": {**settings["models"], "b": wrong}}, "there is no layer 4; its 4 blocks are 0 to 3"),
    ):
        run = runs.create(config.parse({**settings, **change}, origin="test"))
        with pytest.raises(UserError, match=sentence):
            pairing.pair(run)
        assert not run.corpus.exists()
        assert not run.activations.exists()


@pytest.mark.parametrize(
    ("held_out", "sentence"),
    [(0.001, "no document was held out, .* raise corpus.held_out"), (0.999, "all documents were held out, .* lower")],
)
def test_what_leaves_nothing_to_train_or_to_measure_on_is_said_before_a_model_runs(
    held_out: float, sentence: str, tiny_models: tuple[Path, Path], tmp_path: Path
) -> None:
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models)
    settings["corpus"] = {**settings["corpus"], "pairs": 200, "held_out": held_out}
    run = runs.create(config.parse(settings, origin="test"))
    with pytest.raises(UserError, match=sentence):
        pairing.pair(run)
    assert not run.done()["pair"]


def take(store: ActivationStore, count: int, **choices: int) -> list[torch.Tensor]:
    arguments = {"batch": 64, "window_shards": 2, "seed": 0, **choices}
    batches = training_batches(store, **arguments)
    return [next(batches) for _ in range(count)]


def test_batches_are_fixed_by_the_seed(tiny_run: Run) -> None:
    store = ActivationStore(tiny_run.activations)
    first = take(store, 40)
    assert all(map(torch.equal, first, take(store, 40)))
    assert not torch.equal(first[0], take(store, 1, seed=1)[0])
    for skip in (1, 7, 23, 39):
        assert all(map(torch.equal, first[skip:], take(store, 40 - skip, skip=skip)))


def test_an_epoch_holds_training_rows_alone_and_each_once(tiny_run: Run) -> None:
    store = ActivationStore(tiny_run.activations)
    kept = [kept_rows(store, shard) for shard in range(len(store))]
    training = sum(int((~part.held_out).sum()) for part in kept)
    seen: list[tuple[int, int]] = []
    for number in range((training - 2 * len(store) * 64) // 64):
        seen += rows_of_batch(store, 64, 2, 0, number)
    assert len(seen) == len(set(seen)) > training / 3
    allowed = {(part.shard, int(row)) for part in kept for row in part.row[~part.held_out]}
    assert set(seen) <= allowed


def test_rows_of_a_batch_are_named(tiny_run: Run) -> None:
    store = ActivationStore(tiny_run.activations)
    batch = take(store, 12)[11]
    places = rows_of_batch(store, 64, 2, 0, 11)
    rows = torch.stack([store.raw(shard)[row] for shard, row in places]).float() * store.column_scale()
    torch.testing.assert_close(batch, rows, rtol=0, atol=0)


def test_too_few_rows_for_a_batch(tiny_run: Run) -> None:
    with pytest.raises(
        UserError, match=r"fewer than one batch of 100000; raise corpus\.pairs or lower training\.batch"
    ):
        take(ActivationStore(tiny_run.activations), 1, batch=100_000)


def test_reading_ahead_gives_everything_and_passes_errors_on() -> None:
    assert list(read_ahead(iter(range(5)))) == list(range(5))

    def failing() -> object:
        yield 1
        raise KeyError("lost")

    items = read_ahead(failing())  # type: ignore[arg-type, var-annotated]
    assert next(items) == 1
    with pytest.raises(KeyError):
        next(items)


def test_every_row_knows_who_says_it(tiny_run: Run) -> None:
    table = documents.read(tiny_run)
    said = dict.fromkeys(documents.ROLES, "")
    store = ActivationStore(tiny_run.activations)
    for shard in range(len(store)):
        rows = store.rows(shard)
        for number, end, role in zip(rows.document.tolist(), rows.end.tolist(), rows.role.tolist(), strict=True):
            content = "".join(turn.content for turn in documents.document(table, number).turns)
            said[documents.ROLES[role]] += content[end - 1]
    assert set("Willitran?") >= set(said["user"]) != set()
    assert set("今天会下雨。") >= set(said["assistant"]) != set()
    assert not said["system"]
    assert len(said["text"]) > 1_000
