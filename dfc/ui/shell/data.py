"""What views read again and again, kept while the file stays the same.

Everything is keyed by path and by what the files were when they were read. Settings, findings, quantiles and the frames
of `norms` are shared by all sessions: never change them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from dfc.config import RunConfig
from dfc.report import findings as found
from dfc.report.findings import Finding
from dfc.runs import Run
from dfc.store import attached, corpus
from dfc.store.reader import FeatureQuery, Store


def settings(run: Run) -> RunConfig:
    """The settings that a run was made with.

    Raises:
        UserError: as `Run.config` does.
    """
    return _settings(str(run.path), _stamp(run.path / "run.yaml"))


def norms(store: Store, alive_only: bool = False) -> pd.DataFrame:
    """Norms, density and peak tokens of every feature, or of those that fire; shared, not to be changed."""
    return _norms(str(store.path), attached.stamp(store.path), alive_only)


def norms_compare(store: Store) -> bool:
    """Whether norms are in their model's typical deviation; those of older stores are as the crosscoder sees them."""
    return "variance_a" in facts(store)


def metric_lines(run: Run) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl."""
    return _metric_lines(str(run.path), _stamp(run.metrics))


def facts(store: Store) -> dict[str, Any]:
    """The facts of the run."""
    return _facts(str(store.path), attached.stamp(store.path))


def models(store: Store) -> pd.DataFrame:
    """Both models of the run."""
    return _models(str(store.path), attached.stamp(store.path))


def partitions(store: Store) -> pd.DataFrame:
    """Features and alive features in each partition."""
    return _partitions(str(store.path), attached.stamp(store.path))


def verdicts(store: Store) -> pd.DataFrame:
    """Features of each verdict in each partition."""
    return _verdicts(str(store.path), attached.stamp(store.path))


def reference(store: Store) -> dict[str, dict[str, list[float]]]:
    """Quantiles of each measure of the evidence in each partition."""
    return _reference(str(store.path), attached.stamp(store.path))


def findings(store: Store) -> tuple[Finding, ...]:
    """The findings of both models, the surest first."""
    return _findings(str(store.path), attached.stamp(store.path))


def tested(store: Store) -> int:
    """How many features were tested for being findings."""
    return _tested(str(store.path), attached.stamp(store.path))


def features(store: Store, query: FeatureQuery) -> pd.DataFrame:
    """One page of features."""
    return _features(str(store.path), attached.stamp(store.path), query)


def page_ids(store: Store, query: FeatureQuery) -> list[int]:
    """Ids of one page of features."""
    return _page_ids(str(store.path), attached.stamp(store.path), query)


def matches(store: Store, query: FeatureQuery, ids: Sequence[int]) -> pd.DataFrame:
    """Where the text that a query searches stands in the contexts of these features."""
    return _matches(str(store.path), attached.stamp(store.path), query, tuple(ids))


def count(store: Store, query: FeatureQuery) -> int:
    """How many features match, all pages together."""
    return _count(str(store.path), attached.stamp(store.path), replace(query, limit=0, offset=0))


def corpus_document(run: Run, text: str) -> int | None:
    """The first document of the corpus that holds a text."""
    return _corpus_document(str(run.corpus), _stamp(run.corpus), text)


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@st.cache_resource(max_entries=16, show_spinner=False)
def _settings(path: str, stamp: object) -> RunConfig:
    return Run(Path(path)).config()


@st.cache_resource(max_entries=4, show_spinner=False)
def _norms(path: str, stamp: object, alive_only: bool) -> pd.DataFrame:
    if not alive_only:
        return Store(Path(path)).norms()
    whole = _norms(path, stamp, False)
    return whole[whole["alive"]]


@st.cache_data(max_entries=8, show_spinner=False)
def _metric_lines(path: str, stamp: object) -> list[dict[str, Any]]:
    return Run(Path(path)).metric_lines()


@st.cache_data(max_entries=16, show_spinner=False)
def _facts(path: str, stamp: object) -> dict[str, Any]:
    return Store(Path(path)).facts()


@st.cache_data(max_entries=16, show_spinner=False)
def _models(path: str, stamp: object) -> pd.DataFrame:
    return Store(Path(path)).models()


@st.cache_data(max_entries=16, show_spinner=False)
def _partitions(path: str, stamp: object) -> pd.DataFrame:
    return Store(Path(path)).partitions()


@st.cache_data(max_entries=16, show_spinner=False)
def _verdicts(path: str, stamp: object) -> pd.DataFrame:
    return Store(Path(path)).verdicts()


@st.cache_resource(max_entries=16, show_spinner=False)
def _reference(path: str, stamp: object) -> dict[str, dict[str, list[float]]]:
    return Store(Path(path)).reference()


@st.cache_resource(max_entries=16, show_spinner=False)
def _findings(path: str, stamp: object) -> tuple[Finding, ...]:
    return found.of(Store(Path(path)))


@st.cache_data(max_entries=16, show_spinner=False)
def _tested(path: str, stamp: object) -> int:
    return Store(Path(path)).tested()


@st.cache_data(max_entries=64, show_spinner="Looking into the corpus …")
def _corpus_document(path: str, stamp: int, text: str) -> int | None:
    return corpus.holding(Path(path), text)


@st.cache_data(max_entries=64, show_spinner="Searching …")
def _matches(path: str, stamp: object, query: FeatureQuery, ids: tuple[int, ...]) -> pd.DataFrame:
    return Store(Path(path)).matches(query, ids)


@st.cache_data(max_entries=64, show_spinner="Searching …")
def _features(path: str, stamp: object, query: FeatureQuery) -> pd.DataFrame:
    return Store(Path(path)).features(query)


@st.cache_data(max_entries=256, show_spinner="Searching …")
def _page_ids(path: str, stamp: object, query: FeatureQuery) -> list[int]:
    return Store(Path(path)).page_ids(query)


@st.cache_data(max_entries=256, show_spinner="Searching …")
def _count(path: str, stamp: object, query: FeatureQuery) -> int:
    return Store(Path(path)).count(query)
