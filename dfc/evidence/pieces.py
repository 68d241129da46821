"""What a piece of evidence is: it may look at every row on the way, and ends with named columns, a number a feature.

`verify.PIECES` lists those that there are, in an order in which each finds the columns it needs. What a column means
stands in dfc/store/columns.py, under its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dfc.config import EvidenceConfig
from dfc.crosscoder.model import Crosscoder
from dfc.evidence import stitch
from dfc.evidence.moments import Collected, Observer
from dfc.evidence.stitch import Stitch

Numbers = npt.NDArray[np.float64]
Columns = Mapping[str, npt.NDArray[np.generic]]
"""Values by column, (features,): NaN, or a negative id, where it does not apply."""


@dataclass(frozen=True)
class Piece:
    """One kind of evidence, ready for one pass over the rows.

    Attributes:
        columns: what it ends with, from all that is found; asked for in the first process alone.
        observer: is shown every batch of rows; None: it needs no more than what all share.
    """

    columns: Callable[[Found], Columns]
    observer: Observer | None = None


@dataclass(frozen=True)
class Profiles:
    """How much of each feature's firing, as far as its surprise gap was measured, lies in each passage.

    One entry for each feature and passage in which it fires, in the order of features.

    Attributes:
        feature, passage: (entries,).
        weight: Σ activation · characters that follow, (entries,).
        beyond: Σ activation · nats beyond what is expected, in favour of model A, (entries,).
        document: of each passage, (passages,).
        characters: Σ characters that follow, over all rows of each passage, (passages,).
    """

    feature: npt.NDArray[np.int64]
    passage: npt.NDArray[np.int64]
    weight: Numbers
    beyond: Numbers
    document: npt.NDArray[np.int64]
    characters: Numbers


@dataclass
class Found:
    """What pieces are worked out from.

    Attributes:
        crosscoder, config: whose features are judged, and by which settings.
        collected: sums over all rows.
        columns: of the pieces before.
        profiles: in which passages each feature fires, once the surprise gaps are known.
        tables: that pieces leave beside the columns, by name.
    """

    crosscoder: Crosscoder
    config: EvidenceConfig
    collected: Collected
    columns: dict[str, npt.NDArray[np.generic]] = field(default_factory=dict)
    profiles: Profiles | None = None
    tables: dict[str, pa.Table] = field(default_factory=dict)

    @cached_property
    def partitions(self) -> npt.NDArray[np.str_]:
        """Of each feature, (features,)."""
        return np.array(self.crosscoder.partitions())

    @cached_property
    def stitch(self) -> Stitch:
        """The maps between the two streams."""
        config = self.config
        return stitch.fit(self.collected.train, config.ridge, config.inversion, config.rounds)

    @property
    def of_a(self) -> npt.NDArray[np.bool_]:
        """Whether model A is the one that a feature is held to be of, (features,).

        Of a shared feature, that from which it is predicted better; known once the probes are.
        """
        better = self.numbers("probe_r2_a") >= self.numbers("probe_r2_b")
        return (self.partitions == "a") | ((self.partitions == "shared") & better)

    def numbers(self, name: str) -> Numbers:
        """A column of the pieces before."""
        return self.columns[name].astype(np.float64)

    def own_first(self, a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
        """Numbers of model A and of model B, as those of a feature's own model and of the other."""
        return np.where(self.of_a, a, b), np.where(self.of_a, b, a)
