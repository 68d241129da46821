"""Reading for the Prompt page: models are loaded when first needed, and a session keeps what it read last.

Everything that touches a model lives in dfc.features.live, and is imported only when something is read.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dfc import corpus
from dfc.config import Partition
from dfc.features.fired import beside
from dfc.store.reader import FeatureQuery
from dfc.ui.prompt.entry import Prompt
from dfc.ui.shell import data
from dfc.ui.shell.frame import View

if TYPE_CHECKING:
    from dfc.features.expected import Expected
    from dfc.features.live import Reading

Made = TypeVar("Made")

_KEPT = "prompt_readings"
_MOST_KEPT = 4


def read(view: View, prompt: Prompt, status: DeltaGenerator) -> Reading:
    """What fires on a prompt; `status` shows what is waited for.

    Raises:
        UserError: if there is nothing to read, no such document, or a model or the crosscoder cannot be loaded.
    """
    path = view.run.crosscoder / "model.safetensors"
    key = view.run, path.stat().st_mtime_ns if path.exists() else 0, prompt
    return _kept(_KEPT, key, lambda: _read(view, prompt, status))


def expect(view: View, reading: Reading, status: DeltaGenerator) -> Expected:
    """How well both models expected a text that was read.

    Raises:
        UserError: if a model cannot be loaded any more.
    """

    def ask() -> Expected:
        from dfc.features import expected, live

        report = _reporter(status)
        found = expected.expected(live.open_run(view.run, report), reading, report)
        status.empty()
        return found

    return _kept(f"{_KEPT}_expected", reading, ask)


def _kept(name: str, key: object, make: Callable[[], Made]) -> Made:
    """What this session made of a key last, or what is made of it now."""
    kept: dict[object, Made] = st.session_state.setdefault(name, {})
    if key not in kept:
        made = make()
        while len(kept) >= _MOST_KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = made
    return kept[key]


def _reporter(status: DeltaGenerator) -> Callable[[str], object]:
    return lambda message: status.html(f'<p class="dfc-waiting">{escape(message)}</p>')


def _read(view: View, prompt: Prompt, status: DeltaGenerator) -> Reading:
    report = _reporter(status)
    report("Getting ready …")
    from dfc.features import live

    if prompt.document is not None:
        reading = live.read_stored(live.open_run(view.run, report), prompt.document, report)
    else:
        lead = corpus.clean(prompt.lead)
        told = tuple((role, f"{lead} {text}") for role, text in prompt.turns) if lead else prompt.turns
        reading = live.read(live.open_run(view.run, report), live.prompt(told), report, lead=len(lead))
    status.empty()
    return reading


def described(view: View, table: pd.DataFrame) -> pd.DataFrame:
    """The same rows, in their order, with what the store knows of each feature; see `beside`."""
    ids = tuple(int(identity) for identity in table["feature_id"])
    query = FeatureQuery(ids=ids, alive_only=False, limit=len(ids), order="feature_id", descending=False)
    return beside(table, data.features(view.store, query))


def outline(reading: Reading, known: pd.DataFrame, partition: Partition) -> np.ndarray:
    """For each pair the strongest feature of a partition, as a part of its strongest on the corpus; NaN as in `kept`.

    Args:
        reading: of a prompt.
        known: `described` of all that fires on it.
        partition: whose features.

    Returns:
        (pairs,) float32.
    """
    strongest = np.where(reading.kept, np.float32(0), np.float32(np.nan))
    tops = known.loc[known["partition"] == partition].set_index("feature_id")["corpus_max"]
    place = tops.index.get_indexer(pd.Index(reading.features))
    mine = place >= 0
    shares = reading.values[mine] / np.maximum(tops.to_numpy()[place[mine]], np.finfo(np.float32).tiny)
    np.fmax.at(strongest, reading.rows[mine], shares.astype(np.float32).clip(max=1.0))
    return strongest
