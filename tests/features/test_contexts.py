"""Contexts come in pieces, and the commonest texts at their peaks are those that counting finds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.crosscoder import model as crosscoder_model
from dfc.features import contexts, statistics
from dfc.features.codes import CodesOnDisk
from dfc.runs import Run
from dfc.store.contexts import unpacked


@pytest.fixture(scope="module")
def pieces(tiny_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[pa.Table], list[pa.Table]]:
    """The contexts of the tiny run, all at once and a few at once."""
    run, folder = tiny_run, tmp_path_factory.mktemp("contexts")
    config, store, documents = run.config(), ActivationStore(run.activations), stored.read(run)
    codes = CodesOnDisk(run.codes, crosscoder_model.load(run.crosscoder), store)
    found = statistics.collect(codes, np.zeros(len(documents), dtype=np.int64), 1, config.index.top_contexts)
    chosen = contexts.choose(found, config.index.band_contexts)
    whole, parts = (list(contexts.build(chosen, codes, documents, config, folder, n)) for n in (10_000, 40))
    assert not list(folder.iterdir())
    return whole, parts


def test_pieces_are_the_whole(pieces: tuple[list[pa.Table], list[pa.Table]]) -> None:
    [whole], parts = pieces
    assert len(parts) > 5
    assert pa.concat_tables(parts).to_pylist() == whole.to_pylist()
    of_parts = [set(part["feature_id"].to_pylist()) for part in parts]
    assert sum(map(len, of_parts)) == len(set.union(*of_parts))


def test_peaks_are_counted(pieces: tuple[list[pa.Table], list[pa.Table]]) -> None:
    whole, parts = pieces
    of_b = np.arange(64) % 3 == 0
    expected = []
    for feature in range(64):
        counts: Counter[str] = Counter()
        for context in (unpacked(row) for row in whole[0].to_pylist() if row["feature_id"] == feature):
            text = context.tokens_b[context.peak_b] if of_b[feature] else context.tokens_a[context.peak_a]
            counts.update([text.strip()] if context.band == 0 else [])
        expected.append([text for text, _ in counts.most_common(5)])
    for tables in (whole, parts):
        assert contexts.peak_tokens([contexts.peaks(table, of_b) for table in tables], 64).to_pylist() == expected
    assert contexts.peak_tokens([], 2).to_pylist() == [[], []]
