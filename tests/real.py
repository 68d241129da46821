"""A small run on the two real models of the demo."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfc import demo, pipeline, runs
from dfc.runs import Run

PROJECT = Path(__file__).parent.parent


@contextmanager
def data_folder(folder: Path) -> Iterator[None]:
    """DFC_DATA for the length of a block, where a fixture outlives the test that asked for it."""
    before = os.environ.get("DFC_DATA")
    os.environ["DFC_DATA"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["DFC_DATA"]
        else:
            os.environ["DFC_DATA"] = before


def make_real_run(data: Path) -> Run:
    """Fetch what the demo needs into the project's data folder, and make a run of a few thousand pairs in `data`."""
    with data_folder(PROJECT / "data"):
        demo.fetch()
        preset = demo.settings()
    small = preset.model_copy(
        update={
            "name": "real",
            "corpus": preset.corpus.model_copy(update={"pairs": 6_000}),
            "harvest": preset.harvest.model_copy(update={"shard_pairs": 2_048, "scale": "median"}),
            "crosscoder": preset.crosscoder.model_copy(update={"features": 512, "k": 16}),
            "training": preset.training.model_copy(
                update={"steps": 400, "batch": 256, "warmup_steps": 20, "k_start": 64, "k_anneal_steps": 40}
                | {"dead_after_pairs": 5_000, "threshold_start": 60, "threshold_decay": 0.95, "checkpoint_every": 100}
            ),
            "evidence": preset.evidence.model_copy(update={"surprise_pairs": 500}),
        }
    )
    with data_folder(data):
        run = runs.create(small)
        pipeline.run_stages(run)
    return run
