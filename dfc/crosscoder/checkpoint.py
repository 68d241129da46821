"""Training state on disk: everything needed to go on as if nothing had happened.

The order of the pairs follows from the seed and the step alone, and nothing else in training is random. The file is of
the whole dictionary, however many processes share it: any number of them may go on from it.
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

from dfc.config import SettingsError
from dfc.crosscoder.model import Crosscoder, column_scale, misfit
from dfc.machine import disk


@dataclass
class TrainingState:
    """What changes while a crosscoder is trained, beside its own parameters and buffers.

    Attributes:
        step: optimizer steps done.
        seconds, waited: time spent on them, and waiting for their batches.
        optimizer: Adam.
        pairs_since_fired: for each of this process's features, (features,).
        stream: position in the corpus, where training reads on in it.
    """

    step: int
    seconds: float
    waited: float
    optimizer: torch.optim.Adam
    pairs_since_fired: Tensor
    stream: dict[str, Any] | None = None


def save(folder: Path, crosscoder: Crosscoder, state: TrainingState) -> None:
    """Write checkpoint.safetensors in place of the one before.

    All processes that share the features call it, and the first writes the whole.
    """
    parameters = dict(crosscoder.named_parameters())
    tensors = _named("model", crosscoder.whole(crosscoder.state_dict()))
    for key in ("exp_avg", "exp_avg_sq"):
        moments = {name: state.optimizer.state[parameter][key] for name, parameter in parameters.items()}
        tensors |= _named(f"adam.{key}", crosscoder.whole(moments))
    tensors |= _named("adam.step", {name: state.optimizer.state[of]["step"] for name, of in parameters.items()})
    since = [crosscoder.group.collect(part) for part in crosscoder.by_part(state.pairs_since_fired)]
    if not crosscoder.group.leads:
        return
    tensors["pairs_since_fired"] = torch.cat(since)
    kept = ("step", "seconds", "waited", "stream")
    facts = json.dumps({name: getattr(state, name) for name in kept})
    with disk.replacing(folder / "checkpoint.safetensors") as temporary:
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
        disk.reading(path, "delete it and train again from the start", SafetensorError),
        safe_open(path, framework="pt") as file,
    ):
        facts = json.loads(file.metadata()["facts"])
        expected = _expected(crosscoder)
        found = {name: list(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        if found.get("model.scale") == [2]:  # of the older form, which `column_scale` reads
            found["model.scale"] = expected["model.scale"]
        if difference := misfit(expected, found):
            raise SettingsError(
                f"{path}: is of a crosscoder with other settings, or of another version of dfc ({difference}); "
                f"put the settings back in {folder.parent / 'run.yaml'}, or train under another `name`."
            )
        spread = crosscoder.spread()

        def own(kind: str, name: str) -> Tensor:
            """This process's rows of what is written of a parameter or buffer."""
            key = f"{kind}.{name}"
            if name not in spread or not found[key]:
                return file.get_tensor(key)
            return file.get_slice(key)[spread[name].own]

        weights = {name: own("model", name) for name in crosscoder.state_dict()}
        crosscoder.load_state_dict({**weights, "scale": column_scale(weights["scale"], crosscoder.widths)})
        for name, parameter in crosscoder.named_parameters():
            state.optimizer.state[parameter] = {
                key: own(f"adam.{key}", name).to(parameter.device) for key in ("step", "exp_avg", "exp_avg_sq")
            }
        since = file.get_tensor("pairs_since_fired")
        state.pairs_since_fired = torch.cat([since[part.ids] for part in crosscoder.parts]).to(crosscoder.device)
    for name, value in facts.items():
        setattr(state, name, value)
    return True


def _named(kind: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under the names that they have in the file."""
    return {f"{kind}.{name}": tensor for name, tensor in tensors.items()}


def _expected(crosscoder: Crosscoder) -> dict[str, list[int]]:
    """Names and shapes of what `save` writes for this crosscoder."""
    whole = crosscoder.whole_shapes()
    shapes = {f"model.{name}": shape for name, shape in whole.items()}
    for name, _ in crosscoder.named_parameters():
        shapes |= {f"adam.step.{name}": [], f"adam.exp_avg.{name}": whole[name], f"adam.exp_avg_sq.{name}": whole[name]}
    return {**shapes, "pairs_since_fired": [crosscoder.config.features]}


def saved_step(folder: Path) -> int | None:
    """The step of the last checkpoint; None if there is none."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        return int(json.loads(file.metadata()["facts"])["step"])
