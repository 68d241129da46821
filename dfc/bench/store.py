"""A feature store at the paper's size: how large it is, how long it takes to write, and every query of the app."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dfc.bench import large_store
from dfc.bench.figures import Figure
from dfc.config import PARTITIONS, VERDICTS
from dfc.store.query import FeatureQuery, orders, ranges
from dfc.store.reader import Store

FEATURES = 131_072
_CALLS = 60  # of each query, with other values each
_WARM = 3  # before them: these read the file
_GIGABYTES = 4.0  # at most
_PAGE, _TABLE, _SEARCH = 30.0, 100.0, 500.0  # ms at most
_ROWS, _LISTED = 50, 10  # on a page of the table, on an overview


def run() -> list[Figure]:
    """Write a store of 131,072 features into a temporary folder, and read from it."""
    return measure(FEATURES, _CALLS)


def measure(features: int, calls: int) -> list[Figure]:
    """The same with so many features, and so many calls of each query."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.duckdb"
        started = time.perf_counter()
        large_store.write(path, features)
        seconds = time.perf_counter() - started
        gigabytes = path.stat().st_size / 1e9
        return [
            Figure("size", gigabytes, "GB", f"{_GIGABYTES:g} GB", gigabytes / _GIGABYTES, 1.0),
            Figure("writing, inventing included", seconds, "s"),
            *queries(path, calls),
        ]


def queries(path: Path, calls: int) -> list[Figure]:
    """The 95th percentile of the time that each query of the app takes, once the file is in memory."""
    figures = []
    for name, (limit, query) in _queries(Store(path), np.random.default_rng(1)).items():
        times = []
        gc.collect()  # what was left by others is not cleared away within a measured call
        for _ in range(_WARM + calls):
            started = time.perf_counter()
            query()
            times.append(1e3 * (time.perf_counter() - started))
        p95 = float(np.quantile(times[_WARM:], 0.95))
        figures.append(Figure(f"{name}, p95", p95, "ms", f"{limit:g} ms", p95 / limit, 1.0))
    return figures


def _queries(store: Store, random: np.random.Generator) -> dict[str, tuple[float, Callable[[], object]]]:
    """How many ms each query may take, and the query, which draws other values at each call."""
    features = store.count(FeatureQuery(alive_only=False))
    words = large_store.vocabulary()

    def one() -> int:
        return int(random.integers(features))

    def some() -> list[int]:
        return random.integers(features, size=_LISTED).tolist()

    def phrases(number: int) -> object:
        return store.phrases([number])

    def page() -> None:
        number = one()
        store.feature(number)
        store.contexts(number)
        store.evidence(number)
        for table in (store.logits, store.sources, store.roles, phrases, store.coactivations, store.neighbours):
            table(number)

    def searching() -> FeatureQuery:
        return FeatureQuery(search=_text(random, words), limit=_ROWS)

    of_one = (
        store.feature,
        store.contexts,
        store.evidence,
        store.logits,
        store.sources,
        store.roles,
        phrases,
        store.coactivations,
        store.neighbours,
        store.document,
    )
    of_all = (store.facts, store.models, store.partitions, store.verdicts, store.reference, store.norms)
    return {
        "a feature's page, all its queries": (_PAGE, page),
        **{f"{query.__name__} of one": (_PAGE, partial(_call, query, one)) for query in of_one},
        "strongest contexts of ten": (_TABLE, lambda: store.strongest_contexts(some())),
        "fingerprints of ten": (_TABLE, lambda: store.fingerprints(some())),
        "a page of the table": (_TABLE, lambda: store.features(_filtered(random))),
        "count of the table": (_TABLE, lambda: store.count(_filtered(random))),
        "ids of the table": (_TABLE, lambda: store.feature_ids(_filtered(random))),
        "search in texts, a page": (_SEARCH, lambda: store.features(searching())),
        "search in texts, count": (_SEARCH, lambda: store.count(searching())),
        **{query.__name__: (_TABLE, query) for query in of_all},
    }


def _call(query: Callable[[int], object], number: Callable[[], int]) -> object:
    return query(number())


def _filtered(random: np.random.Generator) -> FeatureQuery:
    """Any page in any order, with up to three filters."""

    def span(high: float) -> tuple[float, float]:
        return float(random.random() * high / 3), float(high * (2 + random.random()) / 3)

    limits = {name: span(1.0) for name in ranges()}
    filters: dict[str, Any] = {
        "main_source": str(random.choice(large_store.SOURCES)),
        "source": str(random.choice(large_store.SOURCES)),
        "role": "user",
        "label": "a",
        "verdicts": (VERDICTS[int(random.integers(len(VERDICTS)))],),
    }
    chosen = random.choice([*limits, *filters], size=random.integers(4), replace=False).tolist()
    return FeatureQuery(
        partitions=(PARTITIONS, PARTITIONS[:1], PARTITIONS[2:])[int(random.integers(3))],
        order=orders()[int(random.integers(len(orders())))],
        descending=bool(random.integers(2)),
        limit=_ROWS,
        offset=int(random.integers(20)) * _ROWS,
        **{name: filters[name] for name in chosen if name in filters},
    ).ranged(**{name: limits[name] for name in chosen if name in limits})


def _text(random: np.random.Generator, words: list[str]) -> str:
    """A word, the commonest to the rarest, two in a row, or Chinese characters; like the app, without spaces around."""
    first, second = (words[int(large_store.WORDS ** random.random()) - 1] for _ in range(2))
    one, other = (words[large_store.WORDS + int(large_store.CHARACTERS ** random.random()) - 1] for _ in range(2))
    return (first.upper(), first + second, one, one + other)[int(random.integers(4))].strip()
