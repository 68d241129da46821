"""What verdicts and measures mean, in plain words: the same on the page and in a report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from dfc.config import SIDES, Partition, Side, Verdict, characters, opposite
from dfc.store.book import Choice, Decision, latest
from dfc.store.own_words import Seen

VERDICT_HELP: dict[Verdict, str] = {
    "exclusive": "What follows where it fires surprises the other model more than its own, clearly beyond matched "
    "places, and no other feature correlates with it as far as the rule's limits.",
    "mirrored": "A feature of the other exclusive partition fires like it: one concept stands on both sides.",
    "shared-like": "The other model's activations predict it nearly as well, or a shared feature fires like it.",
    "unclear": "The other model seems to know as well what follows, or too few held-out firings carry the evidence.",
    "dead": "It fires too rarely to be judged.",
}

_BY_PROBES: dict[Verdict, str] = {
    "exclusive": "Its own model's activations predict it clearly better than the other's, and no other feature "
    "correlates with it as far as the rule's limits. How surprised the models are was not asked.",
    "unclear": "The other model's activations tell too much of it for one verdict and too little for another, or too "
    "few held-out firings carry the evidence. How surprised the models are was not asked.",
}
"""What these mean where features were judged without the models' surprise."""

PARTS: dict[Partition, str] = {"a": "only A", "b": "only B", "shared": "shared"}
"""What a partition is called where there is no room for the models' names."""

PROBE = (
    "How well a linear function of each model's activations predicts this feature on documents kept out of training. "
    "Absolute values mean little, since a sparse feature is only partly linear even in its own model: compare them."
)

NULL_RUN = (
    "It is judged by probes and correlations alone: a model is exactly as surprised as itself, so that with surprise "
    "nothing could come out."
)
"""What the null run does not test."""

RULES = {"surprise": "models' surprise", "probes": "probes alone"}
"""By what features were judged, from the facts of the evidence."""

ORIGINS = {
    "words": "made of words that set its strongest contexts apart from the corpus; nobody has read them",
    "judge": "a language model's explanation, by which it told texts on which the feature fires from others",
    "person": "given by a person",
}
"""Where a label comes from, in words."""

_MANY = 1_000  # times: more is not told

_OF_SHARED: dict[Verdict, str] = {
    "exclusive": "What follows where it fires surprises one model more than the other, clearly beyond matched places. "
    "Both may use it, and whether another feature fires like it was not compared.",
}
"""What these mean of a shared feature judged by surprise."""


DECISIONS: dict[Choice, str] = {
    "finding": "a finding",
    "not-exclusive": "not exclusive",
    "unreadable": "not readable",
    "duplicate": "a duplicate",
    "later": "left for later",
}
"""What is decided of a finding, in words."""


def numeral(value: float, form: str) -> str:
    """A number in a format such as `+.2f`, with the sign for minus."""
    return format(value, form).replace("-", "−")


def capital(text: str) -> str:
    """The beginning of a sentence, with a capital letter."""
    return text[:1].upper() + text[1:]


def percent(share: float | None, digits: int = 3) -> str:
    """A share as a percentage with `digits` significant digits, e.g. `0.0432 %`; a dash where there is none."""
    if share is None or not math.isfinite(share):
        return "–"
    if share == 0:
        return "0 %"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(100 * share))))
    return f"{numeral(100 * share, f',.{min(decimals, 6)}f')} %"


def times(ratio: float) -> str:
    """How many times as often something is: `0.4`, `4.0`, `458`, `over 1,000`."""
    if ratio > _MANY:
        return f"over {_MANY:,}"
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:,.0f}"


def decision(said: Decision) -> str:
    """What somebody decided, when and why, as plain text: `a finding, says Ada (2026-11-29): clear in all bands`."""
    why = f": {characters.shown(said.reason.removesuffix('.'))}" if said.reason else ""
    return f"{DECISIONS[said.choice]}, says {characters.shown(said.who)} ({said.decided[:10]}){why}"


def decisions(said: Iterable[Decision], fingerprint: str) -> str:
    """What holds of what people decided of a feature, as a line of plain text; of another version of it, it says so."""
    return "; ".join(
        decision(one) + ("" if one.fingerprint == fingerprint else " [of an earlier version]") for one in latest(said)
    )


def verdict_means(verdict: Verdict, facts: Mapping[str, Any], partition: Partition | None = None) -> str:
    """What a verdict means by the rule of a run, of any feature or of a partition's; facts are those of its store."""
    if partition == "shared" and facts.get("rule") != "probes" and verdict in _OF_SHARED:
        return _OF_SHARED[verdict]
    by_probes = _BY_PROBES if facts.get("rule") == "probes" else {}
    return by_probes.get(verdict, VERDICT_HELP[verdict])


def acts(partition: Partition) -> str:
    """Where a feature of a partition may act."""
    return "may act in both models" if partition == "shared" else f"may act only in model {partition.upper()}"


def unjudged(facts: Mapping[str, Any], run_name: str) -> str:
    """Why a run without evidence has none, and what to do, as Markdown; facts are those of its store."""
    again = f"`python -m dfc verify {run_name}`"
    if facts.get("stale"):
        return f"The evidence that lies here is of another training's features and left out: {again}, then reload."
    running = "Overview shows how far it is if it runs already"
    return f"Not judged yet: {again} collects the evidence, then reload; {running}."


def asked(facts: Mapping[str, Any]) -> str:
    """What a run's verdicts rest on, as a sentence; facts are those of its store."""
    pieces = (
        "One rule asked of every feature whether the other model's activations predict it on documents kept out of "
        "training, whether another feature fires like it"
    )
    if facts.get("rule") == "probes":
        return f"{pieces.replace(', whether', ' and whether')}. How surprised the models are by the text was not asked."
    than = "as an earlier version of dfc measured it" if facts.get("outdated") else "than at places like it"
    return f"{pieces}, and whether what follows where it fires surprises the other model more {than}."


def told_apart(names: Mapping[Side, str], places: Mapping[Side, str]) -> dict[Side, str]:
    """What both models are called; where they are read is added if the names are the same."""
    if names["a"] != names["b"]:
        return {side: names[side] for side in SIDES}
    return {side: f"{names[side]} ({side.upper()}, {places[side]})" for side in SIDES}


def in_own_words(seen: Seen, side: Side, names: Mapping[Side, str]) -> str:
    """In how many continuations of its own model and of the other one a feature fires, without an end."""
    other = opposite(side)
    return (
        f"seen in its own words: {seen.own:,} of {seen.of_own:,} continuations that {names[side]} wrote, where "
        f"{seen.other:,} of {seen.of_other:,} of {names[other]}'s have it"
    )


def whose(partition: Partition, names: Mapping[Side, str]) -> str:
    """Which model may use the features of a partition."""
    return "may act in both" if partition == "shared" else f"may act only in {names[partition]}"
