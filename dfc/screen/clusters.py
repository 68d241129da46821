"""Vectors of length 1 in groups, and as a picture: agglomerative, so that nothing is drawn at random.

Ward's linkage (J. H. Ward, J. Am. Stat. Assoc. 58, 1963), by chains of nearest neighbours (F. Murtagh, Comput. J. 26,
1983), which merges the same groups as looking for the nearest two each time. Of all numbers of groups that can be read
that one is taken whose mean silhouette (P. J. Rousseeuw, J. Comput. Appl. Math. 20, 1987) is highest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

MOST = 40
"""Groups, at most: more are no overview."""
_FEW = 3  # vectors below which there is nothing to group
_NEAR = 5  # neighbours that are asked of a picture


@dataclass(frozen=True, eq=False)
class Groups:
    """Vectors in groups.

    Attributes:
        of: the group of each vector, from 0, the largest group first, (vectors,).
        silhouette: how clearly they are apart, −1 to 1, 0 where a vector is as near to another group as to its own;
            NaN where there is one group or no vector.
    """

    of: Ints
    silhouette: float


@dataclass(frozen=True, eq=False)
class Picture:
    """Vectors in a plane, by their two principal components.

    Attributes:
        places: (vectors, 2).
        variance: share of the variance that the plane keeps; NaN where there is none.
        near: share of each vector's nearest five that are among its nearest five in the plane; NaN below seven vectors.
    """

    places: Floats
    variance: float
    near: float


def grouped(vectors: Floats, groups: int | None = None) -> Groups:
    """Vectors of length 1, (vectors, width), in so many groups, or in as many as are most clearly apart."""
    size = len(vectors)
    if size < _FEW or groups == 1:
        return Groups(np.zeros(size, np.int64), float("nan"))
    tried = _cuts(_merges(vectors), size)
    if groups is not None:
        tried = [min(tried, key=lambda of: abs(int(of.max()) + 1 - groups))]
    figures = [_silhouette(vectors, of) for of in tried]
    best = int(np.argmax(figures))
    return Groups(_by_size(tried[best]), figures[best])


def picture(vectors: Floats) -> Picture:
    """The same vectors in a plane."""
    size = len(vectors)
    if not size:
        return Picture(np.zeros((0, 2), np.float32), float("nan"), float("nan"))
    apart = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(apart.T @ apart)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])])  # else either sign would do
    places = np.zeros((size, 2), np.float32)
    places[:, : axes.shape[1]] = apart @ axes
    whole = float(values.sum())
    kept = float(values[-2:].sum()) / whole if whole > 1e-12 else float("nan")
    if size < _NEAR + 2:
        return Picture(places, kept, float("nan"))
    true, seen = _nearest(vectors), _nearest(places)
    shared = [len(np.intersect1d(one, other)) for one, other in zip(true, seen, strict=True)]
    return Picture(places, kept, float(np.mean(shared)) / _NEAR)


def _merges(vectors: Floats) -> Ints:
    """Which two groups are merged, the nearest first, each by one of its vectors, (vectors − 1, 2)."""
    size = len(vectors)
    distance = _apart(vectors)
    np.fill_diagonal(distance, np.inf)
    sizes = np.ones(size, np.float32)
    merged, heights, chain = np.empty((size - 1, 2), np.int64), np.empty(size - 1), list[int]()
    left = np.ones(size, bool)
    for step in range(size - 1):
        if not chain:
            chain = [int(left.argmax())]
        while True:
            row = distance[chain[-1]]
            nearest = int(row.argmin())
            if len(chain) > 1 and row[chain[-2]] <= row[nearest]:  # of equals the one where the chain came from
                break
            chain.append(nearest)
        one, other = sorted((chain.pop(), chain.pop()))
        heights[step], merged[step] = distance[one, other], (one, other)
        # Lance and Williams: how far what is merged is from all others.
        grown = (sizes[one] + sizes) * distance[one] + (sizes[other] + sizes) * distance[other]
        grown = (grown - sizes * distance[one, other]) / (sizes[one] + sizes[other] + sizes)
        grown[one] = np.inf
        distance[one], distance[:, one] = grown, grown
        distance[other], distance[:, other] = np.inf, np.inf
        sizes[one] += sizes[other]
        left[other] = False
    return merged[np.argsort(heights, kind="stable")]


def _cuts(joined: Ints, size: int) -> list[Ints]:
    """The group of each vector, wherever 2 to MOST groups are left."""
    of, found = np.arange(size), []
    for left, (one, other) in zip(range(size - 1, 1, -1), joined.tolist(), strict=False):
        of[of == of[other]] = of[one]
        if left <= MOST:
            found.append(np.unique(of, return_inverse=True)[1])
    return found


def _silhouette(vectors: Floats, of: Ints) -> float:
    """The mean silhouette by cosine distance; that of a vector which is alone is 0."""
    sizes = np.bincount(of)
    members = (of == np.arange(len(sizes))[:, None]).astype(vectors.dtype)
    sums = members @ vectors
    likeness, each = vectors @ sums.T, np.arange(len(vectors))
    own = (likeness[each, of] - 1) / np.maximum(sizes[of] - 1, 1)
    others = likeness / sizes
    others[each, of] = -np.inf
    within, beyond = 1 - own, 1 - others.max(axis=1)
    figure = (beyond - within) / np.maximum(np.maximum(within, beyond), 1e-12)
    return float(np.where(sizes[of] > 1, figure, 0.0).mean())


def _by_size(of: Ints) -> Ints:
    """The same groups numbered by their size, of equals the one with the first vector first."""
    sizes = np.bincount(of)
    first = np.unique(of, return_index=True)[1]
    order = np.lexsort((first, -sizes))
    return np.argsort(order)[of]


def _apart(vectors: Floats) -> Floats:
    """Squared distances, (vectors, vectors)."""
    squares = (vectors**2).sum(axis=1)
    return np.maximum(squares[:, None] + squares - 2 * vectors @ vectors.T, 0)


def _nearest(vectors: Floats) -> Ints:
    distance = _apart(vectors)
    np.fill_diagonal(distance, np.inf)
    return np.argpartition(distance, _NEAR, axis=1)[:, :_NEAR]
