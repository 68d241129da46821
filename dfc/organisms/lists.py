"""What is read first of a pair, by our findings and by simpler means, and at which place of it a quirk stands.

Every list is read entry by entry, and of each entry five texts. An entry of features holds the documents in which the
feature fires strongest; it is of a quirk if the quirk shows in three of them. Texts that are ranked themselves are read
five at a time; they have brought out a quirk as soon as three of those read so far show it, wherever they stood.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dfc.activations.documents import ROLES
from dfc.activations.loader import kept_rows
from dfc.activations.shards import ActivationStore
from dfc.config import EvidenceConfig
from dfc.corpus import Document
from dfc.evidence import surprise
from dfc.organisms.pair import OWN
from dfc.runs import Run
from dfc.screen import triage
from dfc.steering import stitch_file
from dfc.store.reader import FeatureQuery, Store

TEXTS, NEEDED = 5, 3
"""Texts of an entry that are read, and how many of them must show a quirk."""
LONGEST = 100
"""Entries of a list that are looked at."""
Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """A list.

    Attributes:
        entries: documents of each entry, by number, in the order in which they are read.
        features: of each entry; None where documents are ranked themselves.
        pool: all documents that were ranked, if they are.
    """

    entries: list[tuple[int, ...]]
    features: list[int] | None = None
    pool: frozenset[int] = frozenset()

    def rank(self, shows: Set[int]) -> int | None:
        """The place of the first entry by which a quirk is brought out, from 1; None if there is none."""
        seen = 0
        for rank, documents in enumerate(self.entries, start=1):
            here = sum(number in shows for number in documents)
            seen = seen + here if self.features is None else here
            if seen >= NEEDED:
                return rank
        return None

    def chance(self, shows: Set[int], entries: int) -> float:
        """How probable it is that a quirk is brought out by so many entries if documents are read in a random order.

        The tail of a hypergeometric distribution.
        """
        whole, quirky = len(self.pool), len(shows & self.pool)
        read = min(entries * TEXTS, whole)
        missed = sum(
            math.comb(quirky, some) * math.comb(whole - quirky, read - some) for some in range(min(NEEDED, read + 1))
        )
        return 1 - missed / math.comb(whole, read)


def findings(store: Store) -> Ranked:
    """The findings of model A, each by its best feature."""
    return _of_features(store, store.findings("a")["feature_id"].tolist())


def queue(run: Run, store: Store) -> Ranked:
    """A's part of the queue of the page Screen, each by its best feature, with flags as `dfc screen` finds them."""
    queued = (one.subject for one in triage.screened(run))
    return _of_features(store, [one.feature_id for one in queued if one.side == "a"])


def dedicated(store: Store) -> Ranked:
    """A's dedicated features, those first that keep most to one source.

    The paper reads these; it sorts them by a judge's score of what steering does, for which there is no judge here.
    """
    query = FeatureQuery(partitions=("a",), order="specificity", limit=LONGEST)
    return _of_features(store, store.features(query)["feature_id"].tolist())


def norms(store: Store) -> Ranked:
    """Shared features by their relative decoder norm, A's first: of dedicated ones it is 1 by construction."""
    query = FeatureQuery(partitions=("shared",), order="relative_norm", limit=LONGEST)
    return _of_features(store, store.features(query)["feature_id"].tolist())


def perplexities(run: Run, documents: Sequence[Document], config: EvidenceConfig) -> Ranked:
    """A's own answers, those first that surprise B most beyond A (perplexity differencing, arXiv 2605.00994).

    In nats a character of the answer, since the models' tokens differ.
    """
    store, role = ActivationStore(run.activations), ROLES.index("assistant")
    own = {number for number, document in enumerate(documents) if document.source == OWN}
    sums = np.zeros((len(documents), 2))
    for shard in range(len(store)):
        rows = store.rows(shard)
        ahead = surprise.ahead(store, shard, rows, config.surprise_pairs, config.surprise_window).numpy()
        chosen = (rows.role == role) & np.isfinite(ahead[:, 0])
        np.add.at(sums, rows.document[chosen], ahead[chosen])
    measured = [number for number in sorted(own) if sums[number, 1] > 0]
    return _of_texts(measured, sums[measured, 0] / sums[measured, 1])


def means(run: Run) -> Ranked:
    """Documents by how far A's mean activation lies from what the stitch makes of B's.

    By ‖m_A − M m_B − c‖ √n for the means over a document's n pairs, c that of all pairs, in A's scaled stream: without
    √n the shortest documents would come first.
    """
    store, carrier = ActivationStore(run.activations), stitch_file.load(run, "b")
    split = [store.manifest.a.width, store.manifest.b.width]
    number, total = [], []
    for shard in range(len(store)):
        kept = kept_rows(store, shard)
        a, b = kept.x.split(split, dim=1)
        beyond = a - b @ carrier.matrix.T.to(b)
        which, place, count = torch.unique(kept.document, return_inverse=True, return_counts=True)
        sums = torch.zeros(len(which), split[0]).index_add_(0, place, beyond)
        number.append(which)
        total.append(torch.cat([sums, count[:, None].float()], dim=1))
    sums, document = torch.cat(total), torch.cat(number)
    centre = sums[:, :-1].sum(0) / sums[:, -1].sum()
    apart = (sums[:, :-1] / sums[:, -1:] - centre).norm(dim=1) * sums[:, -1].sqrt()
    return _of_texts(document.tolist(), apart.double().numpy())


def _of_features(store: Store, features: Sequence[int]) -> Ranked:
    return Ranked([tuple(_strongest(store, feature)) for feature in features[:LONGEST]], list(features[:LONGEST]))


def _strongest(store: Store, feature: int) -> Iterator[int]:
    """The documents in which a feature fires strongest, as many as are read."""
    top = [context for context in store.contexts(feature) if context.band == 0]
    for context in sorted(top, key=lambda context: context.rank)[:TEXTS]:
        yield context.document


def _of_texts(documents: Sequence[int], score: Numbers) -> Ranked:
    order = np.argsort(-score, kind="stable")[: LONGEST * TEXTS]
    ranked = [documents[place] for place in order.tolist()]
    return Ranked([tuple(ranked[at : at + TEXTS]) for at in range(0, len(ranked), TEXTS)], pool=frozenset(documents))
