"""Several features as one report: a single HTML file that loads nothing, in light and dark, on screen and on paper.

Each feature is shown as the app shows it: whose it is, what the evidence says and where its numbers stand among
others, what readers and judges said of it, its contexts as heat maps, what it writes, and what steering with it gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from markupsafe import Markup

from dfc.config import PARTITIONS, SIDES, VERDICTS, Partition, Side, UserError
from dfc.report import card, causal, exclusivity, findings, palette, render, said, score, steered, weighing, words
from dfc.report.causal import Causal
from dfc.report.exclusivity import Likeness
from dfc.report.findings import Favour, Finding
from dfc.report.heatmap import HEATMAP_CSS, called, side_of
from dfc.report.reference_strip import STRIP_CSS, Population, key, position, strip
from dfc.report.steered import Steered
from dfc.report.weighing import Weighed
from dfc.report.words import NULL_RUN, ORIGINS, PROBE, told_apart, verdict_means, whose
from dfc.runs import Run
from dfc.store import attached, columns
from dfc.store.book import Note, Remarks
from dfc.store.explanations import NOTHING, ExplanationStore, Told
from dfc.store.notes import Notebook
from dfc.store.reader import EvidenceRow, FeatureQuery, FeatureRow, Store
from dfc.store.steering import SteeringStore

MOST = 300
"""Features in one report: nobody reads more, and a browser has to lay them all out."""


class NullRun(Protocol):
    """What is known of the run's null run, as `worlds.null_result.read` gives it."""

    @property
    def dedicated(self) -> int: ...
    @property
    def exclusive(self) -> int: ...
    @property
    def share(self) -> float: ...
    @property
    def reference(self) -> Mapping[str, Mapping[str, Sequence[float]]]: ...


@dataclass(frozen=True)
class Chosen:
    """What is to be reported.

    Attributes:
        title: of the report.
        features: their ids, in the order of the report.
        list_name: the list that they stand on, whose reasons are printed and whose contexts shown; None: they were
            chosen otherwise.
        author, summary: what stands under the title; empty for none.
    """

    title: str
    features: tuple[int, ...]
    list_name: str | None = None
    author: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Measure:
    """One number of the evidence, and where it stands among those of other features."""

    name: str
    meaning: str
    value: float
    drawing: Markup
    where: str
    shown: str
    """The number as it is written, with its standard error where there is one."""
    unit: str


@dataclass(frozen=True)
class Entry:
    """One feature of the report."""

    feature: FeatureRow
    evidence: EvidenceRow | None
    measures: list[Measure]
    told: list[str]
    """What judges and people say that it is about, and its flags, a line each."""
    reason: str
    tags: list[str]
    favourite: bool
    notes: list[Note]
    decided: str
    """What people decided of it, as a line; empty where nobody did."""
    earlier: bool
    """Whether something was said of another version of it."""
    groups: list[tuple[str, list[card.Example]]]
    token_lists: list[card.TokenList]
    lens_notes: dict[Side, str]
    sources: list[card.Bar]
    steered: Steered
    finding: str
    """To which finding it belongs, as a sentence; empty where to none."""
    weighed: Weighed | None
    favour: Favour | None

    @property
    def side(self) -> Side:
        """In whose tokens its contexts are shown."""
        return side_of(self.feature.partition, self.evidence)


def of_list(notebook: Notebook, run_name: str, name: str) -> Chosen:
    """The features of a run on a named list, in its order, under its title.

    Raises:
        UserError: if there is no such list, or none of the run's features is on it.
    """
    kept = notebook.read().of(run_name)
    if name not in kept.list_names:
        known = ", ".join(kept.list_names) or "there are none yet"
        raise UserError(f"There is no list called “{name:.80}”; the lists are: {known}.")
    if not (features := kept.marked("list", name)):
        raise UserError(f"No feature of the run {run_name} is on the list “{name}”; put some on it in the app.")
    cover = kept.cover(name)
    return Chosen(cover.title or name, features, name, cover.author, cover.summary)


def of_features(run: Run, features: Sequence[int]) -> Chosen:
    """Features of a run by their numbers, each once, in this order.

    Raises:
        UserError: if the run has not all of them, or its store cannot be read.
    """
    size = Store(run.store).count(FeatureQuery(alive_only=False))
    if missing := [f"{identity!s:.20}" for identity in features if not 0 <= identity < size]:
        raise UserError(f"run {run.name} has no feature {', '.join(missing)}; its features are 0 to {size - 1}.")
    return Chosen("Features", tuple(dict.fromkeys(features)))


def report_html(run: Run, chosen: Chosen, notebook: Notebook, null: NullRun | None) -> str:
    """A complete HTML document.

    Args:
        run: whose features they are; it must be indexed.
        chosen: which, under which title.
        notebook: what readers said of them.
        null: the run's null run, if it had one.

    Raises:
        UserError: if nothing or more than MOST is to be reported, or the store cannot be read.
    """
    if not chosen.features or len(chosen.features) > MOST:
        raise UserError(
            f"a report holds 1 to {MOST} features, and {len(chosen.features):,} are to be reported; choose fewer, or "
            "download them as a table."
        )
    store = Store(run.store)
    models: Any = store.models()
    names: dict[Side, str] = told_apart(models["name"], {side: f"layer {models.loc[side, 'layer']}" for side in SIDES})
    remarked = notebook.read().of(run.name).remarks()
    present = store.fingerprints(chosen.features)
    facts = store.facts()
    read = _Read(
        store,
        facts,
        names,
        store.reference(),
        null,
        findings.of(store),
        steered.kept(SteeringStore(run.steering), present),
        causal.kept(store, list(present)),
        exclusivity.kept(store, list(present)),
        ExplanationStore(attached.explanations_path(store.path)).told(present),
    )
    entries = [
        _entry(read, identity, remarked.get(identity, Remarks()), chosen.list_name)
        for identity in chosen.features
        if identity in present
    ]
    gone = [(identity, _reason(remarked.get(identity), chosen.list_name)) for identity in chosen.features]
    return card.templates.get_template("document.html").render(
        title=chosen.title,
        author=chosen.author,
        summary=chosen.summary,
        run_name=run.name,
        facts=facts,
        models=models,
        names=names,
        sources=facts.get("source_pairs") or {},
        entries=entries,
        gone=[(identity, reason) for identity, reason in gone if identity not in present],
        null=null,
        null_help=NULL_RUN,
        measures=[one for one in columns.EVIDENCE if one.spread],
        probe=PROBE,
        verdict_help={verdict: verdict_means(verdict, facts) for verdict in VERDICTS},
        factors=score.FACTORS,
        strip_key=Markup(key(_legend(null))),
        counts=_counts(entries),
        origins=ORIGINS,
        titles={partition: whose(partition, names) for partition in PARTITIONS},
        made=f"{datetime.now(UTC):%Y-%m-%d}",
        light=Markup(_variables("light")),
        dark=Markup(_variables("dark")),
        heatmap_css=Markup(HEATMAP_CSS + STRIP_CSS),
        font_stack=Markup(render.font_stack()),
        levels=range(1, palette.LEVELS + 1),
        called=called,
        percent=words.percent,
        permalink=card.permalink,
    )


def _variables(theme: palette.Theme) -> str:
    verdicts = "".join(f"--dfc-verdict-{name}:{colour};" for name, colour in palette.verdict_marks(theme).items())
    return palette.css_variables(theme) + verdicts + f"color-scheme:{theme};"


def _reason(remarks: Remarks | None, list_name: str | None) -> str:
    """Why a feature is on the list."""
    marks = remarks.of_kind("list") if remarks else ()
    return next((mark.note for mark in marks if mark.name == list_name), "")


def _contexts(remarks: Remarks, list_name: str | None, feature: FeatureRow) -> tuple[int, ...]:
    """Which contexts were chosen for the list; none of another version of the feature, whose contexts were others."""
    marks = (mark for mark in remarks.of_kind("list") if mark.name == list_name)
    return next((tuple(mark.contexts) for mark in marks if mark.fingerprint == feature.fingerprint), ())


@dataclass(frozen=True)
class _Read:
    """What is read at once for all features of the report."""

    store: Store
    facts: Mapping[str, Any]
    names: dict[Side, str]
    reference: dict[str, dict[str, list[float]]]
    null: NullRun | None
    found: Sequence[Finding]
    tried: Mapping[int, Steered]
    checked: Mapping[int, Causal]
    alike: Mapping[int, Sequence[Likeness]]
    told: Mapping[int, Told]


def _entry(read: _Read, identity: int, remarks: Remarks, list_name: str | None) -> Entry:
    store, facts, names = read.store, read.facts, read.names
    feature, evidence, logits = store.feature(identity), store.evidence(identity), store.logits(identity)
    checked, alike = read.checked.get(identity), read.alike.get(identity, ())
    return Entry(
        feature,
        evidence,
        [] if evidence is None else measures_of(feature, evidence, read.reference, read.null, names, facts),
        said.lines(read.told.get(identity, NOTHING)),
        _reason(remarks, list_name),
        [mark.name for mark in remarks.of_kind("tag")],
        remarks.favourite,
        list(remarks.notes),
        words.decisions(remarks.decisions, feature.fingerprint),
        remarks.of_other_version(feature.fingerprint),
        card.groups(
            store.contexts(identity),
            side_of(feature.partition, evidence),
            feature,
            _contexts(remarks, list_name, feature),
        ),
        card.token_lists(logits),
        card.lens_notes(facts, store.models(), logits, feature.partition),
        card.sources(store.sources(identity), feature.density),
        read.tried.get(identity, Steered()),
        "" if evidence is None else findings.belonging(evidence, read.found, names),
        None if evidence is None else weighing.of(evidence, feature.partition, facts, names, checked, alike),
        findings.favour(evidence, feature.partition),
    )


def measures_of(
    feature: FeatureRow,
    evidence: EvidenceRow,
    reference: Mapping[str, Mapping[str, Sequence[float]]],
    null: NullRun | None,
    names: Mapping[Side, str],
    facts: Mapping[str, Any],
) -> list[Measure]:
    """Each number that applies to a feature, beside those of its partition, of shared features and of the null run.

    `facts` are those of the run: they have the limits of its rule.
    """
    asked = weighing.thresholds(facts)
    measures = []
    for one in (one for one in columns.EVIDENCE if one.spread):
        value: float | None = evidence.values.get(one.name)
        if value is None:
            continue
        populations = populations_of(one.name, feature.partition, reference, null, names)
        # What only the rule without surprise holds it to is no limit where surprise was measured.
        kept = [name for name in one.limits if facts.get("rule") == "probes" or not name.startswith("exclusive")]
        drawing = Markup(strip(value, populations, *one.axis, limits=[getattr(asked, name) for name in kept]))
        error = evidence.values.get(one.error)
        shown = one.format % value + ("" if error is None else f" ± {one.format % error}")
        where = position(value, populations)
        measures.append(Measure(one.words, one.meaning, value, drawing, where, shown, one.unit))
    return measures


def populations_of(
    measure: str,
    partition: Partition,
    reference: Mapping[str, Mapping[str, Sequence[float]]],
    null: NullRun | None,
    names: Mapping[Side, str],
) -> list[Population]:
    """What a number of a feature is compared with: its own partition, shared features, and the null run.

    Args:
        measure: a column of `evidence`.
        partition: the feature's.
        reference: of the run, `Store.reference`.
        null: of its null run.
        names: of both models.
    """
    spread = reference.get(measure, {})
    title = "shared features" if partition == "shared" else f"features that {whose(partition, names)}"
    populations = [Population(title, partition, spread.get(partition, []))]
    if partition != "shared":
        populations.append(Population("shared features", "shared", spread.get("shared", [])))
    if null is not None:
        populations.append(Population("the null run", None, null.reference.get(measure, {}).get("a", [])))
    return populations


def _legend(null: NullRun | None) -> list[Population]:
    """What the drawings of a whole report compare with."""
    shown = [Population("its partition: A's", "a", []), Population("its partition: B's", "b", [])]
    shown.append(Population("shared features", "shared", []))
    return shown if null is None else [*shown, Population("the null run", None, [])]


def _counts(entries: list[Entry]) -> list[tuple[str, int]]:
    """How many of the report's features have each verdict; empty before `verify`."""
    judged = [entry.evidence.verdict for entry in entries if entry.evidence is not None]
    return [(verdict, judged.count(verdict)) for verdict in VERDICTS if verdict in judged]
