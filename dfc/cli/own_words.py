"""What both models of a run said themselves, printed by `dfc screen --rollouts`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dfc.cli.base import tell
from dfc.config import SIDES, Side, characters
from dfc.runs import Run

if TYPE_CHECKING:
    from dfc.report.findings import Finding
    from dfc.store.own_words import Continuation

_FINDINGS = 3  # of a continuation
_BEGINNING = 60  # characters of it, the last


def names(run: Run) -> dict[Side, str]:
    """What both models are called, told apart."""
    from dfc.report.words import told_apart
    from dfc.store.reader import Store

    models: Any = Store(run.store).models()
    named: dict[Side, str] = {side: characters.shown(models["name"][side]) for side in SIDES}
    return told_apart(named, {side: f"layer {models.loc[side, 'layer']}" for side in SIDES})


def plain(run: Run, first: int) -> dict[str, Any]:
    """What was asked for and left out, so many continuations of each model, and the findings seen, as plain values."""
    from dfc.report import findings
    from dfc.store.own_words import OwnWords
    from dfc.store.reader import Store

    words, found = OwnWords(run.store), findings.of(Store(run.store))
    by_feature = {one.feature_id: one for one in found}
    seen = words.seen([(one.feature_id, one.side) for one in found])
    told = {key: value for key, value in words.facts().items() if key not in ("schema_version", "identity", "digest")}
    return {
        "run": run.name,
        **told,
        "continuations": {
            side: [_continuation(one, by_feature) for one in words.continuations(side, first)] for side in SIDES
        },
        "findings": [
            {"side": one.side, "rank": one.rank, "feature_id": one.feature_id, "label": one.label}
            | asdict(seen[one.feature_id])
            for one in found
            if one.feature_id in seen
        ],
    }


def _continuation(one: Continuation, by_feature: dict[int, Finding]) -> dict[str, Any]:
    kept = ("number", "source", "chat", "beginning", "text", "characters", "nats_a", "nats_b", "beyond")
    fires = [
        {"feature_id": feature, "max": strongest, "rank": by_feature[feature].rank, "label": by_feature[feature].label}
        for feature, strongest in one.findings
    ]
    passage = {"text": one.passage, "nats": one.passage_nats}
    return {key: getattr(one, key) for key in kept} | {"passage": passage, "findings": fires}


def show(run: Run, first: int) -> None:
    """Print the same."""
    from dfc.report import findings
    from dfc.report.heatmap import called
    from dfc.report.words import in_own_words
    from dfc.screen.words_of_own import own_words_in_words
    from dfc.store.own_words import OwnWords
    from dfc.store.reader import Store

    words, found, models = OwnWords(run.store), findings.of(Store(run.store)), names(run)
    by_feature = {one.feature_id: one for one in found}
    for side in SIDES:
        tell(
            f"{side.upper()}  {models[side]}: {words.count(side):,} continuations; first what the other would least say"
        )
        for place, one in enumerate(words.continuations(side, first), 1):
            _show(place, one, by_feature)
        tell()
    seen = words.seen([(one.feature_id, one.side) for one in found])
    for finding in found:
        if finding.feature_id in seen:
            said = in_own_words(seen[finding.feature_id], finding.side, models)
            tell(f"{finding.side.upper()} {finding.rank:<4d} {called(finding.label)}: {said}")
    for sentence in own_words_in_words(words.facts()):
        tell(sentence)


def _show(place: int, one: Continuation, by_feature: dict[int, Finding]) -> None:
    from dfc.report.heatmap import called, visible

    lost = f"A loses {one.nats_a:.2f} nats a character, B {one.nats_b:.2f}"
    tell(f"\n{place:4d}  {one.beyond:+.2f}  {lost}; after “{visible(one.beginning[-_BEGINNING:])}”")
    tell(f"      {visible(one.text)}")
    tell(f"      most telling, by {one.passage_nats:.1f} nats: {visible(one.passage)}")
    for feature, _ in one.findings[:_FINDINGS]:
        finding = by_feature[feature]
        tell(f"      finding {finding.side.upper()} {finding.rank}, feature {feature}: {called(finding.label)}")
    if (more := len(one.findings) - _FINDINGS) > 0:
        tell(f"      and {more:,} more findings")
