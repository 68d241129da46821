"""BatchTopK and the sparse arithmetic around it.

Of a batch's pre-activations only k per row stay. Dense products find them, block by block of
features, so that no batch × dictionary tensor ever exists; all that follows, the
reconstruction and every weight's gradient, touches the active entries alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from dfc.machine.processes import ALONE, Group

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


@dataclass(frozen=True)
class Entries:
    """Non-zero activations of a batch, sorted by row.

    Attributes:
        rows, columns: place of each entry, (entries,).
        values: activations, (entries,), all > 0.
        scores: what they are ranked by, (entries,).
    """

    rows: Tensor
    columns: Tensor
    values: Tensor
    scores: Tensor

    def take(self, chosen: Tensor) -> Entries:
        """Those that a mask or an index chooses."""
        return Entries(self.rows[chosen], self.columns[chosen], self.values[chosen], self.scores[chosen])


def reaching(blocks: Iterable[tuple[int, Tensor, Tensor]], bound: float) -> Entries:
    """All positive entries whose score reaches a bound.

    Args:
        blocks: (first column, activations, scores), both (rows, columns), each used before the next is asked for.
        bound: least score.
    """
    parts: list[Entries] = []
    for first, activations, scores in blocks:
        rows, columns = (scores >= bound if bound > 0 else scores > 0).nonzero(as_tuple=True)
        parts.append(Entries(rows, columns + first, activations[rows, columns], scores[rows, columns]))
    merged = Entries(*(torch.cat([getattr(part, name) for part in parts]) for name in Entries.__annotations__))
    return merged if len(parts) == 1 else merged.take(argsort(merged.rows))


def exactly(candidates: Sequence[Entries], k: int, group: Group = ALONE) -> tuple[list[Entries], Tensor]:
    """The k entries with the largest scores of all candidates together, exactly k even among ties.

    Args:
        candidates: of this process, part by part.
        k: how many of all processes' candidates.
        group: the processes.

    Returns:
        This process's, part by part as the candidates came, and the smallest score of all; with fewer than k
        candidates, all and 0: nothing positive was left out.
    """
    everywhere = group.gather(torch.cat([part.scores for part in candidates]))
    scores = torch.cat(everywhere)
    if len(scores) < k:
        return list(candidates), scores.new_zeros(())
    threshold = scores.kthvalue(len(scores) - k + 1).values
    chosen = scores > threshold
    ties = (scores == threshold).nonzero()[:, 0]
    chosen[ties[: k - int(chosen.sum())]] = True
    own = chosen.split([len(scores) for scores in everywhere])[group.rank]
    masks = own.split([len(part.scores) for part in candidates])
    return [part.take(mask.nonzero()[:, 0]) for part, mask in zip(candidates, masks, strict=True)], threshold


def argsort(numbers: Tensor) -> Tensor:
    """Stable order of whole numbers ≥ 0; on a CPU numpy merges sorted runs, and sorts 16 bits, much faster."""
    if numbers.device.type == "cpu":
        whole = numbers.numpy()
        short = whole.astype(np.uint16) if whole.max(initial=0) < 1 << 16 else whole
        return torch.from_numpy(np.argsort(short, kind="stable"))
    return torch.argsort(numbers, stable=True)


def largest_in_each_row(blocks: Iterable[tuple[Tensor, Tensor]], k: int, x: Tensor, group: Group = ALONE) -> Entries:
    """The k largest positive activations of each row (AuxK's choice among dead features).

    Args:
        blocks: (columns, activations), (some,) and (rows, some), each used before the next is asked for.
        k: how many of each row, of all processes' activations.
        x: what the rows are of, (rows, …).
        group: the processes, which have the same rows.

    Returns:
        This process's.
    """
    best = x.new_zeros(len(x), 0)
    where = torch.zeros(len(x), 0, dtype=torch.long, device=x.device)
    for columns, activations in blocks:
        candidates = torch.cat([best, activations], dim=1)
        origins = torch.cat([where, columns.expand(len(x), -1)], dim=1)
        best, place = candidates.topk(min(k, candidates.shape[1]), dim=1)
        where = origins.gather(1, place)
    if group.size > 1:  # ties are broken alike in all, since each looks at the same numbers
        everywhere = [values.view(len(x), -1) for values in group.gather(best.flatten())]
        strongest = torch.cat(everywhere, dim=1)
        places = strongest.topk(min(k, strongest.shape[1]), dim=1).indices
        chosen = torch.zeros_like(strongest, dtype=torch.bool).scatter(1, places, True)
        best = best * chosen.split([values.shape[1] for values in everywhere], dim=1)[group.rank]
    positive = best > 0
    return Entries(positive.nonzero()[:, 0], where[positive], best[positive], best[positive])


def weighted_sums(rows: Tensor, columns: Tensor, weights: Tensor, vectors: Tensor, count: int) -> Tensor:
    """Σ weight · vectors[column] over the entries of each row, (count, width).

    Args:
        rows: increasing row numbers, (entries,).
        columns: (entries,), into `vectors`.
        weights: (entries,).
        vectors: (…, width).
        count: number of rows, those without entries included.
    """
    if not len(rows):
        return vectors.new_zeros(count, vectors.shape[1])
    starts = torch.searchsorted(rows, torch.arange(count, device=rows.device))
    return embedding_bag(columns, vectors, starts, mode="sum", per_sample_weights=weights)


def products(rows: Tensor, columns: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """⟨left[r], right[c]⟩ for each entry (r, c), (entries,), without gathering either; row numbers increase."""
    starts = torch.searchsorted(rows, torch.arange(len(left) + 1, device=left.device))
    pattern = torch.sparse_csr_tensor(
        starts, columns, left.new_zeros(len(columns)), (len(left), len(right)), check_invariants=False
    )
    return torch.sparse.sampled_addmm(pattern, left, right.t()).values()
