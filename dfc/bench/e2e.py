"""The demo's run made from nothing, stage by stage: what somebody waits for who tries the product.

Nothing stands beside the whole: figures of builds are compared with each other (`python -m dfc performance`).
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from dfc import config, demo, pipeline
from dfc.bench.figures import Figure, high_water
from dfc.config import RunConfig
from dfc.machine import disk
from dfc.runs import STAGES, Run


def run() -> list[Figure]:
    """Seconds of processor time of every stage and of the whole, those of the clock, and the memory at its peak.

    Raises:
        UserError: if the models or the texts are not there and cannot be fetched.
    """
    demo.fetch()
    return measure(demo.settings(), demo.fetch_embedder())


def measure(settings: RunConfig, encoder: Path | None = None) -> list[Figure]:
    """The same of any run.

    Args:
        settings: of the run, which is made in a folder that is deleted afterwards.
        encoder: folder of a model by which it is read what its features are about, if it is.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Run(Path(folder) / settings.name)
        disk.write_text(made.path / "run.yaml", config.dump(settings))
        started = time.perf_counter()
        took = {stage: _processor(partial(pipeline.run_stages, made, until=stage)) for stage in STAGES}
        took["verify"] = _processor(lambda: pipeline.verify(made))
        if encoder is not None:
            took["meaning"] = _processor(lambda: pipeline.meaning(made, encoder))
        whole = time.perf_counter() - started
    return [
        *(Figure(f"{stage}, processor time", seconds, "s") for stage, seconds in took.items()),
        Figure("everything, processor time", sum(took.values()), "s"),
        Figure("everything, by the clock", whole, "s"),
        Figure("memory at its peak", high_water(), "MB"),
    ]


def _processor(stage: Callable[[], object]) -> float:
    """Seconds of processor time that it takes, its own processes included."""
    before = _used()
    stage()
    return _used() - before


def _used() -> float:
    both = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(one.ru_utime + one.ru_stime for one in both)
