"""A training step against the floor (its one dense product) and against dense autograd."""

from __future__ import annotations

import multiprocessing
import resource
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dfc.bench.figures import Figure, milliseconds
from dfc.config import CrosscoderConfig, TrainingConfig
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.objective import forward

WIDTHS = (576, 640)
BATCH = 2_048
K = 64
_TRAINING = TrainingConfig()
_ROUNDS = {4_096: 7, 16_384: 3, 65_536: 2}
_TARGETS = {4_096: (3.0, None), 16_384: (2.0, 0.25), 65_536: (None, None)}


def run() -> list[Figure]:
    """Time and peak memory of a step at three dictionary sizes."""
    figures: list[Figure] = []
    for features, rounds in _ROUNDS.items():
        times = milliseconds({name: make(features) for name, make in _STEPS.items()}, rounds)
        memory = {name: _peak_memory(name, features) for name in _STEPS}
        of_floor, of_dense = _TARGETS[features]
        title = f"{features:,} features"
        figures += [
            Figure(f"floor: encode product, {title}", times["floor"], "ms"),
            Figure(f"step, {title}", times["step"], "ms", "floor", times["step"] / times["floor"], of_floor),
            Figure(f"step, {title} ", times["step"], "ms", "dense", times["step"] / times["dense"], of_dense),
            Figure(f"dense autograd step, {title}", times["dense"], "ms", "floor", times["dense"] / times["floor"]),
            Figure(f"step's memory, {title}", memory["step"], "MB", "dense", memory["step"] / memory["dense"]),
        ]
    return figures


def _crosscoder(features: int) -> tuple[Crosscoder, Tensor]:
    torch.manual_seed(0)
    crosscoder = Crosscoder(CrosscoderConfig(features=features, k=K), WIDTHS)
    crosscoder.initialise(0, torch.zeros(sum(WIDTHS)))
    return crosscoder, torch.randn(BATCH, sum(WIDTHS))


def _floor(features: int) -> Callable[[], object]:
    """The product that no BatchTopK step can do without: every pre-activation of the batch, once."""
    crosscoder, x = _crosscoder(features)
    products = [(x[:, part.columns].contiguous(), part.encoder.detach()) for part in crosscoder.parts]
    return lambda: [rows @ encoder.T for rows, encoder in products]


def _step(features: int) -> Callable[[], object]:
    """Ours: forward, backward, clipping and fused Adam."""
    crosscoder, x = _crosscoder(features)
    optimizer = torch.optim.Adam(crosscoder.parameters(), lr=1e-4, fused=True)
    dead = torch.zeros(features, dtype=torch.bool)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        forward(crosscoder, x, K, dead, _TRAINING).loss.backward()
        torch.nn.utils.clip_grad_norm_(crosscoder.parameters(), 1.0)
        optimizer.step()

    return step


def _dense(features: int) -> Callable[[], object]:
    """As today's libraries do it: two full encoders and decoders, one flattened topk, dense autograd throughout."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, sum(WIDTHS))
    decoder = (0.4 * torch.nn.functional.normalize(torch.randn(features, sum(WIDTHS)), dim=1)).requires_grad_()
    encoder = decoder.detach().clone().requires_grad_()
    bias = torch.zeros(features, requires_grad=True)
    decoder_bias = torch.zeros(sum(WIDTHS), requires_grad=True)
    parameters = [encoder, decoder, bias, decoder_bias]
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        activations = torch.relu((x - decoder_bias) @ encoder.T + bias)
        scores = activations * decoder.norm(dim=1)
        kept = scores.flatten().topk(K * BATCH, sorted=False).indices
        codes = torch.zeros_like(activations).flatten().scatter(0, kept, activations.flatten()[kept])
        residual = x - codes.view_as(activations) @ decoder - decoder_bias
        (residual.square().sum() / BATCH).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


_STEPS: dict[str, Callable[[int], Callable[[], object]]] = {"floor": _floor, "step": _step, "dense": _dense}


def _peak_memory(name: str, features: int) -> float:
    """MB by which two steps in a fresh process raise its peak memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_memory, (name, features))


def _measure_memory(name: str, features: int) -> float:
    before = _high_water()
    step = _STEPS[name](features)
    step()
    step()
    return _high_water() - before


def _high_water() -> float:
    """Largest resident size of this process so far, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would count the process that started this one
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
