"""One part of the dictionary: what belongs to its features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfc.config import SIDES, CrosscoderConfig, Part, Partition, Side


class Dictionary(nn.Module):
    """One part of the dictionary: encoder and decoder over the columns its features may use.

    Attributes:
        name: which part.
        size: features of all processes together; `len` counts those of this one, as do all shapes below.
        own: which of them these are.
        columns: of x = [x_a, x_b] that it writes.
        reads: columns of what `Crosscoder.seen` gives that it is encoded from; its own columns, or as many others.
        ids: their global ids; `first_id` is the first.
        gain: factor on the encoder's product: shared features average their two encoders, or add them.
        encoder, bias: (features, own columns), (features,).
        threshold: the least ranking value that counts as active at inference.
    """

    threshold: Tensor

    def __init__(
        self, name: Part, size: int, own: slice, first_id: int, config: CrosscoderConfig, widths: tuple[int, int]
    ) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self.own = own
        self.first_id = first_id
        self.widths = widths
        self.columns = columns_of(name, widths)
        self.reads = self.columns
        if config.exclusive_reads == "unpredicted" and self.partition != "shared":
            self.reads = slice(self.columns.start + sum(widths), self.columns.stop + sum(widths))
        self.gain = 0.5 if self.partition == "shared" and config.shared_combine == "mean" else 1.0
        features, width = own.stop - own.start, self.columns.stop - self.columns.start
        self.encoder = nn.Parameter(torch.zeros(features, width))
        self.bias = nn.Parameter(torch.zeros(features))
        # Designated features have one decoder vector for both models (kind: dsf).
        self.decoder_weight = nn.Parameter(torch.zeros(features, widths[0] if name == "designated" else width))
        self.register_buffer("threshold", torch.zeros(()))

    def __len__(self) -> int:
        return len(self.bias)

    @property
    def ids(self) -> slice:
        """Global ids of its features."""
        return slice(self.first_id, self.first_id + len(self))

    @property
    def partition(self) -> Partition:
        """Whose features these are."""
        return "shared" if self.name == "designated" else self.name

    @property
    def sides(self) -> tuple[Side, ...]:
        """The models in which these features act."""
        return SIDES if self.partition == "shared" else (self.partition,)

    @property
    def decoder(self) -> Tensor:
        """Decoder vectors, (features, own columns)."""
        if self.name == "designated":
            return torch.cat([self.decoder_weight, self.decoder_weight], dim=1)
        return self.decoder_weight

    def of_side(self, side: Side) -> slice:
        """Which of its own columns belong to one of its models."""
        if self.partition != "shared":
            return slice(None)
        return slice(0, self.widths[0]) if side == "a" else slice(self.widths[0], None)

    @torch.no_grad()
    def initialise(self, norm: float, generator: torch.Generator) -> None:
        """Random decoder directions of one norm in each model; the encoder starts as their transpose.

        They are drawn for all processes' features, so that each starts as it would in one process.
        """
        blocks = [slice(None)] if self.name == "designated" else [self.of_side(side) for side in self.sides]
        for block in blocks:
            width = self.decoder_weight[:, block].shape[1]
            drawn = torch.randn(self.size, width, generator=generator)[self.own]
            directions = nn.functional.normalize(drawn, dim=1)
            self.decoder_weight[:, block] = norm * directions.to(self.decoder_weight)
        self.encoder.copy_(self.decoder)
        self.bias.zero_()

    @torch.no_grad()
    def rank_weight(self, rank_by: str) -> Tensor | None:
        """What BatchTopK multiplies activations with for ranking, (features,); None: nothing."""
        if rank_by == "value":
            return None
        decoder = self.decoder
        norms = torch.stack([decoder[:, self.of_side(side)].norm(dim=1) for side in self.sides])
        return {"norm_sum": norms.sum(0), "norm_mean": norms.mean(0), "norm_max": norms.amax(0)}[rank_by]


def columns_of(part: Part, widths: tuple[int, int]) -> slice:
    """The columns of x = [x_a, x_b] that a part of the dictionary writes: one model's, or all."""
    width_a, width_b = widths
    own = {"a": slice(0, width_a), "b": slice(width_a, width_a + width_b)}
    return own.get(part, slice(0, width_a + width_b))
