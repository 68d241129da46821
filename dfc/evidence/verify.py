"""Judge what speaks for and against each feature's being exclusive, and keep it beside the features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfc import runs
from dfc.activations import beginnings
from dfc.activations import documents as stored
from dfc.activations.shards import ActivationStore
from dfc.config import PARTITIONS, VERDICTS, EvidenceConfig, MemoryShortError, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Crosscoder
from dfc.evidence import (
    findings,
    matching,
    mirror,
    moments,
    neighbours,
    probe,
    reference,
    scaling,
    specificity,
    stitch,
    surprise,
    surprise_gap,
    verdict,
)
from dfc.evidence.moments import Collected, Rows
from dfc.evidence.pieces import Columns, Found, Numbers, Piece
from dfc.evidence.reference import Reference
from dfc.evidence.stitch import Stitch
from dfc.features import encoding
from dfc.features.codes import CodesOnDisk
from dfc.machine import devices, memory, progress
from dfc.machine.processes import ALONE, Group
from dfc.runs import Run
from dfc.steering import stitch_file
from dfc.store import attached, columns
from dfc.store.reader import Store
from dfc.store.writer import evidence_writer

Rule = Literal["surprise", "probes"]
PIECES: tuple[Callable[[Crosscoder], Piece], ...] = (
    specificity.piece,
    probe.piece,
    mirror.piece,
    neighbours.piece,
    scaling.piece,
    surprise_gap.piece,
    findings.piece,
    verdict.piece,
)
"""In an order in which each finds the columns it needs."""


@dataclass(frozen=True)
class Judgement:
    """What is found out about every feature.

    Attributes:
        partitions: (features,).
        of_a: whether model A is the one that a feature is held to be of, (features,).
        columns: of all pieces, (features,).
        tables: neighbours, findings, and, where surprise was measured, texts and pair_gaps.
        stitch, quality: the maps between the streams, and their held-out R².
    """

    partitions: npt.NDArray[np.str_]
    of_a: npt.NDArray[np.bool_]
    columns: Columns
    tables: dict[str, pa.Table]
    stitch: Stitch
    quality: dict[str, float]

    @property
    def verdicts(self) -> npt.NDArray[np.str_]:
        """(features,)."""
        return self.columns["verdict"].astype(np.str_)

    @property
    def rule(self) -> Rule:
        """By what it judges: whether the models' surprise was measured."""
        return "surprise" if np.isfinite(self.columns["matched_gap"].astype(float)).any() else "probes"

    def counts(self) -> dict[str, dict[str, int]]:
        """Features of each verdict in each partition that there is."""
        return {
            partition: {name: int(np.sum(self.verdicts[self.partitions == partition] == name)) for name in VERDICTS}
            for partition in PARTITIONS
            if (self.partitions == partition).any()
        }

    def reference(self) -> Reference:
        """Distribution of every measure in each partition, over the features that fire often enough."""
        measures: dict[str, Numbers] = {
            one.name: self.columns[one.name].astype(np.float64)
            for one in columns.EVIDENCE
            if one.kind == "FLOAT" and one.name in self.columns
        }
        return reference.distributions(measures, self.partitions, self.verdicts != "dead")

    def table(self) -> pa.Table:
        """The table `evidence`."""
        kept = {one.name: _known(self.columns[one.name]) for one in columns.EVIDENCE if one.name in self.columns}
        return pa.table({"feature_id": np.arange(len(self.partitions)), **kept})


def verify(run: Run, surprised: bool = True, group: Group = ALONE) -> None:
    """Write an indexed run's evidence.duckdb, and how the models were stitched. The features stay as they are.

    The evidence is replaced whole or not at all.

    Args:
        run: indexed.
        surprised: whether the models are run to see how surprised each is by the text.
        group: processes that share the shards; the first judges and writes.

    Raises:
        MemoryShortError: if there is no memory for it.
        UserError: if the run is not indexed, its files are damaged, no document was held out, or a model does not load.
    """
    Store(run.store)  # refuses now what could not be judged later
    judgement = _judge(run, surprised, group)
    if judgement is None:
        return
    progress.say(f"writing {attached.evidence_path(run.store).name}")
    with evidence_writer(attached.evidence_path(run.store)) as writer:
        writer.append("evidence", judgement.table())
        writer.append("reference", reference.table(judgement.reference()))
        for name, table in judgement.tables.items():
            writer.append(name, table)
        facts = {"verified": True, "rule": judgement.rule, "stitch": judgement.quality}
        settings = run.config().evidence.model_dump(mode="json")
        writer.facts(facts | {"evidence": settings, "identity": attached.identity(run.store)})
    stitch_file.save(run, judgement.stitch.a_to_b, judgement.stitch.b_to_a, judgement.quality)
    runs.record(run, "verify", rule=judgement.rule, processes=group.size, **judgement.quality)
    say(judgement)


def judge(run: Run, surprised: bool = True) -> Judgement:
    """Collect the evidence for every feature of a trained run, and judge.

    Args:
        run: trained.
        surprised: run the models to see how surprised each is by the text.

    Raises:
        MemoryShortError: if there is no memory for it.
        UserError: if its files are damaged, no document was held out, or a model does not load.
    """
    judgement = _judge(run, surprised, ALONE)
    assert judgement is not None, "this process is the first"
    return judgement


def judge_rows(crosscoder: Crosscoder, rows: Rows, config: EvidenceConfig) -> Judgement:
    """Collect the evidence for every feature over any rows of one process, some of them held out, and judge."""
    return _judged(crosscoder, *_gathered(crosscoder, rows, config), config)


def _judge(run: Run, surprised: bool, group: Group) -> Judgement | None:
    """The judgement in the first process; None in the others, which have collected for it."""
    settings, store = run.config(), ActivationStore(run.activations)
    encoding.encode(run, group)  # nothing to do, unless the codes were deleted since, or the run is not indexed
    sources = [source.name for source in settings.corpus.sources]
    documents = stored.read(run)
    source_of = np.array([sources.index(name) for name in documents["source"].to_pylist()], dtype=np.int64)
    matched = None
    if surprised and settings.evidence.surprise_pairs:
        ahead = _what_follows(run, store, settings.evidence, group)
        matched = matching.match(store, documents, source_of, sources, ahead)
    follows = matched.following if matched else None
    encoded = CodesOnDisk(run.codes, crosscoder_model.load(run.crosscoder), store)
    rows = moments.stored_rows(encoded, source_of, len(sources), settings.index.batch, follows, group)
    device = devices.pick(settings.training.device)
    try:
        pieces, collected = _gathered(encoded.crosscoder.to(device), rows, settings.evidence)
    except Exception as error:
        if not memory.is_out_of_memory(error):
            raise
        raise MemoryShortError(
            f"{run.path}: {device} or this machine has no memory for the sums over pairs of {encoded.features:,} "
            f"features; close other programs, or set training.device: cpu, and start again."
        ) from error
    if not group.leads:
        return None
    judgement = _judged(encoded.crosscoder.cpu(), pieces, collected, settings.evidence)
    if matched is None:
        return judgement
    further = {"texts": matched.texts, "pair_gaps": _pair_gaps(store, settings.evidence)}
    return replace(judgement, tables=judgement.tables | further)


def _gathered(crosscoder: Crosscoder, rows: Rows, config: EvidenceConfig) -> tuple[list[Piece], Collected]:
    """What is summed over rows, where the crosscoder lies; of all processes' rows in the first one."""
    pieces = [make(crosscoder) for make in PIECES]
    observers = [piece.observer for piece in pieces if piece.observer is not None]
    return pieces, moments.collect(crosscoder, rows, config.auroc_pairs, config.correlation_pairs, observers)


def _judged(crosscoder: Crosscoder, pieces: list[Piece], collected: Collected, config: EvidenceConfig) -> Judgement:
    """What follows from the sums, on the CPU."""
    found = Found(crosscoder, config, collected)
    for piece in pieces:
        found.columns |= piece.columns(found)
    nearest = neighbours.nearest(crosscoder, found.stitch, collected.firings > 0, config.neighbours)
    return Judgement(
        found.partitions,
        found.of_a,
        found.columns,
        {"neighbours": nearest, **found.tables},
        found.stitch,
        stitch.quality(found.stitch, collected.train, collected.held_out),
    )


def _what_follows(run: Run, store: ActivationStore, config: EvidenceConfig, group: Group) -> matching.Ahead:
    """Measure how surprised the models are, in the first process, and give what is asked of it for each shard.

    Raises:
        UserError: if it cannot be known, with the option that does without.
    """
    pairs, window = config.surprise_pairs, config.surprise_window
    try:
        if group.leads:
            beginnings.measure(run, pairs, window)
    except UserError as error:
        raise UserError(
            f"how surprised the models are by the text, by which features are judged, could not be measured: {error} "
            f"To judge by probes and correlations alone: python -m dfc verify {run.name} --without-surprise"
        ) from error
    group.wait()
    for side, share in beginnings.unknown(store, pairs, window).items() if group.leads else ():
        if share:
            progress.say(
                f"{store.manifest.side(side).name}: {share:.0%} of what was measured of its surprise is no finite "
                f"number, and what follows there counts as unknown; harvest it anew with dtype bfloat16 or float32."
            )
    return lambda shard, rows: surprise.ahead(store, shard, rows, pairs, window)


def _pair_gaps(store: ActivationStore, config: EvidenceConfig) -> pa.Table:
    """The table of that name: what the contexts are coloured by."""
    pairs, window = config.surprise_pairs, config.surprise_window
    return pa.concat_tables(
        surprise.between(store, shard, rows, store.keep(shard, rows), pairs, window)
        for shard, rows in ((shard, store.rows(shard)) for shard in range(len(store)))
    )


def say(judgement: Judgement) -> None:
    """The stitch's quality and the number of each verdict, a line for each partition."""
    progress.say(
        "stitch, held-out R²: " + ", ".join(f"{name[3:]} {value:.2f}" for name, value in judgement.quality.items())
    )
    for partition, counts in judgement.counts().items():
        progress.say(f"{partition}: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


def _known(values: npt.NDArray[Any]) -> pa.Array:
    """A column in which NaN, a quotient without a bound, and a negative id are null."""
    if values.dtype.kind == "f":
        return pa.array(values, mask=~np.isfinite(values))
    if values.dtype.kind == "i":
        return pa.array(values, mask=values < 0)
    return pa.array(values.tolist())
