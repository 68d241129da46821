"""A training step against the floor (its one dense product) and against dense autograd; waiting for the loader; what
two processes send each other.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfc.activations import manifest, shards
from dfc.activations.loader import training_batches
from dfc.activations.manifest import Manifest, ShardFacts, SideFacts
from dfc.activations.shards import ActivationStore
from dfc.bench.figures import Figure, high_water, milliseconds
from dfc.config import SIDES, CrosscoderConfig, TrainingConfig
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.objective import forward
from dfc.crosscoder.training import clip_gradients, fit, new_state
from dfc.machine import devices
from dfc.machine.processes import ALONE, Group, joined

K = 64
_TRAINING = TrainingConfig()
_ROUNDS = {4_096: 7, 16_384: 3, 65_536: 2}
_TARGETS = {4_096: (3.0, None), 16_384: (2.0, 0.25), 65_536: (None, None)}


@dataclass(frozen=True)
class Size:
    """What a step is measured with: by default rows as wide as the demo's."""

    features: int
    widths: tuple[int, int] = (576, 640)
    batch: int = 2_048
    device: str = "cpu"
    group: Group = ALONE


_SHARED = [4_096, 16_384]
_LOADED = {"features": 4_096, "shards": 12, "pairs": 8_192, "window": 4, "steps": 36}


def run() -> list[Figure]:
    """Time and peak memory of a step at three dictionary sizes, and the share of time spent waiting for batches."""
    figures: list[Figure] = []
    for features, rounds in _ROUNDS.items():
        tasks = {**_STEPS, "least": _with_optimizer}
        times = milliseconds({name: make(Size(features)) for name, make in tasks.items()}, rounds)
        memory = {name: _peak_memory(name, features) for name in _STEPS}
        of_floor, of_dense = _TARGETS[features]
        title = f"{features:,} features"
        least = times["least"]
        figures += [
            Figure(f"floor: encode product, {title}", times["floor"], "ms"),
            Figure(f"with clipping and Adam, {title}", least, "ms", "floor", least / times["floor"]),
        ]
        for name in _OURS:
            time, size = times[name], memory[name]
            figures += [
                Figure(f"{name}, {title}", time, "ms", "floor", time / times["floor"], of_floor),
                Figure(f"{name}, {title}, beside dense", time, "ms", "dense autograd", time / times["dense"], of_dense),
                Figure(f"{name}, {title}, memory", size, "MB", "dense autograd", size / memory["dense"]),
            ]
        figures.append(
            Figure(f"dense autograd step, {title}", times["dense"], "ms", "floor", times["dense"] / times["floor"])
        )
    waited, seconds = _loader_wait()
    share = waited / (waited + seconds)
    return [
        *figures,
        *map(_exchanged, _SHARED),
        Figure("waiting for batches", 1e3 * waited / _LOADED["steps"], "ms", "a step's time", share, 0.05),
    ]


def _crosscoder(size: Size) -> tuple[Crosscoder, Tensor]:
    torch.manual_seed(0)
    crosscoder = Crosscoder(CrosscoderConfig(features=size.features, k=K), size.widths, group=size.group)
    crosscoder.initialise(0, torch.zeros(sum(size.widths)))
    return crosscoder.to(size.device), torch.randn(size.batch, sum(size.widths)).to(size.device)


def floor(size: Size, dtype: torch.dtype = torch.float32) -> Callable[[], object]:
    """The product that no BatchTopK step can do without: every pre-activation of the batch, once."""
    crosscoder, x = _crosscoder(size)
    products = [
        (x[:, part.columns].to(dtype).contiguous(), part.encoder.detach().to(dtype)) for part in crosscoder.parts
    ]
    return lambda: [rows @ encoder.T for rows, encoder in products]


def _with_optimizer(size: Size) -> Callable[[], object]:
    """The same product, and what follows any backward pass: the gradients' norm, and Adam over all weights."""
    product, (crosscoder, _) = floor(size), _crosscoder(size)
    optimizer = torch.optim.Adam(crosscoder.parameters(), lr=1e-4, fused=True)
    for parameter in crosscoder.parameters():
        parameter.grad = torch.full_like(parameter, 1e-6)

    def take() -> None:
        product()
        clip_gradients(crosscoder, 1.0)
        optimizer.step()

    return take


def step(size: Size, dtype: torch.dtype) -> Callable[[], object]:
    """Ours: forward, backward, clipping and fused Adam."""
    crosscoder, x = _crosscoder(size)
    optimizer = torch.optim.Adam(crosscoder.parameters(), lr=1e-4, fused=True)
    dead = torch.zeros(sum(map(len, crosscoder.parts)), dtype=torch.bool, device=size.device)

    def take() -> None:
        optimizer.zero_grad(set_to_none=True)
        result = forward(crosscoder, x, K, dead, _TRAINING, dtype)
        result.loss.backward()
        for part, threshold in zip(crosscoder.parts, result.thresholds, strict=True):
            part.threshold.copy_(threshold)  # the next step's first bound
        clip_gradients(crosscoder, 1.0)
        optimizer.step()

    return take


def _dense(size: Size) -> Callable[[], object]:
    """As today's libraries do it: two full encoders and decoders, one flattened topk, dense autograd throughout."""
    torch.manual_seed(0)
    x = torch.randn(size.batch, sum(size.widths))
    decoder = (
        0.4 * torch.nn.functional.normalize(torch.randn(size.features, sum(size.widths)), dim=1)
    ).requires_grad_()
    encoder = decoder.detach().clone().requires_grad_()
    bias = torch.zeros(size.features, requires_grad=True)
    decoder_bias = torch.zeros(sum(size.widths), requires_grad=True)
    parameters = [encoder, decoder, bias, decoder_bias]
    optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def take() -> None:
        optimizer.zero_grad(set_to_none=True)
        activations = torch.relu((x - decoder_bias) @ encoder.T + bias)
        scores = activations * decoder.norm(dim=1)
        kept = scores.flatten().topk(K * size.batch, sorted=False).indices
        codes = torch.zeros_like(activations).flatten().scatter(0, kept, activations.flatten()[kept])
        residual = x - codes.view_as(activations) @ decoder - decoder_bias
        (residual.square().sum() / size.batch).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return take


_OURS = {
    f"step, {str(dtype).removeprefix('torch.')} search": partial(step, dtype=dtype)
    for dtype in dict.fromkeys([torch.float32, devices.fast_dtype(torch.device("cpu"))])
}
_STEPS: dict[str, Callable[[Size], Callable[[], object]]] = {"floor": floor, **_OURS, "dense": _dense}


def _loader_wait() -> tuple[float, float]:
    """Seconds spent waiting for batches and in steps, over some steps on random activations, the first left out."""
    size = Size(_LOADED["features"])
    crosscoder, _ = _crosscoder(size)
    training = TrainingConfig(steps=_LOADED["steps"], batch=size.batch, k_start=K, dead_after_pairs=10**9)
    with tempfile.TemporaryDirectory() as folder:
        store = _random_store(Path(folder), size.widths)
        state = new_state(crosscoder, training)
        for _ in fit(crosscoder, state, training_batches(store, size.batch, _LOADED["window"], seed=0), training):
            if state.step == 1:
                state.waited = state.seconds = 0.0
    return state.waited, state.seconds


def _exchanged(features: int) -> Figure:
    """What each of two processes gives the other in a step, beside one reconstruction of the batch."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    among = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        each = [({**among, "RANK": rank, "LOCAL_RANK": rank}, features) for rank in "01"]
        sent = max(pool.starmap(_sent, each, chunksize=1)) / 1e6
    size = Size(features)
    floor = 4e-6 * size.batch * sum(size.widths)
    return Figure(f"sent a step, 2 processes, {features:,} features", sent, "MB", "rows × width", sent / floor, 1.5)


def _sent(environment: dict[str, str], features: int) -> int:
    """Bytes that a process of this environment gives the others in its third step, when bounds have settled."""
    os.environ.update(environment)
    with joined() as group:
        take = step(Size(features, group=group), torch.float32)
        take()
        take()
        before = group.sent
        take()
        return group.sent - before


def _random_store(folder: Path, widths: tuple[int, int]) -> ActivationStore:
    """Activations of no model, in a store like any other."""
    pairs, count = _LOADED["pairs"], _LOADED["shards"]
    lists = dict.fromkeys(
        ("ids_a", "ids_b", "lengths_a", "lengths_b", "index_a", "index_b", "ends"), (np.arange(pairs), [0, pairs])
    )
    texts = {"text_a": [None], "text_b": [None]}
    roles = np.zeros(pairs), [0, pairs]
    tokens = shards.tokens_table(document=[0], held_out=[False], **texts, **lists, roles=roles)
    for shard in range(count):
        shards.write_tokens(folder, shard, tokens)
        for side, width in zip(SIDES, widths, strict=True):
            shards.write_rows(folder, side, shard, torch.randn(pairs, width))
    a, b = (SideFacts("", "", None, "", "", "", False, 0, 1, width, "float32", 1.0, 1e9, 1.0) for width in widths)
    manifest.write(folder, Manifest(a, b, 0, tuple(ShardFacts(pairs, pairs, 0) for _ in range(count))))
    return ActivationStore(folder)


def _peak_memory(name: str, features: int) -> float:
    """MB by which two steps in a fresh process raise its peak memory."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_memory, (name, features))


def _measure_memory(name: str, features: int) -> float:
    before = high_water()
    take = _STEPS[name](Size(features))
    take()
    take()
    return high_water() - before
