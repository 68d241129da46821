"""Encode all kept pairs of a run, once: the stage between training and whatever looks at features.

Codes that are there are kept as long as the crosscoder and the rows are those they were made from, so that a killed
stage goes on with the next shard, and runs from before there was this stage are encoded when somebody needs it.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch

from dfc import runs
from dfc.activations import shards
from dfc.activations.loader import KeptRows, kept_rows
from dfc.activations.scales import Spread
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, MemoryShortError, UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.crosscoder.model import Codes, Crosscoder
from dfc.features import codes
from dfc.features.codes import CodesOnDisk, HeldOut, ShardCodes
from dfc.machine import devices, disk, memory, progress
from dfc.machine.processes import ALONE, Group
from dfc.runs import Run

BYTES = 8
"""Of an entry on disk, at most; 6 in a shard of up to 65,536 pairs."""
_FORM = b"codes 1"  # what an older version left is made anew


def encode(run: Run, group: Group = ALONE) -> None:
    """Write the codes of the shards that have none, on the device of `training.device`.

    Args:
        run: trained.
        group: processes that share the shards.

    Raises:
        MemoryShortError: if there is no memory for it.
        UserError: if the run is not trained, its files are damaged, or the codes do not fit on the disk.
    """
    store, config = ActivationStore(run.activations), run.config()
    origins = _origins(run, len(store))
    own = group.share(len(store))
    missing = [shard for shard in range(len(store))[own] if codes.made_from(run.codes, shard) != origins[shard]]
    manifest = run.codes / "manifest.json"
    if group.total(len(missing)) == 0 and manifest.exists():
        return
    if group.leads:
        manifest.unlink(missing_ok=True)
    device = devices.pick(config.training.device)
    kept = [facts.train + facts.held_out for facts in store.manifest.shards]
    left, mine = sum(kept[shard] for shard in missing), sum(kept[own])
    _check_disk(run.codes, group.total(left), config.crosscoder.k)
    try:
        crosscoder = crosscoder_model.load(run.crosscoder).to(device)
        with progress.bar("encoding", mine, "pairs", done=mine - left, shown=group.leads) as bar:
            for shard in missing:
                write_shard(run.codes, crosscoder, kept_rows(store, shard), config.index.batch, origins[shard])
                bar.update(kept[shard])
    except Exception as error:
        if not memory.is_out_of_memory(error):
            raise
        raise MemoryShortError(
            f"{run.path}: {device} or this machine has no memory to encode {config.index.batch:,} pairs at once; close "
            f"other programs, lower index.batch or change training.device, and start again to go on."
        ) from error
    group.wait()
    if group.leads:
        _finish(run, CodesOnDisk(run.codes, crosscoder, store), processes=group.size, device=str(device))


def encode_shard(crosscoder: Crosscoder, rows: KeptRows, batch: int, held_out: HeldOut | None = None) -> ShardCodes:
    """Codes of a shard's kept rows, `batch` rows encoded at once, where the crosscoder lies.

    With `held_out`, that takes in how well the held-out ones among them are explained.
    """
    encoded, where, device = [], [], crosscoder.device
    for own, row, kept_out in zip(rows.x.split(batch), rows.row.split(batch), rows.held_out.split(batch), strict=True):
        x, out = own.to(device), kept_out.to(device)
        found = crosscoder.encode(x)
        encoded.append(found.to(torch.device("cpu")))
        where.append(row[encoded[-1].rows])
        if held_out is not None and bool(out.any()):
            mine = out[found.rows]
            place = out.cumsum(0) - 1  # of each row among those held out
            held_out.add(crosscoder, x[out], Codes(place[found.rows[mine]], found.features[mine], found.values[mine]))
    row = torch.cat(where).numpy()
    feature = torch.cat([part.features for part in encoded]).numpy()
    value = torch.cat([part.values for part in encoded]).numpy()
    features = crosscoder.config.features
    # A feature's rows came in order, and numpy sorts small numbers several times as fast.
    order = np.argsort(feature.astype(np.uint16) if features <= 1 << 16 else feature, kind="stable")
    return ShardCodes(np.bincount(feature, minlength=features), row[order], value[order])


def write_shard(folder: Path, crosscoder: Crosscoder, rows: KeptRows, batch: int, origin: str) -> None:
    """Write what index and evidence read of a shard's kept rows, made from what `origin` names."""
    held_out, spread = HeldOut.of(crosscoder), Spread(crosscoder.decoder_bias.detach().cpu())
    spread.add(rows.x)
    found = encode_shard(crosscoder, rows, batch, held_out)
    codes.write(folder, rows.shard, found, held_out, spread, origin)


def _finish(run: Run, encoded: CodesOnDisk, **how: int | str) -> None:
    """Say how much there is, and mark the stage as done."""
    current = {codes.path_of(run.codes, shard) for shard in range(len(encoded))}
    for path in set(run.codes.glob("*.safetensors")) - current:
        path.unlink()
    pairs, entries = encoded.store.manifest.kept, encoded.count()
    megabytes = sum(path.stat().st_size for path in current) / 1e6
    progress.say(f"{run.codes}: {pairs:,} pairs, {entries / max(1, pairs):.1f} features a pair, {megabytes:,.1f} MB")
    facts = {"pairs": pairs, "entries": entries}
    runs.record(run, "encode", **facts, **how)
    disk.write_json(run.codes / "manifest.json", facts)


def _origins(run: Run, count: int) -> list[str]:
    """Of each shard a hash of what its codes are made from; a shard's facts hold the checksums of its rows.

    Raises:
        MissingError: if the run is not trained, or a file is missing.
    """
    shared = hashlib.blake2b(_FORM + crosscoder_model.digest(run.crosscoder).encode(), digest_size=16)
    shared.update((run.activations / "manifest.json").read_bytes())
    origins = []
    for shard in range(count):
        own = shared.copy()
        for side in SIDES:
            path = run.activations / side / f"{shard:05d}.json"
            with disk.reading(path, shards.repair(run.activations)):
                own.update(path.read_bytes())
        origins.append(own.hexdigest())
    return origins


def _check_disk(folder: Path, pairs: int, k: int) -> None:
    need, free = pairs * k * BYTES, shutil.disk_usage(folder.parent).free
    if need > free:
        raise UserError(
            f"{folder}: the codes of {pairs:,} pairs need {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free on "
            f"this disk; make room, or set DFC_DATA to another disk."
        )
