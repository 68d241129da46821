"""Two sets of prompts read by both models, and which features and findings tell them apart.

Of each prompt every feature has one score: its strongest activation on a pair that counts, 0 where it is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from dfc import corpus
from dfc.config import PARTITIONS, SIDES, Partition, RunConfig, Side, UserError
from dfc.corpus import Document, Tally
from dfc.evidence.findings import false_discovery
from dfc.features import live
from dfc.features.fired import fired
from dfc.features.live import Live, Reading
from dfc.report import findings
from dfc.report.heatmap import side_of
from dfc.screen import contrast
from dfc.screen.contrast import Scores
from dfc.screen.prompts import LEAST, PromptSet
from dfc.store.reader import FeatureQuery, Store

Kind = Literal["findings", "features"]
RATE = 0.05
"""Of false discoveries, among what passes."""
_NO_ROWS = np.zeros(0, np.int64)
_NO_VALUES = np.zeros(0, np.float32)
_TOGETHER = 16
_CHARACTERS = 8_000
"""How much is read at once: what is kept in memory stays small, and a stop comes soon."""


@dataclass(frozen=True, eq=False)
class ReadSet:
    """A set of prompts that both models have read.

    Attributes:
        name: of the set.
        scores: of the prompts that count, numbered from 0.
        rows: of each entry of `scores`, the pair on which the feature is strongest.
        readings: of these prompts, without what fires.
        pairs: of each that count, (prompts,).
        silent: prompts of which no pair counts, left out.
        cut: prompts whose end was not read, since a model takes no more tokens.
        remarks: what else is to be said of how they were read.
    """

    name: str
    scores: Scores
    rows: npt.NDArray[np.int64]
    readings: tuple[Reading, ...]
    pairs: npt.NDArray[np.int64]
    silent: int
    cut: int
    remarks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Contrasted:
    """What tells two sets of prompts apart.

    Attributes:
        sets: as they were read.
        features: all that were tested, those first that are furthest apart: what `contrast.contrast` says, and the
            partition of each.
        findings: the best features of findings, likewise, with the `side` in whose favour each is; `q` is among these
            alone.
        length: what the number of pairs alone would tell: auroc, low, high. Where that is much, a feature may tell no
            more than it.
        common: prompts that stand in both sets.
    """

    sets: tuple[ReadSet, ReadSet]
    features: pd.DataFrame
    findings: pd.DataFrame
    length: Mapping[str, float]
    common: int


def read(
    opened: Live,
    prompts: PromptSet,
    report: live.Report = live.nothing,
    advance: Callable[[int], object] = lambda prompts: None,
) -> ReadSet:
    """Let both models read a set.

    Args:
        opened: from `live.open_run`.
        prompts: the set.
        report: told what is being waited for.
        advance: told how many more prompts were read; what it raises ends the reading.

    Raises:
        UserError: if fewer than two prompts have pairs that count, or a device has no memory for one.
    """
    noted: dict[Side, Tally] = {side: Tally() for side in SIDES}
    readings: list[Reading] = []
    parts: list[pd.DataFrame] = []
    silent = cut = 0
    for documents in _together(prompts.documents):
        for reading in live.read_together(opened, documents, noted, report):
            cut += bool(reading.cut)
            if not reading.kept.any():
                silent += 1
                continue
            parts.append(fired(reading).assign(prompt=len(readings)))
            readings.append(replace(reading, rows=_NO_ROWS, features=_NO_ROWS, values=_NO_VALUES))
        advance(len(documents))
    if len(readings) < LEAST:
        raise UserError(
            f"{prompts.name}: of {len(prompts.documents)} prompts {len(readings)} have tokens that count, and a "
            f"contrast needs {LEAST}: the first {opened.manifest.skip_first} tokens never do; give longer prompts."
        )
    table = pd.concat(parts)
    scores = Scores(
        len(readings), table["prompt"].to_numpy(), table["feature_id"].to_numpy(), table["max"].to_numpy(np.float64)
    )
    return ReadSet(
        prompts.name,
        scores,
        table["row"].to_numpy(),
        tuple(readings),
        np.array([reading.kept.sum() for reading in readings]),
        silent,
        cut,
        (*prompts.remarks, *noted_in_words(noted, opened.config)),
    )


def of(store: Store, first: ReadSet, second: ReadSet, common: int = 0) -> Contrasted:
    """What tells two sets apart that were read.

    Args:
        store: of the run.
        first, second: the sets.
        common: prompts that stand in both.
    """
    known = store.norms()
    table = contrast.contrast(first.scores, second.scores, len(known))
    table["partition"] = known["partition"].astype(str).to_numpy()[table["feature_id"]]
    side = {one.feature_id: one.side for one in findings.of(store)}
    found = table[table["feature_id"].isin(side)]
    found = found.assign(q=false_discovery(found["p"].to_numpy()), side=found["feature_id"].map(side))
    lengths = contrast.separation(*(one.pairs[:, None].astype(np.float64) for one in (first, second)))
    length = {str(name): float(value) for name, value in lengths.iloc[0].items()}
    return Contrasted((first, second), _furthest(table), _furthest(found), length, common)


def expect_apart(first: PromptSet, second: PromptSet) -> None:
    """See that two sets differ, before they are read.

    Raises:
        UserError: if both hold the same prompts.
    """
    if {*first.documents} == {*second.documents}:
        raise UserError(
            f"{first.name} and {second.name}: hold the same prompts, so nothing tells them apart; name others."
        )


def in_common(first: PromptSet, second: PromptSet) -> int:
    """Prompts that stand in both sets."""
    return len({*first.documents} & {*second.documents})


def example(contrasted: Contrasted, row: Any) -> tuple[str, str]:
    """The prompt on which a feature is strongest, of the set on which it fires more: the set's name, and a stretch.

    Args:
        contrasted: the sets.
        row: of its tables, as a named tuple.
    """
    of_set = contrasted.sets[0 if row.auroc >= 0.5 else 1]
    entries = np.flatnonzero(of_set.scores.feature == row.feature_id)
    if not len(entries):  # it is silent there
        return of_set.name, ""
    entry = entries[of_set.scores.value[entries].argmax()]
    reading = of_set.readings[of_set.scores.prompt[entry]]
    values = np.zeros(reading.pairs, np.float32)
    values[of_set.rows[entry]] = of_set.scores.value[entry]
    return of_set.name, findings.quoted(reading.spread(values, row.feature_id), side_of(row.partition))


def described(store: Store, contrasted: Contrasted, rows: pd.DataFrame) -> pd.DataFrame:
    """Some rows of its tables with what the store knows of each feature, and an `example` with the `set` it is from.

    `finding` is the number of the finding that the feature belongs to, if to one, `rank` that one's rank, as `A 1`.
    """
    ids = tuple(int(identity) for identity in rows["feature_id"])
    query = FeatureQuery(ids=ids, alive_only=False, limit=len(ids), order="feature_id", descending=False)
    known = store.features(query)[["feature_id", "label", "peak_tokens", "density", "max", "verdict", "finding"]]
    joined = rows.merge(known, on="feature_id", how="left", validate="one_to_one")
    ranks = {one.finding: f"{one.side.upper()} {one.rank}" for one in findings.of(store)}
    shown = [example(contrasted, row) for row in joined.itertuples()]
    return joined.assign(
        rank=[ranks.get(finding, "") for finding in joined["finding"].fillna(-1)],
        set=[name for name, _ in shown],
        example=[quote for _, quote in shown],
    )


def groups(contrasted: Contrasted) -> list[tuple[Kind, Partition, pd.DataFrame]]:
    """What stands beside each other: (kind, whose, rows) of findings in favour of each model, and of each partition."""
    found, tested = contrasted.findings, contrasted.features
    listed: list[tuple[Kind, Partition, pd.DataFrame]] = []
    listed += [("findings", side, found[found["side"] == side]) for side in SIDES]
    listed += [("features", partition, tested[tested["partition"] == partition]) for partition in PARTITIONS]
    return listed


def _together(documents: Sequence[Document]) -> Iterator[list[tuple[str, Document]]]:
    """Documents that are read at once, each with its place."""
    batch: list[tuple[str, Document]] = []
    characters = 0
    for number, document in enumerate(documents, 1):
        length = sum(len(turn.content) for turn in document.turns)
        if batch and (len(batch) == _TOGETHER or characters + length > _CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append((f"prompt {number}", document))
        characters += length
    yield batch


def noted_in_words(noted: Mapping[Side, Tally], config: RunConfig) -> list[str]:
    """What each model was given otherwise than it stands in the prompts, a sentence a model."""
    source = config.corpus.sources[0]
    told = [corpus.told(noted[side], config.models.side(side), source, f"models.{side}.template") for side in SIDES]
    return [sentence for sentence in told if sentence]


def _furthest(table: pd.DataFrame) -> pd.DataFrame:
    """The same, those first that tell the sets apart most; of those that do alike, whose scores are furthest apart."""
    far = table.assign(auroc=(table["auroc"] - 0.5).abs(), shift=table["shift"].abs())
    return table.loc[far.sort_values(["auroc", "shift"], ascending=False, kind="stable").index].reset_index(drop=True)
