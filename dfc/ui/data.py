"""What views read again and again, kept while the file stays the same.

Everything is keyed by path and time of change. Frames from `norms` are shared by all sessions:
never change them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dfc.runs import Run
from dfc.store.reader import Store


def norms(store: Store) -> pd.DataFrame:
    """Norms, density and peak tokens of every feature; shared, not to be changed."""
    return _norms(str(store.path), _stamp(store.path))


def metric_lines(run: Run) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return _metric_lines(str(run.path), _stamp(run.metrics))


def facts(store: Store) -> dict[str, Any]:
    """The facts of the run."""
    return _facts(str(store.path), _stamp(store.path))


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@st.cache_resource(max_entries=4, show_spinner=False)
def _norms(path: str, stamp: int) -> pd.DataFrame:
    return Store(Path(path)).norms()


@st.cache_data(max_entries=8, show_spinner=False)
def _metric_lines(path: str, stamp: int) -> list[dict[str, Any]]:
    return Run(Path(path)).metric_lines()


@st.cache_data(max_entries=16, show_spinner=False)
def _facts(path: str, stamp: int) -> dict[str, Any]:
    return Store(Path(path)).facts()
