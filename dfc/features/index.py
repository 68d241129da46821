"""Write a run's feature store: what every feature is, in one DuckDB file."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from dfc import models, runs
from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.config import PARTITIONS, SIDES, Side
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Crosscoder
from dfc.features import coactivation, contexts, encoding, label_check, labels, logit_lens, statistics, stretches
from dfc.features.codes import CodesOnDisk, Ints
from dfc.features.contexts import Chosen
from dfc.features.fingerprint import fingerprints
from dfc.features.labels import Labels
from dfc.features.statistics import EVEN_FIRINGS, HISTOGRAM_EDGES, QUANTILE_LEVELS, Statistics
from dfc.features.unfinished import Unfinished
from dfc.machine import progress
from dfc.machine.processes import ALONE, Group
from dfc.runs import Run
from dfc.store.contexts import set_apart
from dfc.store.writer import StoreWriter


def index(run: Run, group: Group = ALONE) -> None:
    """Collect statistics, contexts, labels and logit lens of every feature and write features.duckdb.

    A killed one goes on where it was: logits are kept in index.part until the store is written.

    Args:
        run: trained.
        group: processes that share the shards for the statistics; the first does the rest.

    Raises:
        UserError: if an earlier stage has not finished, a model does not load, or the disk is too small.
    """
    config = run.config()
    store = ActivationStore(run.activations)
    crosscoder = crosscoder_model.load(run.crosscoder)
    documents = stored.read(run)
    sources = [source.name for source in config.corpus.sources]
    source_of = np.array([sources.index(name) for name in documents["source"].to_pylist()], dtype=np.int64)

    encoding.encode(run, group)  # nothing to do, unless they were deleted since, or are of another crosscoder
    codes = CodesOnDisk(run.codes, crosscoder, store)
    collected = statistics.collect(codes, source_of, len(sources), config.index.top_contexts, group)
    if not group.leads:
        return
    unfinished = Unfinished(run)
    chosen = contexts.choose(collected, config.index.band_contexts)
    named = _labels(chosen, store, documents, crosscoder.config.features)
    firings = coactivation.sample(codes, config.index.partner_pairs)
    partners = coactivation.strongest(firings, config.index.partners)
    lenses, spreads = zip(*(_lens(run, crosscoder, unfinished, side) for side in SIDES), strict=True)

    progress.say("writing features.duckdb")
    of_b = np.array(crosscoder.partitions()) == "b"
    peaks = []
    with StoreWriter(run.store) as writer:
        facts = _facts(run, store, crosscoder, collected, documents, sources)
        notes = {
            f"lens_note_{side}": lens.schema.metadata[b"note"].decode()
            for side, lens in zip(SIDES, lenses, strict=True)
        }
        writer.facts({**facts, **notes, "coactivation_pairs": firings.pairs})
        writer.append("models", _models(store, collected))
        for piece in contexts.build(chosen, codes, documents, config, unfinished.folder):
            writer.append("contexts", piece)
            peaks.append(contexts.peaks(piece, of_b))
        writer.append("documents", contexts.documents_of(chosen, store, documents))
        writer.append("features", _features(crosscoder, collected, peaks, named, sources))
        writer.append("logits", pa.concat_tables(lenses).sort_by("feature_id"))
        writer.append("logit_counts", pa.concat_tables(spreads).sort_by("feature_id"))
        writer.append("sources", _rates("source", sources, collected.by_source, collected.source_pairs))
        writer.append("roles", _rates("role", list(stored.ROLES), collected.by_role, collected.role_pairs))
        writer.append("phrases", named.phrases)
        writer.append("coactivations", partners)
    fve_a, fve_b = collected.held_out.all.fve()
    runs.record(run, "index", fve_a=fve_a, fve_b=fve_b, processes=group.size)
    unfinished.discard()


def _labels(chosen: Chosen, store: ActivationStore, documents: pa.Table, features: int) -> Labels:
    """Made of two thirds of the strongest contexts, and tested on the others."""
    strongest = chosen.take(np.flatnonzero(chosen.band == 0))
    places = _places(store, label_check.PLACES)
    row = np.concatenate([strongest.row, places])
    feature = np.concatenate([strongest.feature, np.full(len(places), -1)])
    apart = np.concatenate([set_apart(strongest.rank), np.zeros(len(places), dtype=bool)])
    order = np.argsort(row, kind="stable")
    wanted = stretches.Rows(row[order], feature[order], apart[order])
    return labels.describe(stretches.read(wanted, store, documents, labels.SAMPLE_CHARACTERS), features)


def _places(store: ActivationStore, count: int) -> Ints:
    """Global rows of about so many kept pairs, evenly drawn, increasing."""
    kept = [facts.train + facts.held_out for facts in store.manifest.shards]
    step = max(1, sum(kept) // count)
    found, before = [np.zeros(0, dtype=np.int64)], 0
    for shard, number in enumerate(kept):
        mine = np.flatnonzero(store.keep(shard, store.rows(shard)))
        found.append((shard << 32) + mine[(-before) % step :: step])
        before += number
    return np.concatenate(found)


def _lens(run: Run, crosscoder: Crosscoder, unfinished: Unfinished, side: Side) -> tuple[pa.Table, pa.Table]:
    """The tables `logits` and `logit_counts` of one model, which is loaded only if they were not made before."""
    config = run.config()

    @cache
    def made() -> tuple[pa.Table, pa.Table]:
        model = models.load(config.models.side(side))
        return logit_lens.logit_lens(model, side, *crosscoder.raw_vectors(side), config.index.logit_tokens)

    tokens = unfinished.table(f"logits_{side}", lambda: made()[0])
    return tokens, unfinished.table(f"logit_counts_{side}", lambda: made()[1])


def _features(
    crosscoder: Crosscoder, collected: Statistics, peaks: list[pa.Table], named: Labels, sources: list[str]
) -> pa.Table:
    partitions = crosscoder.partitions()
    norms, encoders = (
        {side: _norms(vectors(side), len(partitions)) for side in SIDES}
        for vectors in (crosscoder.decoder_vectors, crosscoder.encoder_vectors)
    )
    for side, variance in zip(SIDES, collected.total_variance, strict=True):
        norms[side] /= np.float32(np.sqrt(variance))
        encoders[side] *= np.float32(np.sqrt(variance))
    # A few firings spread evenly are added, so that a feature that fired once is not called specific.
    rates = collected.by_source / np.maximum(collected.source_pairs, 1) + EVEN_FIRINGS / collected.pairs
    strongest = rates.argmax(axis=1)
    alive = collected.count > 0
    return pa.table(
        {
            "feature_id": np.arange(len(partitions)),
            "partition": partitions,
            "fingerprint": fingerprints(crosscoder),
            "alive": alive,
            "count": collected.count,
            "density": collected.count / collected.pairs,
            "mean": collected.mean(),
            "variance": collected.variance(),
            "max": collected.maximum,
            "quantiles": list(collected.quantiles()),
            "histogram": list(collected.histogram),
            "norm_a": norms["a"],
            "norm_b": norms["b"],
            **{f"raw_norm_{side}": _norms(crosscoder.raw_vectors(side), len(partitions)) for side in SIDES},
            **{f"encoder_norm_{side}": encoders[side] for side in SIDES},
            **{f"encoder_decoder_{side}": _encoder_decoder(crosscoder, side) for side in SIDES},
            "relative_norm": norms["a"] / np.maximum(norms["a"] + norms["b"], np.finfo(np.float32).tiny),
            "peak_tokens": contexts.peak_tokens(peaks, len(partitions)),
            "main_source": [sources[source] if lives else "" for source, lives in zip(strongest, alive, strict=True)],
            "specificity": rates.max(axis=1) / rates.sum(axis=1),
            "label": named.texts,
            "label_origin": [labels.WORDS if name else "" for name in named.texts],
            "label_auroc": pa.array(named.auroc, pa.float32(), from_pandas=True),
        }
    )


def _norms(of: tuple[Tensor, Tensor], features: int) -> npt.NDArray[np.float32]:
    """Lengths of vectors that come with their features' ids, (features,); 0 where a feature has none."""
    ids, vectors = of
    norms = np.zeros(features, dtype=np.float32)
    norms[ids.numpy()] = vectors.norm(dim=1).numpy()
    return norms


def _encoder_decoder(crosscoder: Crosscoder, side: Side) -> pa.Array:
    """Cosine of each feature's encoder and decoder vector in one model, (features,); null where it has none."""
    ids, vectors = crosscoder.decoder_vectors(side)
    cosines = np.full(crosscoder.config.features, np.nan, dtype=np.float32)
    cosines[ids.numpy()] = torch.cosine_similarity(crosscoder.encoder_vectors(side)[1], vectors).numpy()
    return pa.array(cosines, mask=np.isnan(cosines))


def _models(store: ActivationStore, collected: Statistics) -> pa.Table:
    rows = []
    for side, fve in zip(SIDES, collected.held_out.all.fve(), strict=True):
        facts = store.manifest.side(side)
        rows.append(
            {
                "side": side,
                "name": facts.name,
                "source": facts.source,
                "layer": facts.layer,
                "layers": facts.layers,
                "width": facts.width,
                "scale": facts.column_scale().double().tolist(),
                "fve": fve,
            }
        )
    return pa.Table.from_pylist(rows)


def _rates(name: str, values: list[str], counts: Ints, pairs: Ints) -> pa.Table:
    """One row for each feature and value with which it fires; counts (features, values), pairs (values,)."""
    features, places = counts.nonzero()
    fired = counts[features, places]
    return pa.table(
        {
            "feature_id": features,
            name: pa.array(values).take(pa.array(places)),
            "count": fired,
            "rate": fired / pairs[places],
        }
    )


def _facts(
    run: Run,
    store: ActivationStore,
    crosscoder: Crosscoder,
    collected: Statistics,
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
        **{f"fve_{side}": fve for side, fve in zip(SIDES, collected.held_out.all.fve(), strict=True)},
        # Of each scaled stream: the squared error that the loss would have if every row were taken for the mean.
        **{f"variance_{side}": of for side, of in zip(SIDES, collected.total_variance, strict=True)},
        "l0": float(collected.count.sum() / collected.pairs),
        "pairs": store.manifest.pairs,
        "kept_pairs": collected.pairs,
        "dropped_pairs": store.manifest.pairs - collected.pairs,
        "documents": documents.num_rows,
        "held_out_documents": int(np.sum(documents["held_out"].to_pylist())),
        "held_out_pairs": collected.held_out.all.rows,
        "quantile_levels": list(QUANTILE_LEVELS),
        "histogram_edges": HISTOGRAM_EDGES.tolist(),
        "remarks": store.manifest.remarks,
        "source_pairs": dict(zip(sources, collected.source_pairs.tolist(), strict=True)),
        "role_pairs": dict(zip(stored.ROLES, collected.role_pairs.tolist(), strict=True)),
        # By how much the held-out FVE of each model falls when a partition's features are left out: {partition: {side}}
        "fve_added": collected.held_out.added(),
    }
    partitions = np.array(crosscoder.partitions())
    for partition in PARTITIONS:
        counts = collected.count[partitions == partition]
        facts[f"l0_{partition}"] = float(counts.sum() / collected.pairs)
        facts[f"alive_{partition}"] = float((counts > 0).mean()) if len(counts) else 0.0
    return facts
