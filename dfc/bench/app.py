"""The app's pages on an invented store of the paper's size: script time of every interaction, without models.

One fresh process visits all pages as a reader would, each interaction once or more with other values, so that little
is answered from a cache. What is timed is a whole run of the page's script, with the drawing of its elements.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfc import config, demo
from dfc.bench import large_store
from dfc.bench.figures import Figure, high_water
from dfc.machine import disk
from dfc.runs import Run
from dfc.screen import flags

FEATURES = 131_072
_ROOT = Path(__file__).parent.parent.parent
_MILLISECONDS, _FIRST_SECONDS, _MEGABYTES = 300.0, 2.0, 1_500.0  # targets
_ROUNDS = 8


@dataclass(frozen=True)
class Visit:
    """One page with the parameters of its address; or the page that is open already, and a button's key there."""

    page: str
    params: dict[str, str]
    pressed: str = ""

    @property
    def name(self) -> str:
        """What a reader calls it."""
        title = Path(self.page).stem.lstrip("0123456789_").replace("_", " ")
        return f"{title}, {self.pressed.replace('_', ' ')}" if self.pressed else title


@dataclass(frozen=True)
class Measured:
    """What one process took.

    Attributes:
        first: seconds until the first page was there, imports included.
        times: by page, milliseconds of each interaction.
        megabytes: largest resident size of the process.
    """

    first: float
    times: dict[str, list[float]]
    megabytes: float


def run(features: int = FEATURES, rounds: int = _ROUNDS) -> list[Figure]:
    """p50 and p95 of every page, the first page, and the memory of the process.

    Args:
        features: of the store that is invented.
        rounds: how often each page's interactions are gone through.
    """
    with tempfile.TemporaryDirectory() as folder:
        invent(Path(folder), features)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            visited = pool.apply(visit, (folder, features, rounds))
    figures = [Figure("first page", visited.first, "s", "2 s", visited.first / _FIRST_SECONDS, 1)]
    for page, times in visited.times.items():
        middle, slow = (float(np.quantile(times, level)) for level in (0.5, 0.95))
        figures += [
            Figure(f"{page}, p50 of {len(times)}", middle, "ms"),
            Figure(f"{page}, p95", slow, "ms", f"{_MILLISECONDS:g} ms", slow / _MILLISECONDS, 1),
        ]
    size = visited.megabytes / _MEGABYTES
    return [*figures, Figure("memory of the process", visited.megabytes, "MB", f"{_MEGABYTES:,.0f} MB", size, 1)]


def invent(data: Path, features: int) -> Run:
    """A run with a store of so many features, flags and a training curve, as the demo's settings would make it."""
    settings = demo.settings()
    shape = settings.crosscoder.model_copy(update={"features": features})
    made = Run(data / "runs" / "large")
    disk.write_text(
        made.path / "run.yaml", config.dump(settings.model_copy(update={"name": "large", "crosscoder": shape}))
    )
    lines = [{"step": step, "loss": 1e5 / step, "fve_a": 0.8, "fve_b": 0.8} for step in range(50, 100_000, 50)]
    disk.write_text(made.metrics, "".join(json.dumps(line) + "\n" for line in lines))
    large_store.write(made.store, features)
    flags.screen(made)
    return made


def visit(data: str, features: int, rounds: int) -> Measured:
    """Go through all pages in this process, which should be a fresh one."""
    os.environ["DFC_DATA"] = data
    from streamlit.testing.v1 import AppTest

    test = AppTest.from_file(str(_ROOT / "app.py"), default_timeout=120)

    def open_page(at: Visit) -> float:
        if at.pressed:
            test.button(at.pressed).click()
        else:
            test.switch_page(at.page)
            test.query_params.clear()
            test.query_params.update(at.params)
        started = time.perf_counter()
        test.run()
        seconds = time.perf_counter() - started
        if test.exception or test.error:
            raise RuntimeError(f"{at}: {[box.value for box in (*test.exception, *test.error)]}")
        return seconds

    first = open_page(Visit("app.py", {"run": "large"}))
    times: dict[str, list[float]] = {}
    for at in visits(features, rounds):
        times.setdefault(at.name, []).append(1e3 * open_page(at))
    return Measured(first, times, high_water())


def visits(features: int, rounds: int) -> Iterator[Visit]:
    """What a reader does: other filters, orders, words and features each time."""
    random = np.random.default_rng(0)
    words = large_store.vocabulary()
    for number in range(rounds):
        word = words[int(random.integers(len(words)))].strip()
        feature = str(int(random.integers(features)))
        at = {"run": "large"}
        yield Visit("app.py", at)
        yield Visit("pages/1_Findings.py", {**at, "page": str(number + 1)})
        yield Visit("pages/2_Exclusive_features.py", {**at, "page": str(number + 2)})
        yield Visit(
            "pages/2_Exclusive_features.py", {**at, "order": "density", "show": "shared", "page": str(number + 1)}
        )
        yield Visit("pages/2_Exclusive_features.py", {**at, "search": word})
        yield Visit("pages/3_Feature.py", {**at, "feature": feature})
        yield Visit("pages/3_Feature.py", {**at, "feature": feature, "tokens": "both"})
        yield Visit("pages/4_Decoder_norms.py", {**at, "colour": ("partition", "verdict", "density")[number % 3]})
        yield Visit("pages/5_Steer.py", {**at, "feature": feature})
        yield Visit("pages/6_Prompt.py", at)
        yield Visit("pages/7_Runs.py", at)
        yield Visit("pages/8_Lists.py", at)
        yield Visit("pages/9_Contrast.py", at)
        yield Visit("pages/9_Own_words.py", at)
        yield Visit("pages/9_Screen.py", {**at, "who": "Ada"})
        yield Visit("pages/9_Screen.py", {}, pressed="decide_finding")
        yield Visit("pages/9_Screen.py", {}, pressed="next")
