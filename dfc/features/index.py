"""Write a run's feature store: what every feature is, in one DuckDB file."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa

from dfc import models, progress, runs
from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.config import PARTITIONS, SIDES, Side
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Crosscoder
from dfc.features import contexts, logit_lens, statistics
from dfc.features.fingerprint import fingerprints
from dfc.features.statistics import HISTOGRAM_EDGES, QUANTILE_LEVELS, Statistics
from dfc.runs import Run
from dfc.store.writer import StoreWriter

_EVEN_FIRINGS = 10


def index(run: Run) -> None:
    """Collect statistics, contexts and logit lens of every feature and write features.duckdb.

    Raises:
        UserError: if an earlier stage has not finished, or a model does not load.
    """
    config = run.config()
    store = ActivationStore(run.activations)
    crosscoder = crosscoder_model.load(run.crosscoder)
    documents = stored.read(run)
    sources = [source.name for source in config.corpus.sources]
    source_of = np.array([sources.index(name) for name in documents["source"].to_pylist()], dtype=np.int64)

    found = statistics.collect(
        crosscoder, store, source_of, len(sources), config.index.top_contexts, config.index.batch
    )
    chosen = contexts.choose(found, config.index.band_contexts)
    tokenizers = {side: models.load_tokenizer(config.models.side(side)) for side in SIDES}
    shown = contexts.build(chosen, crosscoder, store, documents, tokenizers, config)
    lenses = []
    for side in SIDES:
        model = models.load(config.models.side(side))
        lenses.append(logit_lens.logit_lens(model, side, *crosscoder.decoder_vectors(side), config.index.logit_tokens))
        del model

    progress.say("writing features.duckdb")
    features = _features(crosscoder, found, shown, sources)
    with StoreWriter(run.store) as writer:
        writer.facts(_facts(run, store, crosscoder, found, documents, sources))
        writer.append("models", _models(store, found))
        writer.append("features", features)
        writer.append("contexts", shown)
        writer.append("logits", pa.concat_tables(lenses).sort_by("feature_id"))
        writer.append("sources", _sources(found, sources))
    fve_a, fve_b = found.held_out.fve()
    runs.record(run, "index", fve_a=fve_a, fve_b=fve_b)


def _features(crosscoder: Crosscoder, found: Statistics, shown: pa.Table, sources: list[str]) -> pa.Table:
    partitions = crosscoder.partitions()
    sides: list[Side] = ["b" if partition == "b" else "a" for partition in partitions]
    norms = {side: np.zeros(len(partitions), dtype=np.float32) for side in SIDES}
    for side in SIDES:
        ids, vectors = crosscoder.decoder_vectors(side)
        norms[side][ids.numpy()] = vectors.norm(dim=1).numpy()
    # A few firings spread evenly are added, so that a feature that fired once is not called specific.
    rates = found.by_source / np.maximum(found.source_pairs, 1) + _EVEN_FIRINGS / found.pairs
    strongest = rates.argmax(axis=1)
    alive = found.count > 0
    return pa.table(
        {
            "feature_id": np.arange(len(partitions)),
            "partition": partitions,
            "fingerprint": fingerprints(crosscoder),
            "alive": alive,
            "count": found.count,
            "density": found.count / found.pairs,
            "mean": found.total / np.maximum(found.count, 1),
            "max": found.maximum,
            "quantiles": list(found.quantiles()),
            "histogram": list(found.histogram),
            "norm_a": norms["a"],
            "norm_b": norms["b"],
            "relative_norm": norms["a"] / np.maximum(norms["a"] + norms["b"], np.finfo(np.float32).tiny),
            "peak_tokens": contexts.peak_tokens(shown, len(partitions), sides),
            "main_source": [sources[source] if lives else "" for source, lives in zip(strongest, alive, strict=True)],
            "specificity": rates.max(axis=1) / rates.sum(axis=1),
        }
    )


def _models(store: ActivationStore, found: Statistics) -> pa.Table:
    rows = []
    for side, fve in zip(SIDES, found.held_out.fve(), strict=True):
        facts = store.manifest.side(side)
        rows.append(
            {
                "side": side,
                "name": facts.name,
                "source": facts.source,
                "layer": facts.layer,
                "layers": facts.layers,
                "width": facts.width,
                "scale": facts.scale,
                "fve": fve,
            }
        )
    return pa.Table.from_pylist(rows)


def _sources(found: Statistics, sources: list[str]) -> pa.Table:
    features, places = found.by_source.nonzero()
    counts = found.by_source[features, places]
    return pa.table(
        {
            "feature_id": features,
            "source": [sources[place] for place in places],
            "count": counts,
            "rate": counts / found.source_pairs[places],
        }
    )


def _facts(
    run: Run,
    store: ActivationStore,
    crosscoder: Crosscoder,
    found: Statistics,
    documents: pa.Table,
    sources: list[str],
) -> dict[str, Any]:
    """The table `run`."""
    facts: dict[str, Any] = {
        "name": run.name,
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "kind": crosscoder.config.kind,
        "features": crosscoder.config.features,
        "k": crosscoder.config.k,
        **{f"fve_{side}": fve for side, fve in zip(SIDES, found.held_out.fve(), strict=True)},
        "l0": float(found.count.sum() / found.pairs),
        "pairs": store.manifest.pairs,
        "kept_pairs": found.pairs,
        "dropped_pairs": store.manifest.pairs - found.pairs,
        "documents": documents.num_rows,
        "held_out_documents": int(np.sum(documents["held_out"].to_pylist())),
        "held_out_pairs": found.held_out.rows,
        "quantile_levels": list(QUANTILE_LEVELS),
        "histogram_edges": HISTOGRAM_EDGES.tolist(),
        "source_pairs": dict(zip(sources, found.source_pairs.tolist(), strict=True)),
    }
    partitions = np.array(crosscoder.partitions())
    for partition in PARTITIONS:
        counts = found.count[partitions == partition]
        facts[f"l0_{partition}"] = float(counts.sum() / found.pairs)
        facts[f"alive_{partition}"] = float((counts > 0).mean()) if len(counts) else 0.0
    return facts
