"""Latent scaling: how much of a feature stands in either model's activations.

Minder, Dumas et al., "Overcoming Sparsity Artifacts in Crosscoders" (arXiv 2504.02922): with
β = argmin Σ‖Y − β f d‖² = Σ f ⟨Y, d⟩ / (Σ f² ‖d‖²), ν is β in the other model over β in its own.
There both models share a space; here the decoder vector goes through the stitch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc.config import opposite
from dfc.crosscoder.model import Crosscoder
from dfc.evidence.moments import Collected
from dfc.evidence.pieces import Columns, Found, Piece
from dfc.evidence.stitch import Stitch

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scaling:
    """ν of every exclusive feature, (features,); NaN for shared features and where a feature never fires.

    Attributes:
        epsilon: of what neither reconstruction explains, in its own model with the feature added back. Near 1: the
            other model has the feature and the dictionary did not give it one (complete shrinkage).
        reconstruction: of the reconstructions less the decoder bias, which no feature writes. Near 1: other features
            stand in for it in the other model (latent decoupling).
    """

    epsilon: Numbers
    reconstruction: Numbers


def piece(crosscoder: Crosscoder) -> Piece:
    """`nu_epsilon` and `nu_r`."""

    def columns(found: Found) -> Columns:
        scaled = scale(crosscoder, found.collected, found.stitch)
        return {"nu_epsilon": scaled.epsilon, "nu_r": scaled.reconstruction}

    return Piece(columns)


@torch.no_grad()
def scale(crosscoder: Crosscoder, collected: Collected, stitch: Stitch) -> Scaling:
    """Both ν of every exclusive feature, over all kept pairs."""
    epsilon = torch.full((len(collected.train.z),), torch.nan, dtype=torch.float64)
    reconstruction = epsilon.clone()
    for part in crosscoder.parts:
        if part.partition == "shared":
            continue
        ids = slice(part.first_id, part.first_id + len(part))
        own = collected.train.columns(part.partition)
        other = collected.train.columns(opposite(part.partition))
        rebuilt = collected.rebuilt[ids].double()
        residual = collected.train.zx[ids].double() + collected.held_out.zx[ids] - rebuilt
        squares = collected.train.zz[ids] + collected.held_out.zz[ids]
        vectors = part.decoder.double()
        carried = stitch.carry(vectors, part.partition)
        # Σ f ⟨f d, d⟩ / (Σ f² ‖d‖²) = 1 is the feature that is added back.
        epsilon[ids] = _beta(residual[:, other], carried, squares) / (_beta(residual[:, own], vectors, squares) + 1)
        reconstruction[ids] = _beta(rebuilt[:, other], carried, squares) / _beta(rebuilt[:, own], vectors, squares)
    return Scaling(epsilon.numpy(), reconstruction.numpy())


def _beta(products: Tensor, vectors: Tensor, squares: Tensor) -> Tensor:
    """β, (features,), from Σ f Y and d, both (features, width), and Σ f²; NaN where the feature never fires."""
    return (products * vectors).sum(1) / (squares * vectors.square().sum(1))
