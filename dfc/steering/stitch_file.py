"""The linear maps between the two models' streams, as `verify` leaves them with the run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dfc.config import MissingError, Side
from dfc.machine import disk
from dfc.runs import Run


@dataclass(frozen=True)
class Carrier:
    """A linear map from one model's scaled stream to the other's.

    Attributes:
        matrix: (width of the other model, width of this one).
        r2: share of the other model's variance that the map explains on held-out documents.
    """

    matrix: Tensor
    r2: float


def save(run: Run, a_to_b: Tensor, b_to_a: Tensor, quality: dict[str, float]) -> None:
    """Write both maps, (width_b, width_a) and (width_a, width_b), with their held-out R²."""
    tensors = {"a_to_b": a_to_b.float().contiguous(), "b_to_a": b_to_a.float().contiguous()}
    tensors |= {name: torch.tensor(value, dtype=torch.float64) for name, value in quality.items()}
    with disk.replacing(run.stitch) as temporary:
        save_file(tensors, temporary)


def load(run: Run, origin: Side) -> Carrier:
    """The map out of one model into the other.

    Raises:
        MissingError: if the run has none yet.
        DamagedError: if the file is damaged.
    """
    file, name = run.stitch, "a_to_b" if origin == "a" else "b_to_a"
    remedy = f"make it with `python -m dfc verify {run.path}`"
    if not file.exists():
        raise MissingError(
            f"{file}: this run has no stitch yet, so nothing can be carried to the other model; {remedy}."
        )
    with disk.reading(file, remedy, SafetensorError), safe_open(file, framework="pt") as content:
        return Carrier(content.get_tensor(name), float(content.get_tensor(f"r2_{name}")))
