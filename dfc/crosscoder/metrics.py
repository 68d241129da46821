"""What training reports: means over steps, one JSON line at a time, and TensorBoard events on request."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

import torch

from dfc.config import UserError
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.objective import StepResult
from dfc.crosscoder.variance import ExplainedVariance
from dfc.machine import disk
from dfc.runs import Run


class StepMeans:
    """Losses, FVE and L0 over the steps since the last line; on the device until they are asked for."""

    def __init__(self, crosscoder: Crosscoder) -> None:
        self._parts = [part.name for part in crosscoder.parts]
        self._group = crosscoder.group
        self._variance = ExplainedVariance(crosscoder.widths)
        self._losses = torch.zeros(2, device=crosscoder.device)
        self._active = torch.zeros(len(self._parts))
        self._steps = 0

    def add(self, result: StepResult) -> None:
        """Take in a step."""
        self._steps += 1
        self._losses += torch.stack([result.loss, result.aux_loss]).detach()
        self._active += torch.tensor([float(len(fired)) for fired in result.fired])
        self._variance.add(result.x, result.residual)

    def taken(self) -> dict[str, float]:
        """Their means, over all processes' features."""
        loss, aux_loss = (self._losses / self._steps).tolist()
        fve_a, fve_b = self._variance.fve()
        l0 = (self._group.sum(self._active) / self._variance.rows).tolist()
        result = {"loss": loss, "aux_loss": aux_loss, "fve_a": fve_a, "fve_b": fve_b}
        return result | {f"l0_{name}": value for name, value in zip(self._parts, l0, strict=True)}


class MetricsLog:
    """metrics.jsonl, and with `tensorboard` the same as events; lines past `step` are dropped first.

    Raises:
        UserError: if TensorBoard is wanted and not installed.
    """

    def __init__(self, run: Run, step: int, tensorboard: bool, writes: bool = True) -> None:
        self._path = run.metrics if writes else None
        self._events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise UserError(
                    "training.tensorboard: TensorBoard is not installed; `pip install tensorboard`, or turn it off."
                ) from None
            self._events = SummaryWriter(str(run.path / "tensorboard"), purge_step=step + 1)
        if writes:
            kept = [line for line in run.metric_lines() if line["step"] <= step]
            disk.write_text(run.metrics, "".join(json.dumps(line) + "\n" for line in kept))

    def add(self, line: dict[str, float]) -> None:
        """Write a line; it holds its `step`."""
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if self._events:
            for name, value in line.items():
                self._events.add_scalar(name, value, line["step"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._events:
            self._events.close()
