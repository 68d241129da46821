"""Looking for features by meaning: the encoder is loaded once in a process, when somebody first asks."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import streamlit as st

from dfc.screen import encoders
from dfc.store import attached
from dfc.store.reader import FeatureQuery, Store
from dfc.ui.shell.frame import View

MEANS = (
    "Looks for what the words mean, in whatever language a feature's contexts are, and sorts all features by how near "
    "they come to it."
)
"""Of the search by meaning."""
_lock = threading.Lock()


def lacking(view: View) -> str:
    """Why features cannot be looked for by meaning, as a sentence with the command that mends it; empty if they can."""
    return encoders.lacking(view.store.path, facts_of(view.store), view.run.name)


def resolved(view: View, query: FeatureQuery) -> FeatureQuery:
    """The query with the vector of what it asks about; without, if there is none or it cannot be known.

    Raises:
        UserError: if the encoder does not load, or is another than that of the features' vectors.
    """
    if not query.about or lacking(view):
        return replace(query, about="")
    return replace(query, near=_vector(str(view.store.path), attached.stamp(view.store.path), query.about))


def facts_of(store: Store) -> dict[str, Any]:
    """The facts about the features' vectors; empty if there are none."""
    return _facts(str(store.path), attached.stamp(store.path))


@st.cache_data(max_entries=16, show_spinner=False)
def _facts(path: str, stamp: object) -> dict[str, Any]:
    return Store(Path(path)).meaning()


@st.cache_data(max_entries=256, show_spinner="Reading what you look for …")
def _vector(path: str, stamp: object, words: str) -> tuple[float, ...]:
    from dfc.screen import meaning

    facts = Store(Path(path)).meaning()
    with _lock:
        return meaning.asked(_embedder(str(encoders.folder(facts["model"])), str(facts["digest"])), facts, words)


@st.cache_resource(max_entries=1, show_spinner="Loading the model that reads what you look for …")
def _embedder(folder: str, digest: str) -> Any:
    from dfc.models import embedder

    return embedder.load(Path(folder), "cpu")
