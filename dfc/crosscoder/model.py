"""The partitioned dictionary.

Both models' activations stand side by side, x = [x_a, x_b]. A partition is a dictionary
over the columns its features may use: A's exclusive features see and write the columns of
x_a, B's those of x_b, shared ones all. What a feature may not do has no parameters, so no
loss, weight decay or optimizer can leak into it. Global feature ids count A's exclusive
features first, then B's, then the shared ones.

Where several processes train, each has its share of every partition's features, with all that
belongs to them, and what concerns no single feature.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dfc.config import BEFORE, SIDES, CrosscoderConfig, DamagedError, MissingError, Partition, SettingsError, Side
from dfc.crosscoder.batch_topk import Entries, products, reaching, weighted_sums
from dfc.crosscoder.dictionary import Dictionary, columns_of
from dfc.crosscoder.prediction import Prediction
from dfc.machine import disk
from dfc.machine.processes import ALONE, Group

# Activations that are computed, ranked and dropped at once: on a CPU while they are in the cache.
_BLOCK_BYTES = {"cpu": 8 << 20, "cuda": 512 << 20}


@dataclass(frozen=True)
class Codes:
    """Sparse codes of a batch: one entry for each non-zero activation, with global feature ids."""

    rows: Tensor
    features: Tensor
    values: Tensor

    def to(self, device: torch.device) -> Codes:
        """The same on a device."""
        return Codes(self.rows.to(device), self.features.to(device), self.values.to(device))


class Crosscoder(nn.Module):
    """Encoder, BatchTopK threshold and decoder of a DFC, a standard crosscoder or a DSF.

    All as in arXiv 2602.11729, architecture.

    Args:
        config: sizes and choices.
        widths: widths of the two residual streams.
        scale: what each column of both streams is multiplied by before it is encoded, (width_a + width_b,); None: 1.
        group: the processes that share its features; this one has its own of each part.

    Raises:
        SettingsError: if decoders are to be tied between streams of different width.
    """

    scale: Tensor

    def __init__(
        self, config: CrosscoderConfig, widths: tuple[int, int], scale: Tensor | None = None, group: Group = ALONE
    ) -> None:
        super().__init__()
        if config.kind == "dsf" and widths[0] != widths[1]:
            raise SettingsError(
                f"crosscoder.kind: dsf ties decoder vectors between the models, whose widths differ ({widths[0]} and "
                f"{widths[1]}); choose dfc or standard, or two models of one width."
            )
        self.config = config
        self.widths = widths
        self.group = group
        self.dictionaries = nn.ModuleDict()
        first_id = 0
        for name, size in config.part_sizes.items():
            own = group.share(size)
            self.dictionaries[name] = Dictionary(name, size, own, first_id + own.start, config, widths)
            first_id += size
        self.decoder_bias = nn.Parameter(torch.zeros(sum(widths)))
        self.prediction = Prediction(widths) if any(part.reads != part.columns for part in self.parts) else None
        self.register_buffer("scale", torch.ones(sum(widths)) if scale is None else scale.float().clone())

    @property
    def parts(self) -> list[Dictionary]:
        """The parts of the dictionary in the order of global ids."""
        return list(self.dictionaries.values())  # type: ignore[arg-type]

    @property
    def device(self) -> torch.device:
        """Where its weights lie."""
        return self.decoder_bias.device

    @torch.no_grad()
    def initialise(self, seed: int, centre: Tensor) -> None:
        """Random decoder directions and encoders to match.

        Args:
            seed: of the directions.
            centre: where the decoder bias starts, (width_a + width_b,).
        """
        generator = torch.Generator().manual_seed(seed)
        for part in self.parts:
            part.initialise(self.config.decoder_norm, generator)
        self.decoder_bias.copy_(centre)

    def by_part(self, features: Tensor) -> list[Tensor]:
        """What there is of each of this process's features, (features, …), as a view for each part."""
        return list(features.split([len(part) for part in self.parts]))

    def spread(self) -> dict[str, Dictionary]:
        """The parameters that each process has its own features' rows of, by name, and of which part they are."""
        return {f"dictionaries.{part.name}.{name}": part for part in self.parts for name, _ in part.named_parameters()}

    def whole_shapes(self) -> dict[str, list[int]]:
        """Names and shapes of `state_dict` in one process."""
        spread = self.spread()
        shapes = shapes_of(self.state_dict())
        return {name: [spread[name].size, *shape[1:]] if name in spread else shape for name, shape in shapes.items()}

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """In the first process all processes' rows of tensors that are named as parameters; elsewhere its own."""
        spread = self.spread()
        return {name: self.group.collect(tensor) if name in spread else tensor for name, tensor in tensors.items()}

    def seen(self, x: Tensor) -> Tensor:
        """What the parts are encoded from: scaled rows (rows, width_a + width_b), and what is unpredicted of each."""
        if self.prediction is None:
            return x
        return torch.cat([x, *(self.prediction.unpredicted(x, side) for side in SIDES)], dim=1)

    @torch.no_grad()
    def blocks(
        self, part: Dictionary, seen: Tensor, dtype: torch.dtype = torch.float32
    ) -> Iterator[tuple[int, Tensor, Tensor]]:
        """A part's ReLU'd pre-activations of rows as `seen` gives them, a block of features at a time.

        Yields:
            First feature of the block within the part, activations, and what BatchTopK ranks, both (rows, features)
            and of `dtype`. Of a part without features in this process, one block of none.
        """
        centred = (seen[:, part.reads] - self.decoder_bias[part.columns]).to(dtype)
        weight = part.rank_weight(self.config.rank_by)
        at_once = max(1, _BLOCK_BYTES[seen.device.type] // (4 * max(1, len(seen))))
        for first in range(0, max(1, len(part)), at_once):
            own = slice(first, first + at_once)
            encoder, bias = part.encoder[own].to(dtype), part.bias[own].to(dtype)
            activations = torch.addmm(bias, centred, encoder.T, alpha=part.gain).relu_()
            yield first, activations, activations if weight is None else activations * weight[own].to(dtype)

    @torch.no_grad()
    def refined(self, part: Dictionary, seen: Tensor, rough: Entries) -> Entries:
        """The same entries of a part, with activations and ranking values computed in float32."""
        centred = seen[:, part.reads] - self.decoder_bias[part.columns]
        read = products(rough.rows, rough.columns, centred, part.encoder)
        values = (part.gain * read + part.bias[rough.columns]).relu_()
        weight = part.rank_weight(self.config.rank_by)
        return replace(rough, values=values, scores=values if weight is None else values * weight[rough.columns])

    @torch.no_grad()
    def encode(self, x: Tensor) -> Codes:
        """Codes of rows (rows, width_a + width_b) with the threshold of inference.

        The rows are scaled: `loader.kept_rows` gives such, `scaled` makes them of the models' own streams. Of others
        the codes are wrong, and nothing says so. They are of this process's features.
        """
        seen = self.seen(x)
        by_part = [(part, reaching(self.blocks(part, seen), float(part.threshold))) for part in self.parts]
        return Codes(
            torch.cat([entries.rows for _, entries in by_part]),
            torch.cat([entries.columns + part.first_id for part, entries in by_part]),
            torch.cat([entries.values for _, entries in by_part]),
        )

    @torch.no_grad()
    def decode(self, codes: Codes, rows: int) -> Tensor:
        """Reconstruction in the scaled space, (rows, width_a + width_b), from codes as `encode` gives them.

        It is the sum over processes; the first has the bias.
        """
        start = self.decoder_bias if self.group.leads else torch.zeros_like(self.decoder_bias)
        result = start.repeat(rows, 1)
        for part in self.parts:
            mine = (codes.features >= part.ids.start) & (codes.features < part.ids.stop)
            columns = codes.features[mine] - part.first_id
            result[:, part.columns] += weighted_sums(codes.rows[mine], columns, codes.values[mine], part.decoder, rows)
        return self.group.sum(result)

    def scaled(self, raw: Tensor) -> Tensor:
        """Rows of the two streams side by side, in the space the crosscoder sees."""
        return raw.float() * self.scale

    def decoder_vectors(self, side: Side) -> tuple[Tensor, Tensor]:
        """Global ids of the features that act in one model, and their scaled decoder vectors, (features, width)."""
        acting = [part for part in self.parts if side in part.sides]
        ids = [part.first_id + torch.arange(len(part)) for part in acting]
        vectors = [part.decoder.detach()[:, part.of_side(side)] for part in acting]
        return torch.cat(ids), torch.cat(vectors)

    def raw_vectors(self, side: Side) -> tuple[Tensor, Tensor]:
        """The same ids, and what a unit of activation adds to the model's own, unscaled stream, (features, width)."""
        ids, vectors = self.decoder_vectors(side)
        return ids, vectors / self.scale[columns_of(side, self.widths)]

    def encoder_vectors(self, side: Side) -> tuple[Tensor, Tensor]:
        """The same ids, and by what a feature's activation grows along one model's scaled stream, (features, width).

        Of an exclusive feature that is encoded from what the other model does not predict: while that one stays.
        """
        acting = [part for part in self.parts if side in part.sides]
        vectors = [part.gain * part.encoder.detach()[:, part.of_side(side)] for part in acting]
        return self.decoder_vectors(side)[0], torch.cat(vectors)

    def partitions(self) -> list[Partition]:
        """Partition of each global feature id."""
        return [part.partition for part in self.parts for _ in range(len(part))]


def column_scale(stored: Tensor, widths: tuple[int, int]) -> Tensor:
    """The scale of each column, (width_a + width_b,), from a file; older ones hold a factor for each model, (2,)."""
    return stored.repeat_interleave(torch.tensor(widths)) if stored.shape == (2,) else stored


def save(crosscoder: Crosscoder, folder: Path) -> None:
    """Write config.json and model.safetensors; the weights last, since they mark the training as done.

    All processes that share its features call it, and the first writes the whole.
    """
    tensors = crosscoder.whole(crosscoder.state_dict())
    if not crosscoder.group.leads:
        return
    content = {"crosscoder": crosscoder.config.model_dump(mode="json"), "widths": crosscoder.widths}
    disk.write_json(folder / "config.json", content)
    with disk.replacing(folder / "model.safetensors") as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)


def load(folder: Path) -> Crosscoder:
    """Read a trained crosscoder.

    Raises:
        MissingError: if training has not finished.
        VersionError: if another version of dfc made it.
        DamagedError: if a file is damaged, or the two do not belong together.
        MemoryShortError: if there is no memory for it.
    """
    weights = _trained(folder)
    remedy = f"delete {weights} and run `python -m dfc train {folder.parent}`, which goes on from the last checkpoint"
    config, widths = read_settings(folder, remedy)
    with disk.reading(weights, remedy, SafetensorError):
        crosscoder = Crosscoder(config, widths)
        tensors = load_file(weights)
        check_weights(folder, shapes_of(crosscoder.state_dict()), shapes_of(tensors))
        crosscoder.load_state_dict({**tensors, "scale": column_scale(tensors["scale"], widths)})
    return crosscoder.eval()


def digest(folder: Path) -> str:
    """A hash of a trained crosscoder's files, by which is told whether something was made with it.

    Raises:
        MissingError: if training has not finished.
    """
    hashed = hashlib.blake2b(digest_size=16)
    for path in (folder / "config.json", _trained(folder)):
        with disk.reading(path, _keep(folder)), path.open("rb") as file:
            hashed.update(hashlib.file_digest(file, "blake2b").digest())
    return hashed.hexdigest()


def _trained(folder: Path) -> Path:
    """Its weights, which mark the training as done."""
    weights = folder / "model.safetensors"
    if not weights.exists():
        raise MissingError(
            f"{folder}: holds no trained crosscoder; train it with `python -m dfc train {folder.parent}`."
        )
    return weights


def read_settings(folder: Path, remedy: str) -> tuple[CrosscoderConfig, tuple[int, int]]:
    """What a trained crosscoder was made with, and the widths of both streams, from config.json.

    The file is written with every setting, and the weights mean nothing without them: one that lacks a setting is
    refused, since what its absence meant is not known here. A version that adds a setting says here what it meant.

    Args:
        folder: of the crosscoder.
        remedy: what to do if the file is missing or damaged.

    Raises:
        MissingError: if there is no such file.
        VersionError: if another version of dfc made it.
        DamagedError: if it is no JSON, or does not hold both.
    """
    path = folder / "config.json"
    with disk.reading(path, remedy, of_another_version=_keep(folder)):
        content = disk.read_json(path)
        settings = {**BEFORE["crosscoder"], **content["crosscoder"]}
        config = CrosscoderConfig(**settings)
        width_a, width_b = content["widths"]
    if lacking := sorted(CrosscoderConfig.model_fields.keys() - settings.keys()):
        raise disk.other_version(path, f"`{lacking[0]}` is missing", _keep(folder))
    return config, (int(width_a), int(width_b))


def shapes_of(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    """The shape of each tensor."""
    return {name: list(tensor.shape) for name, tensor in tensors.items()}


def misfit(expected: Mapping[str, list[int]], found: Mapping[str, list[int]]) -> str:
    """The first tensor in which a file is not what is expected, by names and shapes; empty if it is."""
    for name, shape in expected.items():
        if name not in found:
            return f"`{name}` is missing"
        if found[name] != shape:
            return f"`{name}` is {found[name]} there, {shape} is expected"
    return next((f"`{name}` is not known here" for name in found if name not in expected), "")


def check_weights(folder: Path, expected: Mapping[str, list[int]], found: Mapping[str, list[int]]) -> None:
    """See that model.safetensors holds the tensors that config.json beside it asks for.

    Its scale may be of the older form, which `column_scale` reads.

    Raises:
        VersionError: if it holds others, of other names.
        DamagedError: if their sizes differ: one of the two files is of another crosscoder.
    """
    path = folder / "model.safetensors"
    if found.get("scale") == [2]:
        found = {**found, "scale": expected["scale"]}
    if expected.keys() != found.keys():
        raise disk.other_version(path, misfit(expected, found), _keep(folder))
    if difference := misfit(expected, found):
        raise DamagedError(
            f"{path}: does not belong to config.json beside it ({difference}); put back the one of the two that was "
            f"replaced, or train anew under another `name`."
        )


def _keep(folder: Path) -> str:
    """What to do with a crosscoder of another version: hours of training are in it."""
    return (
        f"keep it and use that version, which {folder.parent / 'provenance.json'} names, or train anew under another "
        f"`name`"
    )
