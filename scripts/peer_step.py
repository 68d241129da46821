"""A training step beside that of the peer's own code, both of equal size, in turn, in one run.

    git clone https://github.com/science-of-finetuning/crosscoder_learning peer
    git -C peer checkout b2363ed54590074ef4667ca6152094800a65f9aa
    .venv/bin/python -m pip install einops        # which it imports, and nothing here does
    .venv/bin/python scripts/peer_step.py peer

The peer is the `BatchTopKCrossCoderTrainer` of dictionary_learning, in the branch from which the crosscoders of
published model diffs came; its `update` is called as its own training loop calls it. Ours is the step of
`python -m dfc bench train`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from dfc.bench import figures, train
from dfc.bench.figures import Figure, milliseconds
from dfc.bench.train import K, Size

WIDTH = 608  # of each model: the peer's are of one width, together as wide as the demo's
ROUNDS = {4_096: 5, 16_384: 3}
TARGET = 0.12


def peer_step(size: Size) -> Callable[[], object]:
    """The peer's: loss, backward and Adam, its schedules included."""
    from dictionary_learning.trainers.crosscoder import BatchTopKCrossCoderTrainer

    trainer = BatchTopKCrossCoderTrainer(
        steps=100_000, activation_dim=WIDTH, dict_size=size.features, k=K, layer=0, lm_name="", seed=0, device="cpu"
    )
    x = torch.randn(size.batch, 2, WIDTH)
    after_warm_up = trainer.warmup_steps + 1
    return lambda: trainer.update(after_warm_up, x.clone())  # it scales what it is given in place


def main(folder: Path) -> str:
    """The table of both, for each size."""
    sys.path.insert(0, str(folder))
    measured = []
    for features, rounds in ROUNDS.items():
        size = Size(features, widths=(WIDTH, WIDTH))
        tasks = {"ours": train.step(size, torch.float32), "peer": peer_step(size), "floor": train.floor(size)}
        times, title = milliseconds(tasks, rounds), f"{features:,} features"
        measured += [
            Figure(f"peer's step, {title}", times["peer"], "ms", "encode product", times["peer"] / times["floor"]),
            Figure(f"step, {title}", times["ours"], "ms", "peer's step", times["ours"] / times["peer"], TARGET),
        ]
    return figures.as_table("peer", measured)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "dictionary_learning").is_dir():
        sys.exit(__doc__)
    print(main(Path(sys.argv[1])))
