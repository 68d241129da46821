"""The partitioned dictionary.

Both models' activations stand side by side, x = [x_a, x_b]. A partition is a dictionary
over the columns its features may use: A's exclusive features see and write the columns of
x_a, B's those of x_b, shared ones all. What a feature may not do has no parameters, so no
loss, weight decay or optimizer can leak into it. Global feature ids count A's exclusive
features first, then B's, then the shared ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dfc import runs
from dfc.config import PARTITIONS, SIDES, CrosscoderConfig, Partition, Side, UserError
from dfc.crosscoder.batch_topk import Entries, reaching, reconstruct


@dataclass(frozen=True)
class Codes:
    """Sparse codes of a batch: one entry for each non-zero activation, with global feature ids."""

    rows: Tensor
    features: Tensor
    values: Tensor


class Dictionary(nn.Module):
    """One partition: (features, width) encoder and decoder over the columns it may use."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.encoder = nn.Parameter(torch.zeros(features, width))
        self.decoder = nn.Parameter(torch.zeros(features, width))
        self.bias = nn.Parameter(torch.zeros(features))

    def __len__(self) -> int:
        return len(self.bias)


class Crosscoder(nn.Module):
    """Encoder, BatchTopK threshold and decoder of a DFC or a standard crosscoder (PAPER: architecture).

    Args:
        config: sizes and choices.
        widths: widths of the two residual streams.
        scales: what each model's stream is multiplied by before it is encoded.
    """

    scale: Tensor
    threshold: Tensor

    def __init__(
        self, config: CrosscoderConfig, widths: tuple[int, int], scales: tuple[float, float] = (1.0, 1.0)
    ) -> None:
        super().__init__()
        self.config = config
        self.widths = widths
        sizes = dict(zip(PARTITIONS, config.partition_sizes, strict=True))
        self.dictionaries = nn.ModuleDict(
            {
                name: Dictionary(size, len(range(sum(widths))[self.columns(name)]))
                for name, size in sizes.items()
                if size
            }
        )
        self.decoder_bias = nn.Parameter(torch.zeros(sum(widths)))
        self.register_buffer("scale", torch.tensor(scales))
        # The least ranking value that counts as active at inference, for each of a, b, shared.
        self.register_buffer("threshold", torch.zeros(len(PARTITIONS)))

    @property
    def parts(self) -> list[tuple[Partition, Dictionary]]:
        """The partitions that have features, in the order of global ids."""
        return [(name, self.dictionaries[name]) for name in PARTITIONS if name in self.dictionaries]  # type: ignore[misc]

    def columns(self, partition: Partition) -> slice:
        """Columns of x = [x_a, x_b] that a partition may use."""
        width_a, width_b = self.widths
        return {"a": slice(0, width_a), "b": slice(width_a, width_a + width_b), "shared": slice(0, width_a + width_b)}[
            partition
        ]

    def gain(self, partition: Partition) -> float:
        """Factor on the encoder's product: a shared feature averages its two encoders, or adds them."""
        return 0.5 if partition == "shared" and self.config.shared_combine == "mean" else 1.0

    def first_id(self, partition: Partition) -> int:
        """Global id of a partition's first feature."""
        only_a, only_b, _ = self.config.partition_sizes
        return {"a": 0, "b": only_a, "shared": only_a + only_b}[partition]

    @torch.no_grad()
    def initialise(self, seed: int, centre: Tensor) -> None:
        """Random decoder directions of the configured norm in each model; the encoder starts as their transpose.

        Args:
            seed: of the directions.
            centre: where the decoder bias starts, (width_a + width_b,).
        """
        generator = torch.Generator().manual_seed(seed)
        for name, part in self.parts:
            for side in SIDES if name == "shared" else (name,):
                columns = self._own_columns(name, side)
                shape = part.decoder[:, columns].shape
                directions = torch.randn(shape, generator=generator)
                part.decoder[:, columns] = self.config.decoder_norm * nn.functional.normalize(directions, dim=1).to(
                    part.decoder
                )
            part.encoder.copy_(part.decoder)
            part.bias.zero_()
        self.decoder_bias.copy_(centre)

    @torch.no_grad()
    def activations(self, x: Tensor) -> list[Tensor]:
        """ReLU'd pre-activations of scaled rows (rows, width_a + width_b), one (rows, features) tensor a partition."""
        centred = x - self.decoder_bias
        return [
            torch.addmm(part.bias, centred[:, self.columns(name)], part.encoder.T, alpha=self.gain(name)).relu_()
            for name, part in self.parts
        ]

    @torch.no_grad()
    def rank_weights(self) -> list[Tensor | None]:
        """What BatchTopK multiplies each feature's activation with for ranking; None: nothing."""
        if self.config.rank_by == "value":
            return [None for _ in self.parts]
        weights: list[Tensor | None] = []
        for name, part in self.parts:
            norms = torch.stack([part.decoder[:, self._own_columns(name, side)].norm(dim=1) for side in _sides(name)])
            weights.append(
                {"norm_sum": norms.sum(0), "norm_mean": norms.mean(0), "norm_max": norms.amax(0)}[self.config.rank_by]
            )
        return weights

    def scores(self, activations: list[Tensor]) -> list[Tensor]:
        """Ranking values, shaped as the activations."""
        return [
            values if weight is None else values * weight
            for values, weight in zip(activations, self.rank_weights(), strict=True)
        ]

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Codes of scaled rows (rows, width_a + width_b) with the threshold of inference."""
        activations = self.activations(x)
        rows, features, values = [], [], []
        for (name, _), block, score in zip(self.parts, activations, self.scores(activations), strict=True):
            entries = reaching(score, block, self.threshold[PARTITIONS.index(name)])
            rows.append(entries.rows)
            features.append(entries.columns + self.first_id(name))
            values.append(entries.values)
        return Codes(torch.cat(rows), torch.cat(features), torch.cat(values))

    @torch.no_grad()
    def decode(self, codes: Codes, rows: int) -> Tensor:
        """Reconstruction in the scaled space, (rows, width_a + width_b)."""
        result = self.decoder_bias.repeat(rows, 1)
        for name, part in self.parts:
            first = self.first_id(name)
            mine = (codes.features >= first) & (codes.features < first + len(part))
            entries = Entries(codes.rows[mine], codes.features[mine] - first, codes.values[mine])
            result[:, self.columns(name)] += reconstruct(entries, part.decoder, rows)
        return result

    def scaled(self, raw: Tensor) -> Tensor:
        """Rows of the two streams side by side, in the space the crosscoder sees."""
        return raw.float() * torch.repeat_interleave(self.scale, torch.tensor(self.widths, device=self.scale.device))

    def decoder_vectors(self, side: Side) -> tuple[Tensor, Tensor]:
        """Global ids of the features that act in one model, and their scaled decoder vectors, (features, width)."""
        ids, vectors = [], []
        for name, part in self.parts:
            if side in _sides(name):
                ids.append(self.first_id(name) + torch.arange(len(part)))
                vectors.append(part.decoder.detach()[:, self._own_columns(name, side)])
        return torch.cat(ids), torch.cat(vectors)

    def _own_columns(self, partition: Partition, side: Side) -> slice:
        """Columns of a partition's dictionary that belong to one model."""
        if partition != "shared":
            return slice(None)
        return slice(0, self.widths[0]) if side == "a" else slice(self.widths[0], None)


def _sides(partition: Partition) -> tuple[Side, ...]:
    return SIDES if partition == "shared" else (partition,)


def save(crosscoder: Crosscoder, folder: Path) -> None:
    """Write config.json and model.safetensors; the weights last, since they mark the training as done."""
    content = {"crosscoder": crosscoder.config.model_dump(mode="json"), "widths": crosscoder.widths}
    runs.write_json(folder / "config.json", content)
    with runs.replacing(folder / "model.safetensors") as temporary:
        save_file({name: tensor.contiguous() for name, tensor in crosscoder.state_dict().items()}, temporary)


def load(folder: Path) -> Crosscoder:
    """Read a trained crosscoder.

    Raises:
        UserError: if training has not finished, or the files do not fit together.
    """
    try:
        content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        state = load_file(folder / "model.safetensors")
    except FileNotFoundError:
        raise UserError(
            f"{folder}: holds no trained crosscoder; train it with `python -m dfc train {folder.parent}`."
        ) from None
    crosscoder = Crosscoder(CrosscoderConfig(**content["crosscoder"]), tuple(content["widths"]))
    try:
        crosscoder.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(
            f"{folder}: its weights do not fit its config.json ({str(error).splitlines()[0]}); train it again."
        ) from None
    return crosscoder.eval()
