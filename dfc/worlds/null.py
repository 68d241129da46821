"""The null run: a model compared with itself in a rotated basis. Whatever is found in one of them alone is false.

The rotation changes nothing that a model knows, but everything that a crosscoder sees: its
decoder vectors in the two copies have nothing in common but what training gives them.
Where each column has a scale of its own (`harvest.scale: columns`), the scaled stream is
what is rotated: both copies give every direction the weight that it has in the run.
"""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa
import torch

from dfc import runs
from dfc.activations import harvest, pairing, shards
from dfc.config import RunConfig
from dfc.crosscoder import training
from dfc.evidence import verify
from dfc.machine import disk, progress
from dfc.runs import Run
from dfc.worlds.null_result import NullResult


def null(run: Run, seed: int = 0) -> NullResult:
    """Compare model A of a harvested run with itself, through training and evidence; the result is kept in null.json.

    The null run has a folder of its own, NAME-null, and goes on where it was after an interruption.

    Args:
        run: its activations of model A are used.
        seed: of the rotation.

    Raises:
        UserError: if the run is not harvested, or has no dedicated features to be judged.
    """
    made = runs.create(_with_itself(run.config()))
    with run.lock(), made.lock():
        if not made.done()["harvest"]:
            _rotate(run, made, seed)
        if not made.done()["train"]:
            training.train(made)
        judgement = verify.judge(made, surprised=False)  # a model is as surprised as itself: the rest is tested
        verify.say(judgement)
        dedicated = {side: counts for side, counts in judgement.counts().items() if side != "shared"}
        result = NullResult(
            sum(sum(counts.values()) for counts in dedicated.values()),
            sum(counts["exclusive"] for counts in dedicated.values()),
            judgement.counts(),
            judgement.reference(),
        )
        disk.write_json(run.null_result, asdict(result))
    return result


def _with_itself(config: RunConfig) -> RunConfig:
    """The same settings, with model A on both sides."""
    a = config.models.a
    models = {"a": a, "b": a.model_copy(update={"name": f"{a.title}, rotated"})}
    return config.model_copy(update={"name": f"{config.name}-null", "models": config.models.model_copy(update=models)})


def _rotate(run: Run, made: Run, seed: int) -> None:
    """Model A's activations, and the same in a random orthonormal basis as model B's."""
    facts = shards.ActivationStore(run.activations).manifest.a
    width, scale = facts.width, facts.column_scale()
    shape = scale / scale.median()  # exactly 1 where all columns have one factor
    generator = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(width, width, generator=generator)).Q
    pairing.share(run, [made])
    count, form = pairing.count_shards(run), run.config().harvest.format
    with progress.bar("rotating", count, "shards") as bar:
        for shard in range(count):
            shards.write_tokens(made.activations, shard, _as_both(shards.read_tokens(run.activations, shard)))
            rows = shards.read_rows(run.activations, "a", shard).float()
            shards.write_rows(made.activations, "a", shard, rows, form)
            shards.write_rows(made.activations, "b", shard, (rows * shape) @ rotation, form)
            bar.update()
    harvest.harvest([made])  # finds all written, and writes the manifest


def _as_both(tokens: pa.Table) -> pa.Table:
    """Documents with model A's tokens on both sides."""
    own = {f"{name}_b": f"{name}_a" for name in ("ids", "text", "lengths", "index")}
    return pa.table([tokens[own.get(name, name)] for name in tokens.column_names], tokens.schema)
