"""Interventions at a model's blocks and at its own output, and nowhere else.

nnsight lets every module hand its input and its output over, at every token. The 400 modules of a small model take 3 to
5 % of the time a token takes on a CPU; where only the blocks do it, next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from nnsight.intervention.envoy import Envoy
from nnsight.intervention.interleaver import Interleaver
from torch import nn


class BlockSites(Interleaver):
    """For nnsight's `interleaver=`: values can be read and changed at the modules that are given.

    At any other module, nnsight says that the model already ran past it.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self._modules = set(modules)

    def instrument(self, envoy: Envoy) -> None:
        """Let the envoy's module hand over, if it is one of those; nnsight calls this for every module."""
        if envoy._module in self._modules:
            super().instrument(envoy)
