"""Run both models over the paired documents and write their activations.

Each model runs on its own, one after the other, up to its site, over documents of like
length together. It writes shard by shard: what was written before an interruption stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc import models, runs
from dfc.activations import manifest, pairing, scales, shards
from dfc.activations.manifest import Manifest, Scale, ShardFacts, SideFacts
from dfc.activations.shards import Rows
from dfc.config import SIDES, HarvestConfig, RunConfig, ScaleRule, SettingsError, Side, UserError
from dfc.machine import devices, progress
from dfc.machine.processes import ALONE, Group
from dfc.models import Description, LoadedModel
from dfc.runs import Run

_CPU_TOKENS = 2_048  # in one pass; more does not make a CPU faster
_GPU_TOKENS = 65_536  # where to begin; halved until it fits
_SPREAD_ROWS = 1_000_000  # of normal numbers, as many tell the variance to a seventh of a per cent
Reader = Callable[[Tensor, Tensor], list[Tensor]]


def check_processes(run: Run, group: Group) -> None:
    """See that a run can be harvested by these processes together.

    Raises:
        SettingsError: if a model is spread over devices: each process would spread its own copy over all of them.
    """
    spread = [side for side in SIDES if run.config().models.side(side).device_map is not None]
    if group.size > 1 and spread:
        raise SettingsError(
            f"{run.path}: models.{spread[0]}.device_map spreads a model over all devices, and {group.size} processes "
            f"would do so at once; harvest in one process (`python -m dfc harvest`, without torchrun), or take "
            f"device_map out: then each process has its own device."
        )


def harvest(sites: Sequence[Run], group: Group = ALONE) -> None:
    """Run both models over the paired documents and write the activation store of each site.

    Args:
        sites: runs whose documents are paired and which differ in their layers alone: one pass serves them all.
        group: processes that share the shards; the first writes the manifests.

    Raises:
        UserError: if a model does not load or has no such layer, or these processes cannot share it.
    """
    for run in sites:
        check_processes(run, group)
    count = pairing.count_shards(sites[0])
    for side in SIDES:
        missing = {
            shard: [run for run in sites if not shards.is_written(run.activations, side, shard)]
            for shard in range(count)[group.share(count)]
        }
        if any(missing.values()):
            _harvest_side(sites, side, {shard: lacking for shard, lacking in missing.items() if lacking}, group.leads)
    group.wait()
    for run in sites if group.leads else ():
        config = run.config()
        manifest.write(run.activations, _manifest(run, config, count))
        runs.record(run, "harvest", models=config.models.model_dump(mode="json"), processes=group.size)


def repair(run: Run) -> list[str]:
    """Check all checksums and make again what is damaged; what was found, file by file.

    Raises:
        UserError: if not all is paired, the corpus is damaged, too, or a model does not load.
    """
    if not run.corpus.exists():
        raise UserError(f"{run.path}: is not paired to the end; run `python -m dfc harvest {run.path}` first.")
    problems = []
    for shard in range(pairing.count_shards(run)):
        try:
            shards.read_shown(run.activations, shard)
        except UserError as error:
            problems.append(error.problem)
            pairing.repair(run, shard)
        for side in SIDES:
            damage = shards.damage(run.activations, side, shard)
            if damage is not None:
                problems.append(damage)
                shards.forget(run.activations, side, shard)
    if run.done()["harvest"]:
        try:
            shards.ActivationStore(run.activations)
        except UserError as error:
            problems.append(error.problem)
    if problems or not run.done()["harvest"]:
        harvest([run])
    return problems


def _harvest_side(sites: Sequence[Run], side: Side, missing: dict[int, list[Run]], shown: bool) -> None:
    """Write one model's rows for the shards that some sites miss."""
    configs = [run.config() for run in sites]
    model = models.load(configs[0].models.side(side))
    layers = [models.describe(config.models.side(side)).layer for config in configs]
    limit = Limit(configs[0].harvest, model)
    total = int(sum(_lengths(sites[0], side, shard).sum() for shard in missing))
    title = f"reading {model.title}"[:22]
    with progress.bar(title, total, "tokens", shown=shown) as bar, model.streams_reader(layers) as read:
        for shard, lacking in missing.items():
            tokens = shards.read_tokens(sites[0].activations, shard, [f"ids_{side}", f"index_{side}"])
            ids, paired = (tokens[f"{name}_{side}"].to_pylist() for name in ("ids", "index"))
            rows_by_site = paired_rows(ids, paired, read, limit, model, bar.update)
            for run, config, rows in zip(sites, configs, rows_by_site, strict=True):
                if run in lacking:
                    shards.write_rows(run.activations, side, shard, rows, config.harvest.format)


def paired_rows(
    ids: list[list[int]],
    paired: list[list[int]],
    read: Reader,
    limit: Limit,
    model: LoadedModel,
    report: Callable[[int], object],
) -> list[Tensor]:
    """For each stream that is read, its rows on the paired tokens of all documents, (pairs, width) float32.

    Args:
        ids, paired: token ids of each document, and which of these are paired.
        read: gives the streams of a batch.
        limit: tokens in a batch.
        model: that is read; its device takes the batches.
        report: told how many tokens were read.
    """
    index = [torch.tensor(places, dtype=torch.long) for places in paired]
    first_row = np.concatenate([[0], np.cumsum([len(places) for places in index])]).tolist()
    rows_by_stream: list[Tensor] = []
    for batch, streams in _streams(ids, read, limit, model.device):
        rows_by_stream = rows_by_stream or [torch.empty(first_row[-1], stream.shape[-1]) for stream in streams]
        length = streams[0].shape[1]
        chosen = torch.cat([index[document] + place * length for place, document in enumerate(batch)])
        where = torch.cat([torch.arange(first_row[document], first_row[document + 1]) for document in batch])
        for rows, stream in zip(rows_by_stream, streams, strict=True):  # one copy from the device for all documents
            rows[where] = stream.flatten(0, 1)[chosen.to(stream.device)].float().cpu()
        report(sum(len(ids[document]) for document in batch))
    return rows_by_stream


class Limit:
    """What goes into one forward pass.

    Attributes:
        tokens: padding included: as configured, or as many as the memory takes.
        company: of a text's length, what texts must have alike to be read together.
    """

    def __init__(self, config: HarvestConfig, model: LoadedModel) -> None:
        automatic = _GPU_TOKENS if model.device.type == "cuda" else _CPU_TOKENS
        self.tokens = config.batch_tokens or automatic
        self.company: Callable[[int], tuple[int, ...]] = model.company


def _streams(
    ids: list[list[int]], read: Reader, limit: Limit, device: torch.device
) -> Iterator[tuple[list[int], list[Tensor]]]:
    """Batches of documents of like length, longest first, and their streams, each (documents, length, width).

    Documents that the model would read otherwise together are apart (`Limit.company`). A batch for which the memory is
    too small is read in halves, and later ones are made smaller.
    """

    def work(batch: Sequence[int]) -> list[Tensor]:
        return read(*pad([ids[i] for i in batch], device))

    def too_long(i: int) -> str:
        return f"a document of {len(ids[i])} tokens; lower max_tokens"

    left = sorted((i for i, sequence in enumerate(ids) if len(sequence)), key=lambda i: -len(ids[i]))
    while left:
        longest = len(ids[left[0]])
        _, alike = next(groupby(left[: max(1, limit.tokens // longest)], lambda i: limit.company(len(ids[i]))))
        batch = list(alike)
        for part, streams in devices.in_halves(work, batch, device, too_long):
            if part[0] == batch[0] and len(part) < len(batch):
                limit.tokens = len(part) * longest
            yield list(part), streams
        left = left[len(batch) :]


def pad(sequences: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Right-padded ids and their mask; padding on the left gives some models other positions."""
    length = max(len(sequence) for sequence in sequences)
    ids = torch.zeros(len(sequences), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
        mask[row, : len(sequence)] = 1
    return ids.to(device), mask.to(device)


def _lengths(run: Run, side: Side, shard: int) -> npt.NDArray[np.int64]:
    """Tokens of each document of a shard."""
    [column] = shards.read_tokens(run.activations, shard, [f"ids_{side}"])
    return np.diff(column.combine_chunks().offsets.to_numpy())


def _manifest(run: Run, config: RunConfig, count: int) -> Manifest:
    """Medians and outliers' limits from the norms of all rows, scales from these or from the rows that are kept."""
    skip_first = config.harvest.skip_first
    origins = [shards.flatten(shards.read_tokens(run.activations, shard)) for shard in range(count)]
    late = np.concatenate([np.minimum(r.index_a, r.index_b) >= skip_first for r in origins])
    described = {side: models.describe(config.models.side(side)) for side in SIDES}
    norms: dict[Side, npt.NDArray[np.float32]] = {}
    for side in SIDES:
        found = np.concatenate([shards.read_norms(run.activations, side, shard) for shard in range(count)])
        norms[side] = found[late & np.isfinite(found)]
        if not len(norms[side]):
            raise UserError(
                f"{run.path}: every pair of model {side.upper()} lies in the first {skip_first} tokens "
                f"or is not finite; use longer texts, or dtype float32 or bfloat16."
            )
    limits = _norm_limit(config.harvest, norms["a"]), _norm_limit(config.harvest, norms["b"])
    keep = [shards.keep_mask(run.activations, shard, rows, skip_first, limits) for shard, rows in enumerate(origins)]
    target = float(np.sqrt(sum(model.width for model in described.values()) / 2))
    scale = {side: _scale(run, config.harvest.scale, side, norms[side], keep, target) for side in SIDES}
    a, b = (
        _side_facts(config, side, described[side], float(np.median(norms[side])), limit, scale[side])
        for side, limit in zip(SIDES, limits, strict=True)
    )
    remarks = pairing.remarks(pairing.read_position(run))
    return Manifest(a, b, skip_first, tuple(map(_shard_facts, origins, keep)), remarks)


def _norm_limit(rules: HarvestConfig, norms: npt.NDArray[np.float32]) -> float:
    """The largest norm that is no outlier's."""
    return float(np.median(norms)) * rules.outlier_factor if rules.outlier_factor else float(np.finfo(np.float32).max)


def _scale(
    run: Run,
    rule: ScaleRule,
    side: Side,
    norms: npt.NDArray[np.float32],
    keep: list[npt.NDArray[np.bool_]],
    target: float,
) -> Scale:
    try:
        return scales.factors(rule, norms, lambda: scales.variances(_drawn_rows(run, side, keep)), target)
    except ValueError as error:
        raise UserError(
            f"{run.path}: model {side.upper()} cannot be scaled by harvest.scale: {rule}, since {error}; read another "
            f"layer, give more texts, or set harvest.scale: none."
        ) from None


def _drawn_rows(run: Run, side: Side, keep: list[npt.NDArray[np.bool_]]) -> Iterator[Tensor]:
    """One model's kept rows, all of them up to _SPREAD_ROWS; of more every second, every third and so on."""
    total = sum(int(mask.sum()) for mask in keep)
    every, seen = max(1, -(-total // _SPREAD_ROWS)), 0
    with progress.bar(f"variance of {side.upper()}", total, "pairs") as bar:
        for shard, mask in enumerate(keep):
            places = np.flatnonzero(mask)
            yield shards.read_rows(run.activations, side, shard)[torch.from_numpy(places[-seen % every :: every])]
            seen += len(places)
            bar.update(len(places))


def _side_facts(
    config: RunConfig, side: Side, described: Description, median: float, limit: float, scale: Scale
) -> SideFacts:
    model = config.models.side(side)
    origin = models.fingerprint(model)
    return SideFacts(
        name=model.title,
        source=model.source,
        revision=described.revision,
        weights=origin.weights,
        tokenizer=origin.tokenizer,
        template=origin.template,
        bos=origin.bos,
        layer=described.layer,
        layers=described.layers,
        width=described.width,
        dtype=model.dtype,
        median_norm=median,
        norm_limit=limit,
        scale=scale,
    )


def _shard_facts(rows: Rows, keep: npt.NDArray[np.bool_]) -> ShardFacts:
    held_out = int((keep & rows.held_out).sum())
    return ShardFacts(len(keep), int(keep.sum()) - held_out, held_out)
