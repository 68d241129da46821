"""Themes: the findings of both models in groups by what they are about, each named from distinctive words.

A name is of words that stand around the peaks of a theme's findings more often than around those of all others. As a
feature's label it is given only if these words tell further contexts of the theme, in documents from which no word was
taken, from contexts of the other findings. Where none do, a theme is called as its most central finding with a
label is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dfc.config import SIDES, Side, characters
from dfc.features import labels
from dfc.features.passages import Corpus, Stretch
from dfc.report import findings
from dfc.report.findings import Finding
from dfc.screen import clusters
from dfc.store.reader import Context, Store

_CONTEXTS = 6_000  # that are read, at most: the strongest ones of each finding's best feature
_LEAST = 3  # of each all the same
_APART = 3  # of so many documents one is not looked at when words are chosen
_SOURCES = 3  # that are named


@dataclass(frozen=True)
class Theme:
    """Findings that are about the same.

    Attributes:
        findings: the most central first: those that come nearest to the theme's middle.
        likeness: how near they come to it, the mean cosine.
        words: distinctive ones, ` · ` between them; empty where none tell the theme from the rest.
        auroc: how well they do; None without.
    """

    findings: tuple[Finding, ...]
    likeness: float
    words: str
    auroc: float | None

    @property
    def key(self) -> int:
        """By which it is known: the number of its most central finding."""
        return self.findings[0].finding

    @property
    def name(self) -> str:
        """What it is called: its words, or else the label of its most central finding that has one; empty without."""
        return self.words or next((one.label for one in self.findings if one.label), "")

    @property
    def named_by(self) -> str:
        """Where the name comes from, in words."""
        if self.words:
            return f"named by distinctive words, AUROC {self.auroc:.2f}"
        if not self.name:
            return "no words tell it from the rest, and none of its findings has a label"
        which = "" if self.findings[0].label else " that has a label"
        return f"named by its most central finding{which}"

    def of(self, side: Side) -> int:
        """How many of its findings are a model's."""
        return sum(one.side == side for one in self.findings)

    def counted(self, names: Mapping[Side, str]) -> str:
        """How many findings of each model it holds: `31 of Gemma's findings, 4 of SmolLM2's`, the most first."""
        held = sorted(((self.of(side), side) for side in SIDES if self.of(side)), key=lambda one: (-one[0], one[1]))
        first, *others = (f"{count:,} of {names[side]}'s" for count, side in held)
        return ", ".join([f"{first} findings", *others])

    @property
    def sources(self) -> str:
        """On which sources its findings are densest: `peoples_daily (28), books (2)`."""
        counted = Counter(characters.shown(one.main_source) for one in self.findings).most_common()
        named = [f"{source} ({number})" for source, number in counted[:_SOURCES]]
        rest = counted[_SOURCES:]
        return ", ".join(named + ([f"{len(rest)} others ({sum(number for _, number in rest)})"] if rest else []))


@dataclass(frozen=True)
class Themes:
    """The findings of a run by theme.

    Attributes:
        themes: the largest first.
        silhouette: how clearly they are apart, −1 to 1; NaN where there is one.
        places: of each finding in the picture, by its number.
        variance: share of the vectors' variance that the picture keeps; NaN where there is none.
        near: share of each finding's nearest five that are among its nearest five in the picture; NaN of a few.
        without: findings whose best feature has no context, of which nothing is known; they are in no theme.
    """

    themes: tuple[Theme, ...]
    silhouette: float
    places: Mapping[int, tuple[float, float]]
    variance: float
    near: float
    without: tuple[Finding, ...]

    @cached_property
    def of_finding(self) -> Mapping[int, Theme]:
        """The theme of each finding, by its number."""
        return {one.finding: theme for theme in self.themes for one in theme.findings}


def of(store: Store, number: int | None = None) -> Themes | None:
    """The themes of a run's findings; None where what its features mean was not read.

    Args:
        store: of the run.
        number: how many themes; None: as many as are most clearly apart.

    Raises:
        UserError: if the store cannot be read.
    """
    if not store.meaning():
        return None
    found = findings.of(store)
    numbers, vectors = store.meanings([one.feature_id for one in found])
    rank = {feature: place for place, feature in enumerate(numbers)}
    known = [one for one in found if one.feature_id in rank]
    vectors = vectors[[rank[one.feature_id] for one in known]]
    grouped, picture = clusters.grouped(vectors, number), clusters.picture(vectors)
    middles = [vectors[grouped.of == group].sum(axis=0) for group in range(int(grouped.of.max(initial=-1)) + 1)]
    middles = [middle / max(float(np.linalg.norm(middle)), 1e-9) for middle in middles]
    likeness = [float(vector @ middles[group]) for vector, group in zip(vectors, grouped.of.tolist(), strict=True)]
    members = [
        sorted(np.flatnonzero(grouped.of == group).tolist(), key=lambda place: (-likeness[place], place))
        for group in range(len(middles))
    ]
    of_theme = [tuple(known[place] for place in places) for places in members]
    named = _named(store, of_theme)
    made = (
        Theme(own, float(np.mean([likeness[place] for place in places])), *name)
        for own, places, name in zip(of_theme, members, named, strict=True)
    )
    places = {one.finding: (float(x), float(y)) for one, (x, y) in zip(known, picture.places, strict=True)}
    without = tuple(one for one in found if one.feature_id not in rank)
    return Themes(tuple(made), grouped.silhouette, places, picture.variance, picture.near, without)


def picture_in_words(themes: Themes) -> str:
    """How much of what is meant the picture keeps, as sentences; empty where there is no picture."""
    if not np.isfinite(themes.variance):
        return ""
    kept = f"The picture keeps {100 * themes.variance:.0f} % of the variance of {len(themes.places):,} vectors"
    if not np.isfinite(themes.near):
        return f"{kept}."
    return (
        f"{kept}; of the five findings nearest to one in meaning, {100 * themes.near:.0f} % are among the five nearest "
        "to it there. What lies apart there is apart; what lies together need not be alike."
    )


def apart_in_words(themes: Themes) -> str:
    """How clearly the themes are apart, and what is in none, as sentences."""
    left_out = len(themes.without)
    said = []
    if np.isfinite(themes.silhouette):
        said.append(
            f"{len(themes.themes)} themes, by Ward's linkage; mean silhouette {themes.silhouette:.2f}: 1 where each is "
            "apart from all others, 0 where they run into each other."
        )
    if left_out:
        said.append(f"{left_out:,} {'finding has' if left_out == 1 else 'findings have'} no context, and no theme.")
    return " ".join(said)


def _named(store: Store, of_theme: Sequence[Sequence[Finding]]) -> list[tuple[str, float | None]]:
    """Distinctive words of each theme, and how well they tell it from the others."""
    features = [one.feature_id for own in of_theme for one in own]
    kept = store.first_contexts(features, max(_LEAST, _CONTEXTS // max(1, len(features))))
    read: tuple[list[int], list[Stretch]] = ([], [])
    apart: tuple[list[int], list[Stretch]] = ([], [])
    for theme, own in enumerate(of_theme):
        seen: set[int] = set()  # a document in which several of them fire counts once
        for one in own:
            for context in kept.get(one.feature_id, ()):
                if context.document not in seen:
                    seen.add(context.document)
                    owners, stretches = read if context.document % _APART else apart
                    owners.append(theme)
                    stretches.append(_around(context, one.side))
    if not read[0]:
        return [("", None)] * len(of_theme)
    of_read, tested = np.array(read[0], np.int64), np.array(apart[0], np.int64)
    words = Corpus(of_read, read[1], [], tested, apart[1], places=apart[1], owners=tested)
    texts, auroc = labels.of_groups(words, len(of_theme))
    return [
        (text, figure) if text and len(own) > 1 else ("", None)  # one finding has a label of its own
        for text, figure, own in zip(texts, auroc.tolist(), of_theme, strict=True)
    ]


def _around(context: Context, side: Side) -> Stretch:
    """The text around a context's peak, as one model's tokens cut it."""
    tokens, peak = (context.tokens_a, context.peak_a) if side == "a" else (context.tokens_b, context.peak_b)
    begin = len("".join(tokens[:peak]))
    return Stretch("".join(tokens), begin, begin + len(tokens[peak]))
