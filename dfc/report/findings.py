"""Findings in words: what is claimed of each, how sure it is, and by which settings they were found."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd

from dfc.config import Partition, Side, Verdict, characters, opposite
from dfc.report import words
from dfc.report.heatmap import excerpt, side_of, visible
from dfc.report.kinds import SURE
from dfc.store.reader import Context, EvidenceRow, FeatureRow, Store

UNIT = "nats a character"
SPREAD = (
    "Documents in which its best feature fires where surprise was measured, which are fewer than those of the whole "
    "corpus; they count as fewer still where most of its firing lies in some of them."
)
"""What the number of a finding's documents means."""
_WRITINGS = {"": "signs or digits", "CJK": "Chinese characters", "OTHER": "letters without a name"}
"""What is called otherwise than `… letters`; by the first word of a letter's name in Unicode."""
_MANY_SOURCES = 3  # that are named where findings are counted by their source
_EXCERPT = (60, 40)  # columns of text before and after the peak


@dataclass(frozen=True)
class Finding:
    """A feature where one model does better than at matched places, with those that show nothing beyond it.

    Attributes:
        rank: among the findings of its model, from 1.
        finding: its number, by rank among those of both models, from 0.
        side: the model that does better.
        feature_id, partition, label, main_source, verdict: of its best feature.
        writing: in which most of the tokens are on which that peaks, in words.
        members: features in it.
        documents: in which its best feature fires, where surprise was measured.
        effective: as how many these count, since most of its firing may lie in some of them.
        gap, error: of the best feature, in favour of `side`: nats a character beyond matched places.
        held_out_gap, held_out_error: the same on documents kept out of training; None where it fires on too few.
        plain_gap, plain_error: compared with nothing; below 0 the other model expects better what follows.
        false_discovery: the least rate at which it passes.
    """

    rank: int
    finding: int
    side: Side
    feature_id: int
    partition: Partition
    label: str
    main_source: str
    writing: str
    verdict: Verdict
    members: int
    documents: int
    effective: float
    gap: float
    error: float
    held_out_gap: float | None
    held_out_error: float | None
    plain_gap: float
    plain_error: float
    false_discovery: float


def own_side(store: Store, feature: FeatureRow) -> Side:
    """The model that a feature speaks of first, as `heatmap.side_of` has it."""
    evidence = store.evidence(feature.feature_id) if feature.partition == "shared" else None
    return side_of(feature.partition, evidence)


def of(store: Store) -> tuple[Finding, ...]:
    """The findings of both models, the surest first; none before `verify`, and without the models' surprise."""
    ranks: Counter[str] = Counter()
    found = []
    rows: Any = store.findings().itertuples(index=False)
    for row in rows:
        ranks[row.side] += 1
        found.append(
            Finding(
                ranks[row.side],
                int(row.finding),
                row.side,
                int(row.feature_id),
                row.partition,
                row.label,
                row.main_source,
                writing(row.peak_tokens),
                row.verdict,
                int(row.members),
                int(row.documents),
                float(row.effective),
                float(row.gap),
                float(row.error),
                _known(row.held_out_gap),
                _known(row.held_out_error),
                float(row.plain_gap),
                float(row.plain_error),
                float(row.false_discovery),
            )
        )
    return tuple(found)


def claim(finding: Finding) -> str:
    """What is claimed of a finding, as a sentence without an end."""
    side, other = finding.side.upper(), opposite(finding.side).upper()
    if finding.partition == "shared":
        who = "both may use it"
    elif finding.partition == finding.side:
        who = f"only {side} may use it"
    else:
        who = f"only {other} may use it, and yet"
    return f"{who}: {standing(finding, side, other)}"


def standing(finding: Finding, name: str, other: str) -> str:
    """How the model of a finding does there, beside the other one and beside itself in like texts.

    Args:
        finding: one.
        name, other: of its model, and of the other.
    """
    if finding.plain_gap >= SURE * finding.plain_error:
        return f"{name} expects what follows better than {other}, by more than in like texts"
    if falls_behind(finding):
        return f"{name} falls behind {other} by less than in like texts"
    return f"{name} does better than in like texts; which of the two expects it better is not sure"


def falls_behind(finding: Finding) -> bool:
    """Whether its model surely expects what follows less well than the other one, if by less than in like texts."""
    return finding.plain_gap <= -SURE * finding.plain_error


def amount(gap: float | None, error: float | None) -> str:
    """A gap with its standard error, in nats a character; a dash where there is none."""
    if gap is None or not math.isfinite(gap):
        return "–"
    told = words.numeral(gap, ".3f")
    return told if error is None or not math.isfinite(error) else f"{told} ± {error:.3f}"


def spread(finding: Finding) -> str:
    """In how many documents it fires, and as how many these count, if that is much fewer."""
    several = f"{finding.documents:,} documents"
    return several if finding.effective >= finding.documents / 2 else f"{several} that count as {finding.effective:.0f}"


def counts(findings: Sequence[Finding]) -> str:
    """How many there are, in which writing most of them peak, and on which sources they are densest:
    `12 findings; 9 peak on Latin letters; densest on python (7), …`."""
    if not findings:
        return "no finding"
    size = len(findings)
    [(most, written)] = Counter(finding.writing for finding in findings).most_common(1)
    by_source = Counter(characters.shown(finding.main_source) for finding in findings).most_common()
    named = [f"{source} ({number})" for source, number in by_source[:_MANY_SOURCES]]
    rest = sum(number for _, number in by_source[_MANY_SOURCES:])
    others = f", {len(by_source) - _MANY_SOURCES} other sources ({rest})" if rest else ""
    peaks = f"{'' if size == 1 else 'all ' if written == size else f'{written:,} of them '}peaking on {most}"
    return f"{size:,} {'finding' if size == 1 else 'findings'}, {peaks}; densest on {', '.join(named)}{others}"


def behind(findings: Sequence[Finding], other: str) -> str:
    """In how many of a model's findings it expects less well than the other one all the same; nothing if in none."""
    count = sum(map(falls_behind, findings))
    if not count:
        return ""
    some = "all of them" if count == len(findings) else f"{count:,} of them"
    return f"in {some} it falls behind {other}, by less than in like texts"


def by_source(findings: Sequence[Finding]) -> list[tuple[str, tuple[Finding, ...]]]:
    """Findings by the source on which their best feature is densest; the source of the first one comes first."""
    groups: dict[str, list[Finding]] = {}
    for finding in findings:
        groups.setdefault(finding.main_source, []).append(finding)
    return [(source, tuple(group)) for source, group in groups.items()]


def writing(peak_tokens: Sequence[str]) -> str:
    """In which writing most of some tokens are, in words: `Chinese characters`, `Latin letters`, `signs or digits`."""
    scripts = Counter(
        next((unicodedata.name(mark, "OTHER").split()[0].split("-")[0] for mark in token if mark.isalpha()), "")
        for token in peak_tokens
    )
    if not scripts:
        return "nothing"
    [(most, _)] = scripts.most_common(1)
    return _WRITINGS.get(most, f"{most.capitalize()} letters")


def belonging(evidence: EvidenceRow, found: Sequence[Finding], names: Mapping[Side, str]) -> str:
    """To which finding a feature belongs, and its own gaps in favour of that finding's model; empty if to none."""
    finding = next((one for one in found if one.finding == evidence.finding), None)
    if finding is None:
        return ""
    of_side = sum(one.side == finding.side for one in found)
    other = opposite(finding.side)
    here = "the best" if evidence.place == 0 else f"number {int(evidence.place) + 1:,}"
    which = "its only feature" if finding.members == 1 else f"{here} of its {finding.members:,} features"
    return (
        f"Finding {finding.rank:,} of {of_side:,} where {names[finding.side]} does better than in like texts"
        f"{f', though it falls behind {names[other]} there, too' if falls_behind(finding) else ''}; this is {which}. "
        f"{gaps(evidence)}"
    )


def gaps(evidence: EvidenceRow) -> str:
    """A feature's own gaps as a sentence, in favour of the model that does better by the matched one."""
    sign = -1.0 if evidence.matched_gap < 0 else 1.0  # the store has them in favour of the feature's own model

    def told(name: str) -> str:
        gap = evidence.values[f"{name}_gap"]
        return amount(None if gap is None else sign * gap, evidence.values[f"{name}_error"])

    return (
        f"By {told('matched')} {UNIT} beyond matched places ({told('held_out')} on held-out documents); by "
        f"{told('plain')} compared with nothing."
    )


@dataclass(frozen=True)
class Favour:
    """In whose favour a feature's gap speaks.

    Attributes:
        side: the model that does better than in like texts.
        gap, error: by how much, in nats a character beyond matched places.
        behind: whether it surely expects what follows less well than the other one all the same.
    """

    side: Side
    gap: float
    error: float
    behind: bool

    @property
    def title(self) -> str:
        """What is claimed, in a few words."""
        return f"{self.side.upper()} {'falls behind by less' if self.behind else 'does better'}"


def favour(evidence: EvidenceRow | None, partition: Partition) -> Favour | None:
    """In whose favour a feature's gap speaks; None where it speaks for neither for sure, or of a shared feature without
    a finding."""
    if evidence is None or evidence.matched_gap is None or evidence.matched_error is None:
        return None
    gap, error = evidence.matched_gap, evidence.matched_error
    if abs(gap) < SURE * error:
        return None
    own: Side
    other: Side
    own, other = ("a", "b") if partition == "a" else ("b", "a")
    side = evidence.knows or (None if partition == "shared" else own if gap > 0 else other)
    if side is None:
        return None
    plain: float | None = evidence.values.get("plain_gap")
    uncertain: float | None = evidence.values.get("plain_error")
    behind = plain is not None and uncertain is not None and math.copysign(plain, gap * plain) <= -SURE * uncertain
    return Favour(side, abs(gap), error, behind)


def frame(findings: Sequence[Finding]) -> pd.DataFrame:
    """Findings as a table, a row each."""
    names = [field.name for field in fields(Finding)]
    return pd.DataFrame([asdict(finding) for finding in findings], columns=names)


def settings(facts: Mapping[str, Any], tested: int) -> str:
    """By which rule the findings of a run were found, as one sentence.

    Args:
        facts: of the run and its evidence.
        tested: features that were tested.
    """
    rate = (facts.get("evidence") or {}).get("false_discovery")
    chance = (
        ""
        if rate is None
        else f"; of those that pass, at most {100 * rate:g} % are expected to do so by chance (false discovery rate)"
    )
    return f"{_tests(facts, tested)}{chance}."


def _tests(facts: Mapping[str, Any], tested: int) -> str:
    """Which features were tested for what."""
    asked = facts.get("evidence") or {}
    gap, documents = asked.get("surprise_gap"), asked.get("finding_documents")
    which = "" if documents is None else f" whose firing is spread over {documents} documents' worth"
    how = "" if gap is None else f", each for a gap of more than {gap:g} {UNIT} in favour of either model"
    return f"{tested:,} features{which} were tested{how}"


def lacking(facts: Mapping[str, Any], tested: int, run_name: str) -> str:
    """Why a run has no findings, as one sentence."""
    again = f"`python -m dfc verify {run_name}`"
    if not facts.get("verified"):
        return words.unjudged(facts, run_name)
    if facts.get("outdated"):
        return f"An earlier version of dfc made this run's evidence, without findings of today's kind: {again} does."
    if tested:
        return f"There is no finding: {_tests(facts, tested)}, and none passed."
    if facts.get("rule") == "probes" and not facts.get("evidence", {}).get("surprise_pairs", 1):
        return (
            "This run was judged without the models' surprise, by which findings are found, since its "
            f"`evidence.surprise_pairs` is 0: set it in the run's run.yaml, and {again} measures it."
        )
    if facts.get("rule") == "probes":
        return (
            "This run was judged without the models' surprise, by which findings are found: where both models are to "
            f"be had, {again} measures it."
        )
    return "There is no finding: no feature fires in enough documents to be tested."


def held_out(finding: Finding) -> str:
    """What is left of a finding on documents kept out of training, and whether that is sure by itself."""
    gap, error = finding.held_out_gap, finding.held_out_error
    if gap is None or error is None or not math.isfinite(gap + error):
        return amount(gap, error)
    return amount(gap, error) + ("" if gap >= SURE * error else ", not sure alone")


def lines(finding: Finding, quote: str | None) -> list[str]:
    """What is said of a finding as plain text, a line each."""
    size = "1 feature" if finding.members == 1 else f"{finding.members:,} features"
    dedicated = f" (evidence: {finding.verdict})" if finding.partition != "shared" else ""
    return [
        f"{amount(finding.gap, finding.error)} {UNIT} beyond matched places; "
        f"held out {held_out(finding)}; "
        f"plainly {amount(finding.plain_gap, finding.plain_error)}",
        f"{claim(finding)}{dedicated}",
        f"feature {finding.feature_id}, {size}, {spread(finding)}, densest on {characters.shown(finding.main_source)}",
        *([quote] if quote is not None else []),
    ]


def quoted(context: Context, side: Side) -> str:
    """A short stretch of a context as plain text on one line, the peak in brackets; nothing in it is hidden."""
    cut = excerpt(context, side, *_EXCERPT)
    tokens, peak = (cut.tokens_a, cut.peak_a) if side == "a" else (cut.tokens_b, cut.peak_b)
    shown = [visible(token) if token else "" for token in tokens]
    before, after = "".join(shown[:peak]), "".join(shown[peak + 1 :])
    word = shown[peak].lstrip(" ")
    return f"{before}{' ' * (len(shown[peak]) - len(word))}[{word}]{after}".strip()


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
