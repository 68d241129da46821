"""The same experiment on several seeds, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from dfc.machine import progress


def all_rows(
    title: str, one_seed: Callable[[int], list[dict[str, Any]]], seeds: Iterable[int], workers: int
) -> list[dict[str, Any]]:
    """What every seed gives, together, in the order in which they are done.

    Args:
        title: of the bar that shows how far it is.
        one_seed: the experiment; it must be importable by other processes.
        seeds: what it is done with.
        workers: processes; with one, this one does it all.
    """
    chosen, rows = list(seeds), []
    with progress.bar(title, len(chosen), "seeds") as bar:
        if workers == 1:
            for seed in chosen:
                rows += one_seed(seed)
                bar.update()
            return rows
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            for done in as_completed([pool.submit(one_seed, seed) for seed in chosen]):
                rows += done.result()
                bar.update()
    return rows
