"""What the report on pairing counts, and what it shows of a text."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from transformers import ByT5Tokenizer

from dfc import config
from dfc.activations import coverage, shards
from dfc.runs import Run
from tests import tiny


def test_counts_are_those_of_the_run(tiny_run: Run) -> None:
    """All of the corpus is drawn, as the run drew it, but in another order."""
    settings = tiny_run.config()
    measured = coverage.measure(settings, 10_000)
    assert {part.source: part.documents for part in measured} == dict(english=20, chinese=20, code=20, chats=6)
    whole = coverage.total(measured)
    assert (whole.source, whole.documents, whole.failed) == ("total", 66, 0)
    source = dict(enumerate(pq.read_table(tiny_run.corpus)["source"].to_pylist()))
    for part in measured:
        rows = [
            row
            for shard in range(shards.count_shards(tiny_run.activations))
            for row in shards.read_tokens(tiny_run.activations, shard).to_pylist()
            if source[row["document"]] == part.source
        ]
        if len(rows) == part.documents:
            assert part.tokens_a == sum(len(row["ids_a"]) for row in rows)
            assert part.tokens_b == sum(len(row["ids_b"]) for row in rows)
            assert part.pairs == sum(len(row["ends"]) for row in rows)
        assert part.pairs <= part.content_a < part.tokens_a
        assert part.shares == (part.pairs / part.content_a, part.pairs / part.content_b)


def test_sources_are_drawn_by_weight(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    settings = tiny.tiny_settings(tmp_path / "texts", tiny_models)
    sources = settings["corpus"]["sources"][:2]
    sources[0]["path"] = [str(tmp_path / "many.jsonl")][0]
    (tmp_path / "many.jsonl").write_text("\n".join(f'{{"text": "the river {n}"}}' for n in range(200)))
    sources[0]["weight"] = 4
    settings["corpus"]["sources"] = sources
    measured = coverage.measure(config.parse(settings, origin="test"), 80)
    assert {part.source: part.documents for part in measured} == {"english": 64, "chinese": 16}


def test_documents_that_fail_are_counted(tiny_models: tuple[Path, Path], tmp_path: Path) -> None:
    """A slow tokenizer to which every letter is unknown."""

    class Unknowing(ByT5Tokenizer):
        pass

    folder = tmp_path / "model"
    shutil.copytree(tiny_models[0], folder)
