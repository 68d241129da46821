"""What one stream says of the other, against plain least squares."""

from __future__ import annotations

import numpy as np
import torch

from dfc.crosscoder import prediction
from dfc.crosscoder.prediction import Prediction


def streams(rows: int) -> torch.Tensor:
    """Two streams with means, which share what they have but for some of their own."""
    generator = torch.Generator().manual_seed(rows)
    common = torch.randn(rows, 4, generator=generator)
    mixed = torch.cat(
        [common @ torch.randn(4, 5, generator=generator), common @ torch.randn(4, 7, generator=generator)], 1
    )
    return mixed + 0.5 * torch.randn(rows, 12, generator=generator) + torch.linspace(-3, 3, 12)


def test_both_maps_are_those_of_least_squares() -> None:
    x = streams(4_000)
    found = Prediction((5, 7))
    found.fit(x.split(1_000))
    a, b = (part.double().numpy() for part in (x - x.mean(dim=0)).split([5, 7], dim=1))
    for inputs, outputs, matrix in ((b, a, found.of_a), (a, b, found.of_b)):
        expected = np.linalg.lstsq(inputs, outputs, rcond=None)[0]
        np.testing.assert_allclose(matrix.numpy(), expected, atol=0.02)
    torch.testing.assert_close(found.mean, x.mean(dim=0))


def test_what_is_unpredicted_has_the_mean_and_nothing_of_the_other_stream() -> None:
    x, found = streams(4_000), Prediction((5, 7))
    found.fit([x])
    for side, own, other in (("a", slice(0, 5), slice(5, 12)), ("b", slice(5, 12), slice(0, 5))):
        left = found.unpredicted(x, side)  # type: ignore[arg-type]
        torch.testing.assert_close(left.mean(dim=0), x[:, own].mean(dim=0), atol=1e-4, rtol=1e-4)
        covariance = (left - left.mean(dim=0)).T @ (x[:, other] - x[:, other].mean(dim=0)) / len(x)
        assert covariance.abs().max() < 0.01


def test_alone_the_other_stream_is_what_this_one_says_of_it() -> None:
    x, found = streams(500), Prediction((5, 7))
    found.fit([x])
    for side, own, width in (("a", slice(0, 5), 5), ("b", slice(5, 12), 7)):
        guessed = x.clone()
        other = slice(5, 12) if side == "a" else slice(0, 5)
        matrix = found.of("b" if side == "a" else "a")
        guessed[:, other] = found.mean[other] + (x[:, own] - found.mean[own]) @ matrix
        weight = torch.linspace(-1, 1, width)
        alone, offset = found.alone(weight, side)  # type: ignore[arg-type]
        expected = found.unpredicted(guessed, side) @ weight  # type: ignore[arg-type]
        torch.testing.assert_close(x[:, own] @ alone + offset, expected, atol=1e-4, rtol=1e-4)


def test_no_more_rows_are_read_than_are_needed() -> None:
    read = []

    def batches():  # type: ignore[no-untyped-def]
        while True:
            read.append(1)
            yield torch.randn(prediction.ROWS // 4, 3)

    Prediction((1, 2)).fit(batches())
    assert len(read) == 4
