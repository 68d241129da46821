"""What each feature is about as a vector, so that features can be looked for by meaning: written beside the features.

Every document that contexts are cut from is read once; a feature's vector is the mean over its strongest contexts, and
a context's that over its tokens. The mean of all features is taken off, since the vectors of such encoders crowd around
one direction (arXiv 1702.01417), and likewise what all queries have in common off a query.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from dfc.config import UserError
from dfc.machine import disk, progress
from dfc.models.embedder import Embedder, Floats, unit
from dfc.runs import Run
from dfc.screen import encoders
from dfc.store import attached
from dfc.store.reader import Store
from dfc.store.writer import meaning_writer

BETWEEN_TURNS = "\n"
_KEPT_EVERY = 128  # documents
_QUERIES = 256  # labels of which the queries' common part is learnt


@dataclass
class _Sums:
    """What was read so far; grows document by document.

    Attributes:
        vectors: sum over the contexts of each feature, (features, width).
        contexts: of each feature, (features,).
        done: documents.
    """

    vectors: Floats
    contexts: npt.NDArray[np.int64]
    done: int = 0

    def add(self, feature: int, vector: Floats) -> None:
        self.vectors[feature] += vector
        self.contexts[feature] += 1


def write(run: Run, embedder: Embedder) -> None:
    """Write a run's meaning.duckdb; a killed one goes on where it was.

    Raises:
        UserError: if the run is not indexed or a file is damaged.
    """
    store, path = Store(run.store), attached.meaning_path(run.store)
    labels, features = _labels(store), int(store.facts()["features"])
    sums = _read(store, embedder, features, attached.meaning_sums(run.store), attached.identity(run.store))
    known = sums.contexts > 0
    means = sums.vectors[known] / sums.contexts[known, None]
    centre = means.mean(axis=0) if len(means) else np.zeros(embedder.width, np.float32)
    queries = embedder.queries(labels)
    with meaning_writer(path) as writer:
        vectors = unit(means - centre)
        flat, ends = pa.array(vectors.ravel()), np.arange(len(vectors) + 1, dtype=np.int32) * embedder.width
        writer.append(
            "meanings",
            pa.table({"feature_id": np.flatnonzero(known), "vector": pa.ListArray.from_arrays(pa.array(ends), flat)}),
        )
        writer.facts(
            {
                "identity": attached.identity(run.store),
                "model": encoders.name(embedder.folder),
                "digest": embedder.digest,
                "query_centre": (queries.mean(axis=0) if len(queries) else np.zeros(embedder.width)).tolist(),
                "features": int(known.sum()),
                "documents": sums.done,
                "contexts": int(sums.contexts.sum()),
            }
        )
    attached.meaning_sums(run.store).unlink(missing_ok=True)
    progress.say(f"{path}: {int(known.sum()):,} features can be looked for by meaning.")


def asked(embedder: Embedder, facts: dict[str, Any], words: str) -> tuple[float, ...]:
    """The vector of what is looked for, of length 1, as features' vectors are compared with it.

    Args:
        embedder: the one that the features' vectors are of.
        facts: about these, `Store.meaning`.
        words: what is looked for.

    Raises:
        UserError: if the encoder is another.
    """
    if embedder.digest != facts["digest"]:
        raise UserError(
            f"{embedder.folder}: is not the encoder by which this run's features were read; put that one there, or "
            f"read them again with `python -m dfc meaning`."
        )
    [query] = embedder.queries([words])
    [vector] = unit((query - np.array(facts["query_centre"], np.float32))[None])
    return tuple(vector.tolist())


def _labels(store: Store) -> list[str]:
    """Labels of some features, evenly drawn."""
    labels = store.labels()
    return labels[:: -(-len(labels) // _QUERIES) or 1]


def _read(store: Store, embedder: Embedder, features: int, kept: Path, identity: str) -> _Sums:
    """Read every document, and keep now and then what came of it.

    Args:
        store: of the features.
        embedder: reads the documents.
        features: how many there are.
        kept: where what was read is kept.
        identity: of the features.
    """
    stretches = store.stretches()
    numbers = stretches["document"].unique().tolist()
    belongs = {"identity": identity, "digest": embedder.digest, "documents": str(len(numbers))}
    sums = _continued(kept, belongs) or _Sums(
        np.zeros((features, embedder.width), np.float32), np.zeros(features, np.int64)
    )
    with progress.bar("features: meaning", len(numbers), "documents", done=sums.done) as bar:
        for first in range(sums.done, len(numbers), _KEPT_EVERY):
            some = numbers[first : first + _KEPT_EVERY]
            contents = store.documents(some)
            asked = stretches[stretches["document"].between(some[0], some[-1])].groupby("document")
            texts = [BETWEEN_TURNS.join(contents[number]) for number in some]
            for number, read in zip(some, embedder.documents(texts), strict=True):
                rows: pd.DataFrame = asked.get_group(number)
                for feature, start, stop in _places(rows, contents[number]):
                    sums.add(feature, read.mean(start, stop))
                sums.done += 1
                bar.update(1)
            with disk.replacing(kept) as temporary:
                content: dict[str, npt.NDArray[Any]] = {
                    "vectors": sums.vectors,
                    "contexts": sums.contexts,
                    "done": np.array([sums.done]),
                }
                save_file(content, temporary, belongs)
    return sums


def _places(rows: pd.DataFrame, contents: Sequence[str]) -> list[tuple[int, int, int]]:
    """Feature, and the characters of each context in the document's text, in which turns stand apart."""
    ends = list(accumulate(map(len, contents)))
    return [
        (feature, start + bisect_right(ends, start), stop + bisect_right(ends, stop - 1))
        for feature, start, stop in zip(
            rows["feature_id"].tolist(), rows["start"].tolist(), rows["stop"].tolist(), strict=True
        )
    ]


def _continued(kept: Path, belongs: dict[str, str]) -> _Sums | None:
    """What an interrupted one left, if it is of the same features, encoder and documents."""
    if not kept.exists():
        return None
    with disk.reading(kept, "delete it; the documents are read again", SafetensorError):
        with safe_open(kept, "numpy") as file:
            if file.metadata() != belongs:
                return None
        content = load_file(kept)
        return _Sums(content["vectors"], content["contexts"], int(content["done"][0]))
