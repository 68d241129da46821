"""Run both models over the paired documents and write their activations.

Each model runs on its own, one after the other, up to its site, over documents of like
length together. It writes shard by shard: what was written before an interruption stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfc import models, runs
from dfc.activations import beginnings, manifest, pairing, scales, shards
from dfc.activations.batches import Limit, paired_rows
from dfc.activations.beginnings import Extent
from dfc.activations.manifest import Manifest, Scale, ShardFacts, SideFacts
from dfc.activations.shards import Rows
from dfc.config import SIDES, HarvestConfig, RunConfig, ScaleRule, SettingsError, Side, UserError
from dfc.machine import disk, progress
from dfc.machine.processes import ALONE, Group
from dfc.models import Description, Fingerprint, LoadedModel, losses
from dfc.runs import Run

_ORIGIN = "origin.txt"
"""Beside a model's rows, of what weights and tokenizer they are."""
_TEXTS = 100  # the longest of so many is the one on which it is tried whether a model goes on behind its site
_SPREAD_ROWS = 1_000_000  # of normal numbers, as many tell the variance to a seventh of a per cent


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
    count, both = pairing.count_shards(sites[0]), sites[0].config().models
    fingerprints = {side: models.fingerprint(both.side(side)) for side in SIDES}  # weights are read whole: once for all
    for side in SIDES:
        missing = {
            shard: lacking
            for shard in range(count)[group.share(count)]
            if (lacking := [run for run in sites if not shards.is_written(run.activations, side, shard)])
        }
        if missing:
            for run in sites:
                _expect_same(run, side, fingerprints[side], count, group.leads)
            _harvest_side(sites, side, fingerprints[side], missing, group.leads)
    group.wait()
    for run in sites if group.leads else ():
        config = run.config()
        manifest.write(run.activations, _manifest(run, config, count, fingerprints))
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
    return problems + beginnings.repair(run)


def _harvest_side(
    sites: Sequence[Run], side: Side, origin: Fingerprint, missing: dict[int, list[Run]], shown: bool
) -> None:
    """Write one model's rows for the shards that some sites miss, and with them how surprised it is, if it goes on."""
    configs, folder = [run.config() for run in sites], sites[0].activations
    model = models.load(configs[0].models.side(side))
    layers = [models.describe(config.models.side(side)).layer for config in configs]
    limit = Limit(configs[0].harvest, model)
    total = int(sum(_lengths(folder, side, shard).sum() for shard in missing))
    with progress.bar(f"reading {model.title}"[:22], total, "tokens", shown=shown) as bar, model.lock:
        extent = _extent(sites[0], model, max(layers), side)
        read = partial(losses.streams_and_losses, model, layers)
        for shard, lacking in missing.items():
            tokens = shards.read_tokens(folder, shard, [f"ids_{side}", f"index_{side}"])
            ids, paired = (tokens[f"{name}_{side}"].to_pylist() for name in ("ids", "index"))
            held = np.array([len(index) for index in paired])
            first = np.zeros_like(held) if extent is None else extent.first_pairs(shard, held)
            begin = [max(index[:count], default=-1) + 1 for index, count in zip(paired, first.tolist(), strict=True)]
            *rows_by_site, lost = paired_rows(ids, paired, read, limit, model, bar.update, begin)
            measured = torch.cat([torch.arange(pairs) < count for pairs, count in zip(held, first, strict=True)])
            for run, config, rows in zip(sites, configs, rows_by_site, strict=True):
                if run not in lacking:
                    continue
                if extent is not None:
                    path = extent.path(run.activations, side, shard, origin.weights, origin.tokenizer)
                    beginnings.write(path, lost[measured, 0])
                shards.write_rows(run.activations, side, shard, rows, config.harvest.format)


def _expect_same(run: Run, side: Side, origin: Fingerprint, count: int, leads: bool) -> None:
    """See that a model is the one that wrote the shards that are there, and note it for those that come.

    Raises:
        UserError: if it is not.
    """
    model, folder = run.config().models.side(side), run.activations
    note = folder / side / _ORIGIN
    is_there = any(shards.is_written(folder, side, shard) for shard in range(count))
    before = _origin(folder, side) if is_there else None
    if before is not None and before != [origin.weights, origin.tokenizer]:
        now, then = (" / ".join(f"{one:.12}" for one in of) for of in ((origin.weights, origin.tokenizer), before))
        raise UserError(
            f"{model.source}: its weights or its tokenizer are others ({now}) than those by which part of "
            f"{folder / side} was harvested ({then}); bring these back, or delete {run.path} and begin again."
        )
    if leads and before is None:
        disk.write_text(note, f"{origin.weights}\n{origin.tokenizer}\n")


def _origin(folder: Path, side: Side) -> list[str] | None:
    """The fingerprints of weights and tokenizer by which rows were written; None where an older version wrote them."""
    note = folder / side / _ORIGIN
    if note.exists():
        return note.read_text(encoding="utf-8").splitlines()
    if (folder / "manifest.json").exists():
        facts = manifest.read(folder).side(side)
        return [facts.weights, facts.tokenizer]
    return None


def _extent(run: Run, model: LoadedModel, layer: int, side: Side) -> Extent | None:
    """How much is measured of a model's surprise while it is read; None if nothing, or in a pass of its own later."""
    evidence, folder = run.config().evidence, run.activations
    texts = shards.read_tokens(folder, 0, [f"ids_{side}"])[:_TEXTS].to_pydict()[f"ids_{side}"]
    if not evidence.surprise_pairs or not losses.agree(model, max(texts, key=len), layer):
        return None
    held = tuple(int(beginnings.pairs_held(folder, shard).sum()) for shard in range(pairing.count_shards(run)))
    return Extent(evidence.surprise_pairs, evidence.surprise_window, held)


def _lengths(folder: Path, side: Side, shard: int) -> npt.NDArray[np.int64]:
    """Tokens of each document of a shard."""
    [column] = shards.read_tokens(folder, shard, [f"ids_{side}"])
    return np.diff(column.combine_chunks().offsets.to_numpy())


def _manifest(run: Run, config: RunConfig, count: int, fingerprints: Mapping[Side, Fingerprint]) -> Manifest:
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
        _side_facts(
            config, side, fingerprints[side], described[side], float(np.median(norms[side])), limit, scale[side]
        )
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
    config: RunConfig,
    side: Side,
    origin: Fingerprint,
    described: Description,
    median: float,
    limit: float,
    scale: Scale,
) -> SideFacts:
    model = config.models.side(side)
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
