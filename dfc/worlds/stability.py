"""Do findings recur? Features of several runs over the same pairs, matched by how they fire, and groups of features.

Two features match if each is the other's most correlated one in its run, and the correlation
of their activations is large enough. Ids, partitions and decoder vectors play no part in it:
runs may differ in seed, in the sizes of their partitions and in the kind of crosscoder.
Groups, which are what a reader is shown, are compared in `recurrence`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc import runs
from dfc.activations import sharing
from dfc.activations.shards import ActivationStore
from dfc.config import PARTITIONS, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder import training
from dfc.crosscoder.model import Codes
from dfc.evidence import correlation, verify
from dfc.evidence.matching import PASSAGE
from dfc.evidence.moments import Thinned
from dfc.features import encoding
from dfc.features.codes import CodesOnDisk
from dfc.machine import progress
from dfc.runs import Run
from dfc.store.reader import FeatureQuery, Store
from dfc.worlds import recurrence, stability_result
from dfc.worlds.recurrence import Groups, Membership
from dfc.worlds.stability_result import Match, StabilityResult

_PASSAGES = 1 << 32  # more than any document has


@dataclass(frozen=True)
class Judged:
    """What the evidence says of the features of one run.

    Attributes:
        verdicts: (features,).
        membership: which finding each is in.
        rule: by which they were judged.
    """

    verdicts: npt.NDArray[np.str_]
    membership: Membership
    rule: str


@dataclass(frozen=True)
class Fired:
    """How the features of one run fire.

    Attributes:
        codes: over the common pairs, sorted by feature.
        partitions, verdicts: of each feature, (features,).
        groups: its findings.
    """

    codes: Codes
    partitions: npt.NDArray[np.str_]
    verdicts: npt.NDArray[np.str_]
    groups: Groups


@dataclass(frozen=True)
class Likest:
    """For every feature of one run its match in another, (features,): -1 and NaN where it has none."""

    ids: npt.NDArray[np.int64]
    correlations: npt.NDArray[np.float64]


def more_seeds(run: Run, count: int) -> list[Run]:
    """Train so many further runs on a run's activations, NAME-seed1 and on, alike but for the seed.

    They lie in folders of their own, whose activations are links to the run's, and go on where they were after an
    interruption.

    Raises:
        UserError: if the run is not harvested.
    """
    config = run.config()
    if count and not run.done()["harvest"]:
        raise UserError(
            f"{run.path}: has no activations to train on; make them with `python -m dfc harvest {run.path}`."
        )
    made = []
    for number in range(1, count + 1):
        seeded = config.training.model_copy(update={"seed": config.training.seed + number})
        other = runs.create(config.model_copy(update={"name": f"{config.name}-seed{number}", "training": seeded}))
        with run.lock(), other.lock():
            if not other.done()["harvest"]:
                sharing.whole(run, other)
            if not other.done()["train"]:
                training.train(other)
        made.append(other)
    return made


def compare(given: Sequence[Run]) -> list[StabilityResult]:
    """Match the features of runs, each with each; what comes out for a run is kept in its stability.json.

    Raises:
        UserError: if there are fewer than two, their pairs differ, or one is not trained.
    """
    paths = [run.path.resolve() for run in given]
    if len(set(paths)) < max(2, len(paths)):
        raise UserError("stability: needs two different runs or more; name them, or let --seeds train further ones.")
    stores = [ActivationStore(run.activations) for run in given]
    for run, store in zip(given, stores, strict=True):
        if store.manifest != stores[0].manifest:
            raise UserError(
                f"{run.path}: holds other activations than {given[0].path}; runs are compared over the same pairs of "
                f"the same models, layers and corpus."
            )
    with ExitStack() as locks:
        for run in given:
            locks.enter_context(run.lock())
        evidence = given[0].config().evidence
        crosscoders = [crosscoder_model.load(run.crosscoder) for run in given]
        judged = [_judged(run) for run in given]
        for run in given:
            encoding.encode(run)  # nothing to do, unless the codes were deleted since
        encoded = [CodesOnDisk(run.codes, own, stores[0]) for run, own in zip(given, crosscoders, strict=True)]
        passage, codes = _draw(stores[0], encoded, evidence.correlation_pairs)
        pairs = len(passage)
        fired = [
            Fired(
                own,
                np.array(crosscoder.partitions()),
                known.verdicts,
                recurrence.groups(known.membership, own, crosscoder, passage),
            )
            for own, crosscoder, known in zip(codes, crosscoders, judged, strict=True)
        ]
        likest: dict[tuple[int, int], Likest] = {}
        with progress.bar("stability: matching", len(fired) * (len(fired) - 1) // 2, "pairs of runs") as bar:
            for one, two in itertools.combinations(range(len(fired)), 2):
                likest[one, two], likest[two, one] = match(
                    fired[one].codes,
                    len(fired[one].partitions),
                    fired[two].codes,
                    len(fired[two].partitions),
                    pairs,
                    evidence.match_correlation,
                )
                bar.update()
        rules = {run.name: known.rule for run, known in zip(given, judged, strict=True)}
        empty = StabilityResult([], pairs, evidence.match_correlation, {}, {}, rules)
        if not empty.alike:
            told = ", ".join(f"{name} by {rule}" for name, rule in rules.items())
            progress.say(f"stability: these runs were judged by different rules ({told}); verify them alike to compare")
        results = [_result(number, given, fired, likest, empty) for number in range(len(given))]
        for run, result in zip(given, results, strict=True):
            stability_result.write(run, result)
    return results


def match(
    left: Codes, left_features: int, right: Codes, right_features: int, pairs: int, threshold: float
) -> tuple[Likest, Likest]:
    """Features of two runs that are each other's most correlated one, at `threshold` or more.

    Args:
        left, right: codes over the same pairs, sorted by feature.
        left_features, right_features: how many features there are.
        pairs: how many pairs these are the codes of.
        threshold: least correlation.

    Returns:
        The matches of the left features, and of the right ones.
    """
    right_of, largest = torch.full((left_features,), -1), torch.full((left_features,), -torch.inf, dtype=torch.float64)
    left_of, best = torch.full((right_features,), -1), torch.full((right_features,), -torch.inf, dtype=torch.float64)
    for block, correlations in correlation.blocks(left, range(left_features), right, right_features, pairs):
        usable = torch.where(correlations.isfinite(), correlations, -torch.inf)
        largest[block], right_of[block] = usable.max(dim=1)
        value, row = usable.max(dim=0)
        better = value > best
        best[better], left_of[better] = value[better], row[better] + block.start
    mutual = (left_of[right_of] == torch.arange(left_features)) & (largest >= threshold)
    lefts = mutual.nonzero()[:, 0]
    return (
        _likest(left_features, lefts, right_of[lefts], largest[lefts]),
        _likest(right_features, right_of[lefts], lefts, largest[lefts]),
    )


def _likest(features: int, own: Tensor, others: Tensor, correlations: Tensor) -> Likest:
    likest = Likest(np.full(features, -1), np.full(features, np.nan))
    likest.ids[own.numpy()] = others.numpy()
    likest.correlations[own.numpy()] = correlations.numpy()
    return likest


def say(given: Sequence[Run], results: Sequence[StabilityResult]) -> None:
    """For each run how its findings fared, a line each."""
    for run, result in zip(given, results, strict=True):
        progress.say(f"{run.name}: {summary(result)}")
        if told := stability_result.groups_in_words(result):
            progress.say(f"{run.name}: {told}")


def summary(result: StabilityResult) -> str:
    """How many findings recur in how many of the other runs, and how that compares with all features."""
    others = len(result.runs)
    counts = np.bincount([len(matches) for matches in result.findings.values()], minlength=others + 1)
    again = sum(match.verdict == "exclusive" for matches in result.findings.values() for match in matches)
    times = ", ".join(f"{count} in {number} of {others}" for number, count in reversed(list(enumerate(counts))))
    matched = ", ".join(f"{partition} {share:.0%}" for partition, share in result.matched.items())
    return (
        f"{len(result.findings)} findings: {times} other runs; {again} of {int(counts @ np.arange(others + 1))} "
        f"matches exclusive there, too; matched of all: {matched}"
    )


def _draw(store: ActivationStore, encoded: list[CodesOnDisk], most: int) -> tuple[Tensor, list[Codes]]:
    """Of the same evenly drawn pairs the number of the passage that each lies in, and the codes by each crosscoder."""
    thinned = [Thinned(store.manifest.kept, most) for _ in encoded]
    passages: list[Tensor] = []
    with progress.bar("stability: codes", store.manifest.kept, "pairs") as bar:
        for shard in range(len(store)):
            rows = store.rows(shard)
            kept = np.flatnonzero(store.keep(shard, rows))
            begins = np.flatnonzero(np.diff(rows.document, prepend=-1))
            depth = kept - begins[np.searchsorted(begins, kept, side="right") - 1]
            for codes, drawn in zip(encoded, thinned, strict=True):
                chosen = drawn.take(codes.shard(shard).of_rows(kept), len(kept))
            place = rows.document[kept].astype(np.int64) * _PASSAGES + depth // PASSAGE
            passages.append(torch.from_numpy(place)[chosen])
            bar.update(len(kept))
    return torch.unique(torch.cat(passages), return_inverse=True)[1], [drawn.codes() for drawn in thinned]


def _judged(run: Run) -> Judged:
    """What the evidence says of each feature: as it was stored, or judged now where it was not."""
    if run.done()["index"]:
        store = Store(run.store)
        everything = FeatureQuery(alive_only=False, order="feature_id", descending=False)
        if (facts := store.facts()).get("verified"):
            table = store.features(replace(everything, limit=store.count(everything)))
            number, place = (table[name].fillna(-1).to_numpy(dtype=np.int64) for name in ("finding", "place"))
            knows = table["knows"].fillna("").to_numpy().astype(np.str_)
            verdicts = table["verdict"].to_numpy().astype(np.str_)
            return Judged(verdicts, Membership(number, place, knows), str(facts["rule"]))
    judgement = verify.judge(run)
    found = judgement.columns
    knows = found["knows"].astype(np.str_)
    membership = Membership(found["finding"].astype(np.int64), found["place"].astype(np.int64), knows)
    return Judged(judgement.verdicts, membership, judgement.rule)


def _result(
    number: int,
    given: Sequence[Run],
    fired: list[Fired],
    likest: dict[tuple[int, int], Likest],
    empty: StabilityResult,
) -> StabilityResult:
    """What comes out for one of the runs."""
    own, others = fired[number], [other for other in range(len(given)) if other != number]
    findings: dict[int, list[Match]] = {int(feature): [] for feature in np.flatnonzero(own.verdicts == "exclusive")}
    for other in others:
        alike = likest[number, other]
        for feature, matches in findings.items():
            if (there := int(alike.ids[feature])) >= 0:
                matches.append(
                    Match(
                        given[other].name,
                        there,
                        round(float(alike.correlations[feature]), 4),
                        str(fired[other].partitions[there]),  # type: ignore[arg-type]
                        str(fired[other].verdicts[there]),  # type: ignore[arg-type]
                    )
                )
    judged = own.verdicts != "dead"
    matched: dict[str, float] = {
        partition: float(np.mean([(likest[number, other].ids[mine] >= 0).mean() for other in others]))
        for partition in PARTITIONS
        if (mine := judged & (own.partitions == partition)).any()
    }
    groups = recurrence.recurrences(own.groups, [(given[other].name, fired[other].groups) for other in others])
    names = [given[other].name for other in others]
    return replace(empty, runs=names, findings=findings, matched=matched, groups=groups)
