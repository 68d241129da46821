"""Training state on disk: everything needed to go on as if nothing had happened.

The order of the pairs follows from the seed and the step alone, and nothing else in training is random.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dfc import runs
from dfc.config import SettingsError
from dfc.crosscoder.model import Crosscoder, column_scale, misfit, shapes_of


@dataclass
class TrainingState:
    """What changes while a crosscoder is trained, beside its own parameters and buffers.

    Attributes:
        step: optimizer steps done.
        seconds, waited: time spent on them, and waiting for their batches.
        optimizer: Adam.
        pairs_since_fired: for each feature, (features,).
        stream: position in the corpus, where training reads on in it.
    """

    step: int
    seconds: float
    waited: float
    optimizer: torch.optim.Adam
    pairs_since_fired: Tensor
    stream: dict[str, Any] | None = None


def save(folder: Path, crosscoder: Crosscoder, state: TrainingState) -> None:
    """Write checkpoint.safetensors in place of the one before."""
    tensors = {f"model.{name}": tensor for name, tensor in crosscoder.state_dict().items()}
    for name, parameter in crosscoder.named_parameters():
        for key, tensor in state.optimizer.state[parameter].items():
            tensors[f"adam.{key}.{name}"] = tensor
    tensors["pairs_since_fired"] = state.pairs_since_fired
    kept = ("step", "seconds", "waited", "stream")
    facts = json.dumps({name: getattr(state, name) for name in kept})
    with runs.replacing(folder / "checkpoint.safetensors") as temporary:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata={"facts": facts})


def restore(folder: Path, crosscoder: Crosscoder, state: TrainingState) -> bool:
    """Bring crosscoder and state to the last checkpoint; False if there is none.

    Raises:
        DamagedError: if the file is damaged.
        SettingsError: if it is of a crosscoder with other settings.
        MemoryShortError: if there is no memory for it, of the machine or of the device.
    """
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return False
    with (
        runs.reading(path, "delete it and train again from the start", SafetensorError),
        safe_open(path, framework="pt") as file,
    ):
        facts = json.loads(file.metadata()["facts"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        if "model.scale" in tensors:
            tensors["model.scale"] = column_scale(tensors["model.scale"], crosscoder.widths)
        if difference := misfit(_expected(crosscoder), shapes_of(tensors)):
            raise SettingsError(
                f"{path}: is of a crosscoder with other settings, or of another version of dfc ({difference}); "
                f"put the settings back in {folder.parent / 'run.yaml'}, or train under another `name`."
            )
        crosscoder.load_state_dict(
            {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
        )
        for name, parameter in crosscoder.named_parameters():
            state.optimizer.state[parameter] = {
                key: tensors[f"adam.{key}.{name}"].to(parameter.device) for key in ("step", "exp_avg", "exp_avg_sq")
            }
        state.pairs_since_fired = tensors["pairs_since_fired"].to(crosscoder.device)
    for name, value in facts.items():
        setattr(state, name, value)
    return True


def _expected(crosscoder: Crosscoder) -> dict[str, list[int]]:
    """Names and shapes of what `save` writes for this crosscoder."""
    shapes = {f"model.{name}": shape for name, shape in shapes_of(crosscoder.state_dict()).items()}
    for name, parameter in crosscoder.named_parameters():
        shape = list(parameter.shape)
        shapes |= {f"adam.step.{name}": [], f"adam.exp_avg.{name}": shape, f"adam.exp_avg_sq.{name}": shape}
    return {**shapes, "pairs_since_fired": [crosscoder.config.features]}


def saved_step(folder: Path) -> int | None:
    """The step of the last checkpoint; None if there is none."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        return int(json.loads(file.metadata()["facts"])["step"])
