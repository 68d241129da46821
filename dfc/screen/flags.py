"""Which flags findings carry: words near where they fire, beside how often contexts of all features hold such words;
and, where it is known what features are about, those that they come near to in meaning (`near`).

The words of a flag are looked for around the peaks of strongest contexts, one of each document. Whether they stand
there more often than in strongest contexts of all features is asked by Fisher's exact test (R. A. Fisher, J. R. Stat.
Soc. 85, 1922), and which of all flags of all findings pass by Benjamini and Hochberg's rate. Documents are taken as
independent, though some say nearly the same; and a feature of a whole source carries what its source does.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from dfc.machine import disk, progress
from dfc.report.heatmap import excerpt
from dfc.runs import Run
from dfc.screen import near, words
from dfc.screen.near import Near
from dfc.screen.queue import Subject, subjects
from dfc.screen.words import Flag
from dfc.store import attached
from dfc.store.reader import Context, Store

NEAR = 60
"""Columns of text before and after a peak in which words are looked for."""
SAMPLE = 4_000
"""Contexts of all features that a finding's are set beside."""
RATE = 0.05
"""False discoveries among the flags that pass."""
LEAST = 3
"""Documents of a finding that must hold a flag's words."""
_NAMED = 3  # words of a flag that are named
_SEED = 0


@dataclass(frozen=True)
class Flagged:
    """How often a finding's contexts hold words of a flag.

    Attributes:
        flag, title: the flag's name, and what it is called.
        held, contexts: of so many contexts, each of another document, so many hold its words.
        base: the share of contexts of all features that do.
        words: those found, the commonest first.
        chance: how probable so many are if they are as common here as in all.
        rate: the least rate of false discoveries at which it passes.
        score: (share − base) / (1 − base), at least 0: the share of contexts that hold them beyond what is common.
    """

    flag: str
    title: str
    held: int
    contexts: int
    base: float
    words: tuple[str, ...]
    chance: float
    rate: float
    score: float

    @property
    def passes(self) -> bool:
        """Whether it is shown as a flag of the finding."""
        return self.rate <= RATE and self.held >= LEAST

    @property
    def reason(self) -> str:
        """Why it passes, as a sentence without an end: `9 of 12 contexts hold 共产党 or 党中央; 4 % of all do`."""
        share = f"{100 * self.base:.2g} %" if self.base else "none"
        named = " or ".join(self.words).replace("*", "…")
        return f"{self.held} of {self.contexts} contexts hold {named}; {share} of all do"


@dataclass(frozen=True)
class Looked:
    """The flags of one finding; `members` are the features whose contexts were looked through.

    Attributes:
        flags: by words.
        near: by meaning; none where that was not compared.
    """

    members: tuple[int, ...]
    flags: tuple[Flagged, ...]
    near: tuple[Near, ...] = ()


@dataclass(frozen=True)
class Screening:
    """What the automatic part found in a run, as screening.json holds it.

    Attributes:
        identity: of the features.
        asked: of the flags that were looked for.
        made: when, ISO 8601, UTC.
        sample: contexts of all features that were looked through.
        looked: by the best feature of each finding.
        encoder: digest of the one by which findings were compared with flags in meaning; empty where none did.
    """

    identity: str
    asked: str
    made: str
    sample: int
    looked: Mapping[int, Looked] = field(default_factory=dict)
    encoder: str = ""

    def of(self, subject: Subject) -> Looked | None:
        """What was found for a finding; None where it, as it stands today, was not looked at."""
        looked = self.looked.get(subject.feature_id)
        return looked if looked is not None and looked.members == subject.members else None


def screen(run: Run) -> Screening:
    """Look for the flags of all that stands in a run's queue, and keep what was found in its screening.json.

    Raises:
        UserError: if the store, the flags or the encoder cannot be read.
    """
    store, flags = Store(run.store), words.load()
    listed, facts = subjects(store), store.meaning()
    sample, base = store.some_contexts(SAMPLE, _SEED), []
    with progress.bar("flags: all contexts", len(sample), "contexts") as bar:
        for context in sample:
            base.append(_held(context, flags))
            bar.update()
    own = [[_held(context, flags) for context in _contexts(store, subject.members)] for subject in listed]
    found = judged([flagged(contexts, base, flags) for contexts in own])
    known = "" if near.lacking(facts, run.name) else str(facts["digest"])
    meant = near.measured(store, [one.feature_id for one in listed], flags) if known else {}
    looked = {
        one.feature_id: Looked(one.members, marks, meant.get(one.feature_id, ()))
        for one, marks in zip(listed, found, strict=True)
    }
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = Screening(attached.identity(store.path), digest(flags), now, len(base), looked, known)
    disk.write_json(run.screening, asdict(made))
    return made


def read(run: Run) -> Screening | None:
    """What `screen` kept; None where it did not run, or on other features than the store has.

    Raises:
        UserError: if the file is damaged.
    """
    path = run.screening
    if not path.exists():
        return None
    with disk.reading(path, f"make it again with `python -m dfc screen {run.path}`"):
        kept = disk.read_json(path)
        if kept["identity"] != attached.identity(run.store):
            return None
        looked = {
            int(feature): Looked(
                tuple(one["members"]),
                tuple(Flagged(**mark | {"words": tuple(mark["words"])}) for mark in one["flags"]),
                tuple(Near(**mark) for mark in one.get("near", ())),  # which older files have not
            )
            for feature, one in kept["looked"].items()
        }
        return Screening(**kept | {"looked": looked})


def digest(flags: Mapping[str, Flag]) -> str:
    """What tells flags that were looked for from others."""
    text = json.dumps({name: flag.model_dump(mode="json") for name, flag in flags.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


Held = Mapping[str, Sequence[str]]
"""Words that a context holds, by flag."""


def flagged(contexts: Sequence[Held], base: Sequence[Held], flags: Mapping[str, Flag]) -> list[Flagged]:
    """Every flag with how many of a finding's contexts hold its words, without rates; nothing without contexts."""
    found = []
    for name, flag in flags.items() if contexts else ():
        mine = [context[name] for context in contexts if name in context]
        common = sum(name in context for context in base)
        share, of_all = len(mine) / len(contexts), common / max(1, len(base))
        counted = Counter(word for held in mine for word in held).most_common(_NAMED)
        found.append(
            Flagged(
                name,
                flag.title,
                len(mine),
                len(contexts),
                of_all,
                tuple(word for word, _ in counted),
                chance(len(mine), len(contexts), common, len(base)),
                math.nan,
                max(0.0, (share - of_all) / (1 - of_all)) if of_all < 1 else 0.0,
            )
        )
    return found


def judged(found: Sequence[Sequence[Flagged]]) -> list[tuple[Flagged, ...]]:
    """The flags of several findings with their rates, without those of which nothing was found; of each finding those
    that pass first, by their score."""
    from dfc.evidence.findings import false_discovery  # which loads torch

    rates = iter(false_discovery(np.array([one.chance for marks in found for one in marks])).tolist())
    rated = [[replace(one, rate=next(rates)) for one in marks] for marks in found]
    rated = [[one for one in marks if one.held] for marks in rated]
    return [tuple(sorted(marks, key=lambda one: (not one.passes, -one.score))) for marks in rated]


def chance(held: int, contexts: int, base_held: int, base: int) -> float:
    """How probable it is that at least `held` of `contexts` hold something which all hold alike: the upper tail of the
    hypergeometric distribution, given how many of both together do."""
    total, marked = contexts + base, held + base_held
    most = min(contexts, marked)
    ways = sum(math.comb(marked, one) * math.comb(total - marked, contexts - one) for one in range(held, most + 1))
    return ways / math.comb(total, contexts)


def _contexts(store: Store, members: Iterable[int]) -> list[Context]:
    """The strongest contexts of several features, the first of each document."""
    of_documents: dict[int, Context] = {}
    for member in members:
        for context in store.contexts(member):
            if context.band == 0:
                of_documents.setdefault(context.document, context)
    return list(of_documents.values())


def _held(context: Context, flags: Mapping[str, Flag]) -> Held:
    text = "".join(excerpt(context, "a", NEAR, NEAR).tokens_a)
    found = {name: flag.found(text) for name, flag in flags.items()}
    return {name: held for name, held in found.items() if held}
