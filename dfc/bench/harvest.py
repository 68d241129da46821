"""Harvesting against a bare forward pass of the same model, stopped at the same layer, on the same batches."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dfc import config, demo, models
from dfc.activations import batches, pairing, shards
from dfc.bench.figures import Figure, milliseconds
from dfc.config import SIDES, HarvestConfig, Side
from dfc.machine import disk
from dfc.models import LoadedModel
from dfc.runs import Run

_PAIRS = 2_500
_ROUNDS = 3


def run() -> list[Figure]:
    """Tokens per second of both models of the demo, on its own prompts.

    Raises:
        UserError: if the demo's models are not there.
    """
    with paired_prompts() as made:
        return [figure for side in SIDES for figure in _one_side(made, side)]


@contextmanager
def paired_prompts() -> Iterator[Run]:
    """A run of the demo's models on its own prompts, paired, in a folder that is deleted afterwards.

    Raises:
        UserError: if the demo's models are not there.
    """
    settings = demo.settings().model_dump(mode="json")
    settings["corpus"] |= {"pairs": _PAIRS, "sources": [{"name": "prompts", "path": "data/prompts/*.jsonl"}]}
    settings["harvest"]["shard_pairs"] = _PAIRS
    with tempfile.TemporaryDirectory() as folder:
        made = Run(Path(folder))
        disk.write_text(made.path / "run.yaml", config.dump(config.parse(settings, origin="bench harvest")))
        pairing.pair(made)
        yield made


def _one_side(made: Run, side: Side) -> list[Figure]:
    table, settings = shards.read_tokens(made.activations, 0), made.config()
    ids, paired = (table[f"{name}_{side}"].to_pylist() for name in ("ids", "index"))
    return beside_bare(models.load(settings.models.side(side)), ids, paired, settings.harvest, made.activations)


def beside_bare(
    model: LoadedModel, ids: list[list[int]], paired: list[list[int]], settings: HarvestConfig, folder: Path
) -> list[Figure]:
    """Tokens per second of harvesting documents onto the disk, beside the bare forward pass on the same batches.

    Args:
        model: that is read.
        ids, paired: token ids of each document, and which of these are paired.
        settings: of the harvest.
        folder: where rows are written, as model A's.
    """
    tokens = sum(map(len, ids))
    batched: list[tuple[torch.Tensor, torch.Tensor]] = []

    def ours() -> None:
        def read(rows: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
            batched.append((rows, mask))
            return model.streams([model.layer], rows, mask)

        batched.clear()
        [rows] = batches.paired_rows(ids, paired, read, batches.Limit(settings, model), model, lambda _: None)
        shards.write_rows(folder, "a", 0, rows, settings.format)

    bare = _bare(model)

    def theirs() -> None:
        with torch.inference_mode():
            for rows, mask in batched:
                last = bare(input_ids=rows, attention_mask=mask, use_cache=False)
            last.last_hidden_state[0, 0, 0].item()  # a GPU is through only then

    times = milliseconds({"ours": ours, "bare": theirs}, _ROUNDS)
    rates = {name: 1e3 * tokens / time for name, time in times.items()}
    ratio = times["ours"] / times["bare"]  # a rate of at least 0.95 times theirs is a time of at most 1 / 0.95
    title = f"{model.title}, {model.layer + 1} blocks"
    return [
        Figure(f"bare forward, {title}", rates["bare"], "tok/s"),
        Figure(f"harvest to disk, {title}", rates["ours"], "tok/s", "bare forward's time", ratio, round(1 / 0.95, 3)),
    ]


def _bare(model: LoadedModel) -> Callable[..., Any]:
    """The model without what follows the layer: no later blocks, no unembedding, no hook of ours."""
    parent_path, _, name = model.blocks_path.rpartition(".")
    inner = copy.copy(model.model.get_submodule(parent_path))
    inner._modules = {**inner._modules, name: nn.ModuleList(model.blocks[: model.layer + 1])}
    inner.config = copy.copy(inner.config)
    inner.config.num_hidden_layers = model.layer + 1
    return inner
