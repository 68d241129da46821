"""The loss over active entries and its gradients equal dense autograd over the same entries."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dfc.config import CrosscoderConfig
from dfc.crosscoder.batch_topk import Entries
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.squared_error import squared_error
from dfc.machine.processes import ALONE
from tests.crosscoder import reference

WIDTHS = (6, 6)


@pytest.mark.parametrize("follows", [True, False])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.3])
@pytest.mark.parametrize(("kind", "reads"), [("dfc", "stream"), ("dfc", "unpredicted"), ("dsf", "stream")])
def test_it_equals_dense_autograd(kind: str, reads: str, density: float, follows: bool) -> None:
    """Of what AuxK reconstructs, which is fixed, and of the rows, which follow the decoder bias."""
    torch.manual_seed(1)
    shape = {"features": 40, "exclusive_a": 0.2, "exclusive_b": 0.2, "kind": kind, "exclusive_reads": reads, "k": 4}
    crosscoder = Crosscoder(CrosscoderConfig.model_validate(shape), WIDTHS)
    for parameter in crosscoder.parameters():
        torch.nn.init.normal_(parameter)
    x, fixed = torch.randn(17, 12), torch.randn(17, 12)
    if crosscoder.prediction is not None:
        crosscoder.prediction.fit([torch.randn(100, 12)])
    active = [torch.rand(len(x), len(part)) < density for part in crosscoder.parts]
    codes = [values * mask for values, mask in zip(reference.activations(crosscoder, x), active, strict=True)]
    target = x - crosscoder.decoder_bias if follows else fixed
    expected = (target - reference.decode(crosscoder, codes)).square().sum(1).mean()
    gradients = _gradients(crosscoder, expected)

    entries = []
    for values in codes:
        rows, columns = values.detach().nonzero(as_tuple=True)
        kept = values.detach()[rows, columns]
        entries.append(Entries(rows, columns, kept, kept))
    centred = x - crosscoder.decoder_bias.detach()
    found, residual = squared_error(
        centred if follows else fixed,
        centred,
        crosscoder.seen(x),
        crosscoder.decoder_bias,
        crosscoder.parts,
        entries,
        ALONE,
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(residual.square().sum() / len(x), found.detach())
    assert not residual.requires_grad
    for (name, own), gradient in zip(_gradients(crosscoder, found).items(), gradients.values(), strict=True):
        torch.testing.assert_close(own, gradient, atol=1e-4, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}")


def _gradients(crosscoder: Crosscoder, loss: Tensor) -> dict[str, Tensor]:
    crosscoder.zero_grad()
    loss.backward()
    parameters = crosscoder.named_parameters()
    return {name: torch.zeros_like(one) if one.grad is None else one.grad.clone() for name, one in parameters}
