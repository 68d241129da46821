"""Affine maps between the two scaled streams, and how good they are (arXiv 2602.11729, exclusivity score).

With M_ab and M_ba on centred streams, what is minimised is the paper's stitch, squared errors
and an inversion penalty:

    ‖x_b − M_ab x_a‖² + ‖x_a − M_ba x_b‖² + μ ‖x_a − M_ba M_ab x_a‖² + μ ‖x_b − M_ab M_ba x_b‖²

It needs covariances alone. For a fixed M_ba it is quadratic in M_ab, whose best value solves a
Sylvester equation that two symmetric eigendecompositions make diagonal; likewise the other way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfc.config import Side
from dfc.crosscoder.prediction import ridged
from dfc.evidence.moments import Sums
from dfc.machine import progress


@dataclass(frozen=True)
class Covariances:
    """Second moments of two streams.

    Attributes:
        a, b: (width_a, width_a), (width_b, width_b).
        ba: of x_b with x_a, (width_b, width_a).
    """

    a: Tensor
    b: Tensor
    ba: Tensor

    def swapped(self) -> Covariances:
        """The same with A and B exchanged."""
        return Covariances(self.b, self.a, self.ba.T)


@dataclass(frozen=True)
class Stitch:
    """Linear parts of the two maps; a direction is carried by these alone, without the offset.

    Attributes:
        a_to_b: (width_b, width_a).
        b_to_a: (width_a, width_b).
    """

    a_to_b: Tensor
    b_to_a: Tensor

    def carry(self, vectors: Tensor, side: Side) -> Tensor:
        """Directions of one model, (vectors, its width), in the other model's space."""
        matrix = self.a_to_b if side == "a" else self.b_to_a
        return vectors @ matrix.to(vectors).T


def fit(train: Sums, ridge: float, inversion: float, rounds: int) -> Stitch:
    """The maps of training documents, starting from a ridge regression each way.

    Args:
        train: sums over training pairs.
        ridge: isotropic noise that the streams are taken to carry, relative to their mean variance: for the squared
            errors that is ridge regression.
        inversion: weight μ of the inversion penalty.
        rounds: how often each map is fitted to the other in turn.
    """
    exact = covariances(train, train.mean)
    moments = Covariances(ridged(exact.a, ridge), ridged(exact.b, ridge), exact.ba)
    b_to_a = torch.linalg.solve(moments.b, moments.ba).T
    a_to_b = torch.linalg.solve(moments.a, moments.ba.T).T
    with progress.bar("evidence: stitch", 2 * rounds, "maps") as bar:
        for _ in range(rounds):
            a_to_b = best_map(moments, b_to_a, inversion)
            bar.update()
            b_to_a = best_map(moments.swapped(), a_to_b, inversion)
            bar.update()
    return Stitch(a_to_b, b_to_a)


def best_map(moments: Covariances, back: Tensor, inversion: float) -> Tensor:
    """The M_ab that minimises the objective for a fixed M_ba.

    With Q = M_ba its gradient vanishes where
        (I + μ QᵀQ) M C_aa + μ M Q C_bb Qᵀ = C_ba + μ Qᵀ C_aa + μ C_bb Qᵀ.
    With C_aa = L Lᵀ and M̃ = M L, both factors of M̃ are symmetric, and in their eigenbases it is one division.

    Args:
        moments: of the streams, that of A positive definite.
        back: Q, (width_a, width_b).
        inversion: μ.

    Returns:
        M_ab, (width_b, width_a).
    """
    factor = torch.linalg.cholesky(moments.a)
    carried = torch.linalg.solve_triangular(factor, back, upper=False)  # L⁻¹ Q
    left, left_basis = torch.linalg.eigh(inversion * back.T @ back)
    right, right_basis = torch.linalg.eigh(inversion * carried @ moments.b @ carried.T)
    wanted = moments.ba + inversion * (back.T @ moments.a + moments.b @ back.T)
    wanted = torch.linalg.solve_triangular(factor, wanted.T, upper=False).T  # · L⁻ᵀ
    rotated = left_basis.T @ wanted @ right_basis / (1 + left[:, None] + right)
    whitened = left_basis @ rotated @ right_basis.T
    return torch.linalg.solve_triangular(factor.T, whitened.T, upper=True).T


def quality(stitch: Stitch, train: Sums, held_out: Sums) -> dict[str, float]:
    """Held-out R² of both maps and of both round trips; their offsets are those of the training means."""
    errors, variances = covariances(held_out, train.mean), covariances(held_out, held_out.mean)
    ab, ba = stitch.a_to_b, stitch.b_to_a
    of_a, of_b = float(variances.a.trace()), float(variances.b.trace())
    return {
        "r2_a_to_b": 1 - squared_error(errors, ab) / of_b,
        "r2_b_to_a": 1 - squared_error(errors.swapped(), ba) / of_a,
        "r2_around_a": 1 - squared_error(Covariances(errors.a, errors.a, errors.a), ba @ ab) / of_a,
        "r2_around_b": 1 - squared_error(Covariances(errors.b, errors.b, errors.b), ab @ ba) / of_b,
    }


def covariances(sums: Sums, point: Tensor) -> Covariances:
    """Second moments of both streams about a point."""
    moments = sums.about(point)
    a, b = sums.columns("a"), sums.columns("b")
    return Covariances(moments[a, a], moments[b, b], moments[b, a])


def squared_error(moments: Covariances, a_to_b: Tensor) -> float:
    """Mean of ‖x_b − M_ab x_a‖²."""
    explained = 2 * (a_to_b * moments.ba).sum() - (a_to_b @ moments.a * a_to_b).sum()
    return float(moments.b.trace() - explained)
