"""What taking a feature away does to what models say next, text by text, as figures and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from dfc.config import SIDES, Side, opposite
from dfc.report import bootstrap
from dfc.report.bootstrap import Figure, Numbers
from dfc.report.words import numeral
from dfc.store.effects import beside_store
from dfc.store.reader import Store

FEW = 5
"""With fewer texts nothing is said of how alike two models are."""


@dataclass(frozen=True)
class Effect:
    """What taking a feature away does to one model; figures are nats a token, means over texts.

    Attributes:
        side: the model.
        texts, held_out: how many, and how many of them were kept out of training.
        own, random: KL without the feature, and without a random direction of equal length at the same tokens.
        beyond: by how much the first exceeds the second.
        times: how often the second goes into the first.
    """

    side: Side
    texts: int
    held_out: int
    own: Figure
    random: Figure
    beyond: Figure
    times: Figure

    @property
    def sure(self) -> bool:
        """Whether it does more than a random direction."""
        return self.beyond.low > 0


@dataclass(frozen=True)
class Agreement:
    """Whether it does much in both models on the same texts.

    Attributes:
        texts: in both.
        rank, linear: Spearman's and Pearson's correlation of both models' KL over texts.
        random_rank, random_linear: the same of random directions: they share the texts, and how strongly it fires.
        beyond: Spearman's less that of random directions.
    """

    texts: int
    rank: Figure
    linear: Figure
    random_rank: Figure
    random_linear: Figure
    beyond: Figure


@dataclass(frozen=True)
class Causal:
    """The causal check of one feature; `agreement` is None where one model alone has a vector, or texts are few."""

    effects: tuple[Effect, ...]
    agreement: Agreement | None = None

    def of(self, side: Side) -> Effect | None:
        """What it does to one model."""
        return next((one for one in self.effects if one.side == side), None)

    def plain(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def kept(store: Store, features: Sequence[int]) -> dict[int, Causal]:
    """The causal check of those of these features of which it is kept.

    Raises:
        UserError: if the file is damaged, or another process does not let go of it.
    """
    effects = beside_store(store.path)
    if not features or effects is None:
        return {}
    rows = effects.ablations(store.fingerprints(features))
    return {int(str(feature)): of(mine) for feature, mine in rows.groupby("feature_id")}


def of(rows: pd.DataFrame) -> Causal:
    """The check of one feature, of rows as `EffectStore.ablations` gives them."""
    by_side: dict[Side, pd.DataFrame] = {
        side: mine.set_index("document") for side in SIDES if len(mine := rows[rows["side"] == side])
    }
    effects = tuple(_effect(side, mine) for side, mine in by_side.items())
    agreement = None
    if len(by_side) == 2:
        both = by_side["a"].merge(by_side["b"], left_index=True, right_index=True, suffixes=("_a", "_b"))
        agreement = _agreement(both) if len(both) >= FEW else None
    return Causal(effects, agreement)


def _effect(side: Side, rows: pd.DataFrame) -> Effect:
    own, random = _column(rows, "kl"), _column(rows, "random")
    return Effect(
        side,
        len(rows),
        int(rows["held_out"].sum()),
        bootstrap.figure(bootstrap.mean, own),
        bootstrap.figure(bootstrap.mean, random),
        bootstrap.figure(bootstrap.mean, own - random),
        bootstrap.figure(bootstrap.ratio, own, random),
    )


def _agreement(both: pd.DataFrame) -> Agreement:
    own = _column(both, "kl_a"), _column(both, "kl_b")
    random = _column(both, "random_a"), _column(both, "random_b")
    return Agreement(
        len(both),
        bootstrap.figure(bootstrap.rank_correlation, *own),
        bootstrap.figure(bootstrap.correlation, *own),
        bootstrap.figure(bootstrap.rank_correlation, *random),
        bootstrap.figure(bootstrap.correlation, *random),
        bootstrap.figure(_beyond, *own, *random),
    )


def _beyond(own_a: Numbers, own_b: Numbers, random_a: Numbers, random_b: Numbers) -> Numbers:
    return bootstrap.rank_correlation(own_a, own_b) - bootstrap.rank_correlation(random_a, random_b)


def _column(rows: pd.DataFrame, name: str) -> Numbers:
    return rows[name].to_numpy(dtype="float64")


def sentence(causal: Causal, names: Mapping[Side, str]) -> str:
    """The check in one sentence."""
    told = "; ".join(
        f"{names[one.side]} changes by {nats(one.own.value)} nats a token, by {nats(one.random.value)} without a "
        f"random direction as long"
        for one in causal.effects
    )
    texts = " and ".join(dict.fromkeys(f"{one.texts} ({one.held_out} held out)" for one in causal.effects))
    alike = ""
    if (found := causal.agreement) is not None:
        alike = (
            f"; over texts the two correlate by {between(found.rank)} in ranks and "
            f"{numeral(found.linear.value, '.2f')} plainly, random directions by "
            f"{numeral(found.random_rank.value, '.2f')}"
        )
    return f"Without it, on {texts} texts, {told}{alike}."


def weigh(causal: Causal, own: Side, names: Mapping[Side, str], good: list[str], bad: list[str]) -> None:
    """Add what speaks for a feature's being one that only its own model has, and what against."""
    other = opposite(own)
    if (mine := causal.of(own)) is not None:
        (good if mine.sure else bad).append(_does(mine, names[own]))
    if (theirs := causal.of(other)) is not None:
        (bad if theirs.sure else good).append(_does(theirs, names[other]))
    if (found := causal.agreement) is None:
        return
    against = f"{between(found.rank)} against {numeral(found.random_rank.value, '.2f')}"
    if found.beyond.low > 0:
        bad.append(f"Without it both change on the same texts, more than without random directions: {against}.")
    elif found.beyond.high < 0:
        good.append(f"Without it they change on other texts than each other, by random directions' measure: {against}.")


def _does(one: Effect, name: str) -> str:
    times = f"{one.times.value:.1f} times ({one.times.low:.1f} to {one.times.high:.1f})"
    what = "changes more than" if one.sure else "does not surely change more than"
    return f"Without it {name} {what} without a random direction: {times} as much."


def nats(value: float) -> str:
    """With two significant digits."""
    return f"{value:.2g}" if value >= 1e-4 else f"{value:.0e}" if value > 0 else "0"


def between(one: Figure) -> str:
    """A correlation with its interval."""
    return f"{numeral(one.value, '.2f')} ({numeral(one.low, '.2f')} to {numeral(one.high, '.2f')})"
