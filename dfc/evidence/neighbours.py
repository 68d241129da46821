"""Features whose decoder vectors point the same way, within a model and across the stitch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dfc.config import SIDES
from dfc.crosscoder.model import Crosscoder
from dfc.evidence.pieces import Piece
from dfc.evidence.stitch import Stitch

_BLOCK_BYTES = 128 << 20


def piece(crosscoder: Crosscoder) -> Piece:
    """`decoder_cosine` and `encoder_cosine`."""
    return Piece(
        lambda found: {
            "decoder_cosine": decoder_cosine(crosscoder, found.stitch),
            "encoder_cosine": encoder_cosine(crosscoder, found.stitch),
        }
    )


@torch.no_grad()
def nearest(crosscoder: Crosscoder, stitch: Stitch, alive: Tensor, count: int) -> pa.Table:
    """The table `neighbours`: for each alive feature the alive ones with the largest decoder cosine.

    Args:
        crosscoder: whose features these are.
        stitch: carries a feature's vector into the other model's space.
        alive: which features fire, (features,).
        count: how many of each kind: within a model (`a`, `b`), and carried (`a_to_b`, `b_to_a`).
    """
    pieces = []
    for side, other in zip(SIDES, reversed(SIDES), strict=True):
        ids, vectors = _alive(*crosscoder.decoder_vectors(side), alive)
        there, targets = _alive(*crosscoder.decoder_vectors(other), alive)
        pieces += list(_tables(side, ids, vectors, ids, vectors, count))
        pieces += list(_tables(f"{side}_to_{other}", ids, stitch.carry(vectors, side), there, targets, count))
    return pa.concat_tables(pieces).sort_by([("feature_id", "ascending"), ("kind", "ascending")])


@torch.no_grad()
def decoder_cosine(crosscoder: Crosscoder, stitch: Stitch) -> npt.NDArray[np.float64]:
    """Cosine of a shared feature's two decoder vectors, (features,), NaN for exclusive ones.

    They are compared in B's space and in A's, and the mean is given, so that exchanging the models changes nothing.
    """
    result = np.full(crosscoder.config.features, np.nan)
    for part in crosscoder.parts:
        if part.partition == "shared":
            a, b = part.decoder[:, part.of_side("a")], part.decoder[:, part.of_side("b")]
            in_b = torch.cosine_similarity(stitch.carry(a, "a"), b)
            in_a = torch.cosine_similarity(a, stitch.carry(b, "b"))
            result[part.first_id : part.first_id + len(part)] = ((in_a + in_b) / 2).numpy()
    return result


@torch.no_grad()
def encoder_cosine(crosscoder: Crosscoder, stitch: Stitch) -> npt.NDArray[np.float64]:
    """The same of its two encoder vectors.

    An encoder reads: e_b · x_b is, where x_b = M_ab x_a, (M_abᵀ e_b) · x_a. So that stands beside e_a, and likewise in
    B's space.
    """
    result = np.full(crosscoder.config.features, np.nan)
    for part in crosscoder.parts:
        if part.partition == "shared":
            a, b = part.encoder[:, part.of_side("a")], part.encoder[:, part.of_side("b")]
            in_a = torch.cosine_similarity(a, b @ stitch.a_to_b.to(b))
            in_b = torch.cosine_similarity(a @ stitch.b_to_a.to(a), b)
            result[part.first_id : part.first_id + len(part)] = ((in_a + in_b) / 2).numpy()
    return result


def _alive(ids: Tensor, vectors: Tensor, alive: Tensor) -> tuple[Tensor, Tensor]:
    return ids[alive[ids]], vectors[alive[ids]]


def _tables(
    kind: str, ids: Tensor, vectors: Tensor, other_ids: Tensor, others: Tensor, count: int
) -> Iterator[pa.Table]:
    """The nearest others of each vector, itself left out, the most similar first."""
    vectors, others = normalize(vectors), normalize(others)
    at_once = max(1, _BLOCK_BYTES // (4 * max(1, len(others))))
    for own, block in zip(ids.split(at_once), vectors.split(at_once), strict=True):
        cosines = block @ others.T
        cosines[own[:, None] == other_ids] = -torch.inf
        values, places = cosines.topk(min(count, len(others)), dim=1)
        feature, rank = values.isfinite().nonzero(as_tuple=True)
        yield pa.table(
            {
                "feature_id": own[feature].numpy(),
                "other_id": other_ids[places[feature, rank]].numpy(),
                "kind": pa.array([kind] * len(feature), pa.string()),
                "similarity": values[feature, rank].numpy(),
            }
        )
