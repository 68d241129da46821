"""Add to a run's feature store what speaks for and against each feature's being exclusive."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfc import runs
from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.config import PARTITIONS, VERDICTS, EvidenceConfig, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Crosscoder
from dfc.evidence import mirror, moments, neighbours, probe, reference, scaling, specificity, surprise, verdict
from dfc.evidence import stitch as stitches
from dfc.evidence.mirror import Likeness
from dfc.evidence.moments import Ahead, Collected, Rows
from dfc.evidence.probe import Probes
from dfc.evidence.reference import Reference
from dfc.evidence.stitch import Stitch
from dfc.evidence.verdict import Evidence
from dfc.machine import progress
from dfc.runs import Run
from dfc.steering import stitch_file
from dfc.store.reader import Store
from dfc.store.writer import StoreUpdate

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judgement:
    """What is found out about every feature.

    Attributes:
        partitions, verdicts: (features,).
        of_a: whether model A is the one that a feature is held to be of, (features,): of a shared feature, the one from
            which it is predicted better.
        measures: numbers by name, (features,), NaN where one does not apply.
        evidence, neighbours: the tables of that name.
        stitch, quality: the maps between the streams, and their held-out R².
    """

    partitions: npt.NDArray[np.str_]
    verdicts: npt.NDArray[np.str_]
    of_a: npt.NDArray[np.bool_]
    measures: dict[str, Numbers]
    evidence: pa.Table
    neighbours: pa.Table
    stitch: Stitch
    quality: dict[str, float]

    def counts(self) -> dict[str, dict[str, int]]:
        """Features of each verdict in each partition that there is."""
        return {
            partition: {
                verdict: int(np.sum(self.verdicts[self.partitions == partition] == verdict)) for verdict in VERDICTS
            }
            for partition in PARTITIONS
            if (self.partitions == partition).any()
        }

    def reference(self) -> Reference:
        """Distribution of every measure in each partition, over the features that fire often enough."""
        return reference.distributions(self.measures, self.partitions, self.verdicts != "dead")


def verify(run: Run) -> None:
    """Write the tables `evidence`, `reference` and `neighbours` of an indexed run, and how the models were stitched.

    The store is replaced whole or not at all; nothing else in it changes. `python -m dfc index --again` begins a new
    store, without evidence.

    Raises:
        UserError: if the run is not indexed, its files are damaged, or no document was held out.
    """
    Store(run.store)  # refuses now what could not be updated later
    found = judge(run)
    progress.say("writing evidence into features.duckdb")
    with StoreUpdate(run.store) as writer:
        writer.replace("evidence", found.evidence)
        writer.replace("reference", reference.table(found.reference()))
        writer.replace("neighbours", found.neighbours)
        settings = run.config().evidence.model_dump(mode="json")
        writer.facts({"verified": True, "stitch": found.quality, "evidence": settings})
    stitch_file.save(run, found.stitch.a_to_b, found.stitch.b_to_a, found.quality)
    runs.record(run, "verify", **found.quality)
    say(found)


def judge(run: Run, surprised: bool = True) -> Judgement:
    """Collect the evidence for every feature of a trained run, and judge.

    Args:
        run: trained.
        surprised: run the models to see how surprised each is by the text; if one does not load, that is left out.

    Raises:
        UserError: if its files are damaged, or no document was held out.
    """
    settings, store = run.config(), ActivationStore(run.activations)
    ahead = _what_follows(run, store, settings.evidence) if surprised else None
    sources = [source.name for source in settings.corpus.sources]
    source_of = np.array([sources.index(name) for name in stored.read(run)["source"].to_pylist()], dtype=np.int64)
    rows = moments.stored_rows(store, source_of, len(sources), settings.index.batch, ahead)
    return judge_rows(crosscoder_model.load(run.crosscoder), rows, settings.evidence)


def judge_rows(crosscoder: Crosscoder, rows: Rows, config: EvidenceConfig) -> Judgement:
    """Collect the evidence for every feature over any rows, some of them held out, and judge."""
    found = moments.collect(crosscoder, rows, config.auroc_pairs, config.correlation_pairs)
    stitch = stitches.fit(found.train, config.ridge, config.inversion, config.rounds)
    quality = stitches.quality(stitch, found.train, found.held_out)
    probes = probe.measure(found, config.ridge)
    mirrors, shared = mirror.correlations(crosscoder, found.codes, found.pairs)
    scaled = scaling.scale(crosscoder, found, stitch)
    near = neighbours.nearest(crosscoder, stitch, found.firings > 0, config.neighbours)

    partitions = np.array(crosscoder.partitions())
    a, b = probes.r2["a"], probes.r2["b"]
    of_a = (partitions == "a") | ((partitions == "shared") & (a >= b))
    evidence = _evidence(of_a, found, probes, mirrors, shared)
    verdicts = verdict.of(evidence, config)
    counts, pairs = found.by_source.double().numpy(), found.source_pairs.double().numpy()
    measures = {
        "own_r2": evidence.own_r2,
        "other_r2": evidence.other_r2,
        "probe_ratio": evidence.ratio,
        "auroc_ratio": evidence.auroc_ratio,
        "mirror_correlation": mirrors.correlations,
        "shared_correlation": shared.correlations,
        "decoder_cosine": neighbours.decoder_cosine(crosscoder, stitch),
        "nu_epsilon": scaled.epsilon,
        "nu_r": scaled.reconstruction,
        "source_specificity": specificity.over_sources(counts, pairs),
        "surprise_gap": evidence.gap,
        "surprise_error": evidence.gap_error,
        "confidence": verdict.confidence(evidence, config),
    }
    columns: dict[str, Any] = {
        "feature_id": np.arange(len(partitions)),
        "held_out_count": found.held_out.firings.numpy(),
        "documents": found.documents.numpy(),
        **{f"probe_r2_{side}": _known(values) for side, values in probes.r2.items()},
        **{f"auroc_{side}": _known(values) for side, values in probes.auroc.items()},
        **{name: _known(values) for name, values in measures.items() if name not in ("own_r2", "other_r2")},
        "mirror_id": pa.array(mirrors.ids, mask=mirrors.ids < 0),
        "shared_id": pa.array(shared.ids, mask=shared.ids < 0),
        "verdict": pa.array(verdicts.tolist(), pa.string()),
    }
    return Judgement(partitions, verdicts, of_a, measures, pa.table(columns), near, stitch, quality)


def _what_follows(run: Run, store: ActivationStore, config: EvidenceConfig) -> Ahead | None:
    """What `moments.stored_rows` needs to know how surprised the models are; None if that cannot be known."""
    pairs, window = config.surprise_pairs, config.surprise_window
    if not pairs:
        return None
    try:
        surprise.measure(run, pairs)
    except UserError as error:
        progress.say(f"evidence: without the models' surprise by the text; {error}")
        return None
    return lambda shard, rows: surprise.ahead(store, shard, rows, pairs, window)


def say(found: Judgement) -> None:
    """The stitch's quality and the number of each verdict, a line for each partition."""
    progress.say(
        "stitch, held-out R²: " + ", ".join(f"{name[3:]} {value:.2f}" for name, value in found.quality.items())
    )
    for partition, counts in found.counts().items():
        progress.say(f"{partition}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


def _evidence(
    of_a: npt.NDArray[np.bool_], found: Collected, probes: Probes, mirrors: Likeness, shared: Likeness
) -> Evidence:
    """The pieces of the verdict, each feature's own model first."""
    firings, held_out = found.firings.numpy().astype(float), found.held_out.firings.numpy().astype(float)
    return Evidence(
        firings,
        held_out,
        *_sorted(of_a, probes.r2["a"], probes.r2["b"]),
        *_sorted(of_a, probes.auroc["a"], probes.auroc["b"]),
        mirrors.correlations,
        shared.correlations,
        np.where(of_a, found.surprise.gap, -found.surprise.gap),
        found.surprise.error,
    )


def _sorted(of_a: npt.NDArray[np.bool_], a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    return np.where(of_a, a, b), np.where(of_a, b, a)


def _known(values: Numbers) -> pa.Array:
    """Numbers as a column in which NaN, and a quotient without a bound, is null."""
    return pa.array(values, mask=~np.isfinite(values))
