"""A small crosscoder's training in as many processes as `torchrun` has started; each says what it came to, as JSON."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfc.config import CrosscoderConfig, TrainingConfig
from dfc.crosscoder import checkpoint, model
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.training import fit, held_out_fve, new_state
from dfc.machine.processes import ALONE, Group, joined

WIDTHS = (12, 14)
ROWS = 80


def batches() -> Iterator[Tensor]:
    """Sparse sums of a few directions."""
    draw = torch.Generator().manual_seed(5)
    directions = torch.randn(30, sum(WIDTHS), generator=draw)
    while True:
        chosen = torch.rand(ROWS, 30, generator=draw) < 0.1
        yield (chosen * torch.rand(ROWS, 30, generator=draw)) @ directions


def train(
    folder: Path, steps: int, choices: dict[str, Any], scope: str = "total", group: Group = ALONE
) -> dict[str, Any]:
    """Go on to a step from the folder's checkpoint, if it has one, and write the next.

    Args:
        folder: where model and checkpoint are written.
        steps: to which of 14 steps.
        choices: of the crosscoder.
        scope: of AuxK.
        group: the processes.

    Returns:
        What this process came to: features, losses and FVE, hashes of what all must have alike, bytes sent a step.
    """
    settings: Any = {"aux_k": 3, "aux_scope": scope, "dead_after_pairs": 3 * ROWS, "clip_gradient": 0.5, "batch": ROWS}
    training = TrainingConfig(
        steps=14, learning_rate=3e-3, warmup_steps=2, k_start=6, k_anneal_steps=4, threshold_start=3, **settings
    )
    first = next(batches())
    crosscoder = Crosscoder(CrosscoderConfig(k=3, **choices), WIDTHS, group=group)
    if crosscoder.prediction is not None:
        crosscoder.prediction.fit([first])
    crosscoder.initialise(3, first.median(dim=0).values)
    state = new_state(crosscoder, training)
    checkpoint.restore(folder, crosscoder, state)
    taken = fit(crosscoder, state, islice(batches(), state.step, None), training)
    losses, sent = [], []
    for result in islice(taken, steps - state.step):
        losses.append([float(result.loss.detach()), float(result.aux_loss.detach())])
        sent.append(group.sent)
    checkpoint.save(folder, crosscoder, state)
    model.save(crosscoder, folder)
    alike = torch.cat([crosscoder.decoder_bias.detach(), *(part.threshold[None] for part in crosscoder.parts)])
    return {
        "own": [len(part) for part in crosscoder.parts],
        "losses": losses,
        "fve": held_out_fve(crosscoder, first),
        "alike": hashlib.sha256(alike.numpy().tobytes()).hexdigest(),
        "sent": sent[-1] - sent[-2],
    }


if __name__ == "__main__":
    with joined() as among:
        print(json.dumps(train(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]), sys.argv[4], among)))
