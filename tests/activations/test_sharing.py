"""A run that begins with another's documents: it has its rows, and the rest is as if it had made all itself."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dfc import pipeline, runs
from dfc.activations import documents as stored
from dfc.activations import harvest, pairing, shards, sharing
from dfc.config import SIDES, RunConfig, SourceConfig
from dfc.runs import Run


def further(run: Run, folder: Path, **changes: Any) -> RunConfig:
    """Settings of a run that goes on with another source."""
    texts = folder / "more.jsonl"
    lines = [
        json.dumps({"text": f"The old bridge carried people {number} while rain watched."}) for number in range(40)
    ]
    texts.write_text("\n".join(lines), encoding="utf-8")
    own = run.config()
    sources = (*own.corpus.sources, SourceConfig(name="more", path=str(texts), weight=9))
    corpus = own.corpus.model_copy(
        update={"sources": sources, "pairs": pairing.read_position(run).found + 300, **changes}
    )
    return own.model_copy(update={"name": "further", "corpus": corpus})


def test_a_run_begins_with_the_documents_and_rows_of_another(tiny_copy: Run, data: Path) -> None:
    settings = further(tiny_copy, data)
    a = settings.models.a.model_copy(update={"layer": 4})
    made = runs.create(settings.model_copy(update={"models": settings.models.model_copy(update={"a": a})}))
    sharing.beginning(tiny_copy, made)
    sharing.beginning(tiny_copy, made)  # begun already
    pipeline.run_stages(made, until="harvest")
    first, whole = stored.read(tiny_copy), stored.read(made)
    assert whole.slice(0, len(first)).equals(first)
    assert set(whole.slice(len(first))["source"].to_pylist()) == {"more"}
    count = pairing.count_shards(tiny_copy)
    assert pairing.count_shards(made) > count
    for shard in range(count):
        assert os.path.samefile(*(run.activations / "b" / f"{shard:05d}.rows" for run in (tiny_copy, made)))
        theirs, ours = (shards.read_rows(run.activations, "a", shard) for run in (tiny_copy, made))
        assert not torch.equal(theirs, ours), "another layer of model A"
    rows = {side: [shards.read_rows(made.activations, side, at).clone() for at in range(count + 1)] for side in SIDES}
    for side in SIDES:
        shutil.rmtree(made.activations / side)
    harvest.harvest([made])
    for side, before in rows.items():
        assert all(torch.equal(shards.read_rows(made.activations, side, at), old) for at, old in enumerate(before))
    assert tiny_copy.done()["harvest"]
    assert all(shards.damage(tiny_copy.activations, "b", shard) is None for shard in range(count))


def test_another_corpus_is_no_beginning(tiny_copy: Run, data: Path) -> None:
    made = runs.create(further(tiny_copy, data, seed=1))
    with pytest.raises(ValueError, match="its corpus does not begin as that of"):
        sharing.beginning(tiny_copy, made)


def test_an_interrupted_beginning_is_begun_again(tiny_copy: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = runs.create(further(tiny_copy, data))
    calls = 0

    def link(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt
        shutil.copyfile(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", link)
        with pytest.raises(KeyboardInterrupt):
            sharing.beginning(tiny_copy, made)
    assert calls == 7
    assert not pairing.position_path(made).exists()
    sharing.beginning(tiny_copy, made)
    pipeline.run_stages(made, until="harvest")
    first, whole = stored.read(tiny_copy), stored.read(made)
    assert whole.slice(0, len(first)).equals(first)
    for side in SIDES:  # both models are the same here
        assert os.path.samefile(*(run.activations / side / "00000.rows" for run in (tiny_copy, made)))
        assert all(shards.damage(made.activations, side, shard) is None for shard in range(pairing.count_shards(made)))
