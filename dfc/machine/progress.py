"""Progress of long work: how far, how fast, how long still."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from dfc.config.characters import shown


def bar(title: str, total: int, unit: str, done: int = 0, shown: bool = True) -> tqdm[Any]:
    """A progress bar on standard error; in a log file, one line every ten seconds.

    Args:
        title: what is being done.
        total: units of work in all, those done by an earlier, interrupted run included.
        unit: what is counted.
        done: units that were already done.
        shown: whether it appears at all; one of several processes shows it for all.
    """
    live = sys.stderr.isatty()
    return tqdm(
        total=total,
        initial=done,
        desc=f"{title:<22}",
        unit=f" {unit}",
        unit_scale=total >= 10_000,
        mininterval=0.2 if live else 10.0,
        ascii=None if live else True,
        dynamic_ncols=live,
        leave=True,
        disable=not shown,
    )


def say(message: str) -> None:
    """One line about the work on standard error; nothing in it that a terminal would obey."""
    print(shown(message, "\n\t"), file=sys.stderr, flush=True)
