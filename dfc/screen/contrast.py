"""Which features tell two sets of prompts apart: AUROC with its interval, and how probable it is by chance.

Numbers alone, of any score of prompts. Prompts are taken as independent: where some say nearly the same, each counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from dfc.evidence.findings import false_discovery

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LEAST_FIRINGS = 5
"""Prompts of both sets on which a feature must fire to be tested; with fewer hardly any could pass, and which they are
says nothing about the sets (R. E. Tarone, Biometrics 46, 1990)."""
_Z = 1.959964  # of a normal deviate, for 95 %
_HALVINGS = 50
_BLOCK = 1_024  # features ranked at once


@dataclass(frozen=True, eq=False)
class Scores:
    """What fires on prompts: an entry for each feature that fires on a prompt, others being 0.

    Attributes:
        prompts: how many there are.
        prompt, feature, value: of each entry, (entries,).
    """

    prompts: int
    prompt: Ints
    feature: Ints
    value: Floats

    def dense(self, first: int, stop: int) -> Floats:
        """Of the features from `first` to before `stop`, (prompts, features)."""
        mine = (self.feature >= first) & (self.feature < stop)
        values = np.zeros((self.prompts, stop - first))
        values[self.prompt[mine], self.feature[mine] - first] = self.value[mine]
        return values


def contrast(first: Scores, second: Scores, features: int) -> pd.DataFrame:
    """The features that fire on enough prompts to be tested.

    Args:
        first, second: two prompts at least in each.
        features: of the dictionary.

    Returns:
        feature_id; first, second: prompts of each set on which it fires; auroc, low, high, p as of `separation`; shift:
        by how much its mean score is higher on the first set, in units of its highest score; q: the least rate of false
        discoveries at which it passes, among all that were tested (Benjamini and Hochberg).
    """
    parts = []
    for start in range(0, features, _BLOCK):
        stop = min(start + _BLOCK, features)
        a, b = first.dense(start, stop), second.dense(start, stop)
        fires = (a > 0).sum(axis=0), (b > 0).sum(axis=0)
        tested = np.flatnonzero(fires[0] + fires[1] >= LEAST_FIRINGS)
        counts = {"feature_id": start + tested, "first": fires[0][tested], "second": fires[1][tested]}
        a, b = a[:, tested], b[:, tested]
        shift = (a.mean(axis=0) - b.mean(axis=0)) / np.maximum(a.max(axis=0), b.max(axis=0))
        parts.append(pd.DataFrame(counts).join(separation(a, b)).assign(shift=shift))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(q=false_discovery(table["p"].to_numpy()))


def separation(first: Floats, second: Floats) -> pd.DataFrame:
    """How far scores tell two sets apart, a row a score.

    Args:
        first, second: (prompts, scores), two prompts at least in each.

    Returns:
        auroc: how often a prompt of the first set has the higher score than one of the second, ties counting half;
        low, high: its interval of 95 %, see `interval`;
        p: how probable it would be to lie so far from ½ if the sets did not differ, see `chance`.
    """
    m, n = len(first), len(second)
    ranks = pd.DataFrame(np.concatenate([first, second])).rank().to_numpy()  # ties share their mean rank
    auroc = (ranks[:m].sum(axis=0) - m * (m + 1) / 2) / (m * n)
    low, high = interval(auroc, m, n)
    return pd.DataFrame({"auroc": auroc, "low": low, "high": high, "p": chance(ranks, m)})


def interval(auroc: Floats, first: int, second: int) -> tuple[Floats, Floats]:
    """The interval of 95 % of an AUROC found on so many prompts of each set.

    All θ whose standard error, after J. A. Hanley and B. J. McNeil (Radiology 143, 1982), reaches to what was found:
    (θ − found)² ≤ z² θ (1 − θ) (1 + N (1 − θ) / (2 − θ) + N θ / (1 + θ)) / (m n), N = (m + n) / 2 − 1. This is method 5
    of R. G. Newcombe (Stat. Med. 25, 2006, p. 559). Where the sets are apart altogether, the interval has a width all
    the same, which those of DeLong or a bootstrap have not; with many ties it is wider than need be.
    """
    within = (first + second) / 2 - 1

    def end(of: Floats) -> Floats:
        inside, outside = auroc.copy(), of
        for _ in range(_HALVINGS):
            middle = (inside + outside) / 2
            spread = 1 + within * ((1 - middle) / (2 - middle) + middle / (1 + middle))
            reached = (middle - auroc) ** 2 <= _Z**2 * middle * (1 - middle) * spread / (first * second)
            inside, outside = np.where(reached, middle, inside), np.where(reached, outside, middle)
        return inside

    return end(np.zeros_like(auroc)), end(np.ones_like(auroc))


def chance(ranks: Floats, first: int) -> Floats:
    """Two-sided p-values of Mann and Whitney's test, (scores,).

    From the normal deviate of the sum of ranks, whose variance under exchange of prompts between the sets,
    m n Σ(r − mean)² / (N (N − 1)), takes ties into account. Never less than 2 / (N over m), what the two most extreme
    of all divisions of the prompts have.

    Args:
        ranks: of all prompts, those of the first set before those of the second, (prompts, scores).
        first: how many the first set has.
    """
    total = len(ranks)
    away = ranks[:first].mean(axis=0) - ranks.mean(axis=0)
    variance = ranks.var(axis=0, ddof=1) * (total - first) / (first * total)
    z = np.abs(away) / np.sqrt(np.where(variance > 0, variance, 1.0))
    by_chance = torch.erfc(torch.from_numpy(z / math.sqrt(2))).numpy()
    return np.maximum(by_chance, min(1.0, 2 / math.comb(total, first)))
