"""Train a crosscoder on an activation store (PAPER: training)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from dfc import progress, runs
from dfc.activations.loader import held_out_rows, rows_of_batch, training_batches
from dfc.activations.shards import ActivationStore
from dfc.config import CrosscoderConfig, TrainingConfig, UserError
from dfc.crosscoder import checkpoint, model
from dfc.crosscoder.batch_topk import Entries, SparsePass, exactly, largest_in_each_row, reaching
from dfc.crosscoder.checkpoint import TrainingState
from dfc.crosscoder.model import Crosscoder, Dictionary
from dfc.runs import Run

_HELD_OUT_ROWS = 8_192
_SAMPLED_ROWS = 64


@dataclass(frozen=True)
class StepResult:
    """What one step measured: the main and AuxK losses per pair, FVE, L0, and which features fired."""

    loss: Tensor
    aux_loss: Tensor
    fve: tuple[Tensor, Tensor]
    l0: dict[str, float]
    fired: Tensor


def k_at(step: int, config: CrosscoderConfig, training: TrainingConfig) -> float:
    """k at a step, counted from 0: linear from `k_start` to `crosscoder.k` over `k_anneal_steps`."""
    if step >= training.k_anneal_steps:
        return config.k
    start = max(training.k_start, config.k)
    return start + (config.k - start) * step / training.k_anneal_steps


def learning_rate_at(step: int, training: TrainingConfig) -> float:
    """Linear warm-up from 0, constant, linear decay to 0 over the last `decay_fraction`."""
    warm = min(1.0, (step + 1) / training.warmup_steps) if training.warmup_steps else 1.0
    decay_steps = training.decay_fraction * training.steps
    cool = min(1.0, (training.steps - step) / decay_steps) if decay_steps else 1.0
    return training.learning_rate * warm * cool


@torch.no_grad()
def select(crosscoder: Crosscoder, x: Tensor, k: float) -> tuple[list[Entries], list[Tensor]]:
    """BatchTopK over a batch of scaled rows: entries and the smallest kept ranking value of each part."""
    parts, budgets = crosscoder.parts, crosscoder.config.part_budgets
    if crosscoder.config.budget == "joint":
        entries, threshold = _select(crosscoder, parts, x, max(1, round(k * len(x))))
        return entries, [threshold] * len(parts)
    chosen = [_select(crosscoder, [part], x, max(1, round(k * len(x) * budgets[part.name]))) for part in parts]
    return [entries for [entries], _ in chosen], [threshold for _, threshold in chosen]


def _select(crosscoder: Crosscoder, parts: list[Dictionary], x: Tensor, k: int) -> tuple[list[Entries], Tensor]:
    """The k strongest entries of some parts together; candidates are those above a bound that leaves enough."""
    for bound in _bounds(crosscoder, parts, x, k):
        candidates = [reaching(crosscoder.blocks(part, x), bound) for part in parts]
        if sum(len(entries.rows) for entries in candidates) >= k:
            break
    return exactly(candidates, k)


def _bounds(crosscoder: Crosscoder, parts: list[Dictionary], x: Tensor, k: int) -> Iterator[float]:
    """A little below the last threshold; what twice as many entries of a few rows reach; 0."""
    last = min(float(part.threshold) for part in parts)
    if last > 0:
        yield 0.9 * last
    if len(x) > _SAMPLED_ROWS:
        sample = x[:_SAMPLED_ROWS]
        scores = torch.cat([block.flatten() for part in parts for _, _, block in crosscoder.blocks(part, sample)])
        wanted = 2 * k * _SAMPLED_ROWS // len(x)
        yield float(scores.kthvalue(max(1, len(scores) - wanted)).values)
    yield 0.0


def forward(crosscoder: Crosscoder, x: Tensor, k: float, dead: Tensor, aux_k: int) -> tuple[StepResult, list[Tensor]]:
    """One forward pass of training on scaled rows (batch, width_a + width_b).

    The loss is Σ_m ‖x^m − x̂^m‖² per pair. AuxK: in each partition the `aux_k` strongest dead features of each
    pair reconstruct what is left over, detached and without the decoder bias.

    Returns:
        The result, and each partition's smallest kept ranking value.
    """
    entries, thresholds = select(crosscoder, x, k)
    total = crosscoder.decoder_bias.expand(len(x), -1)
    total = total + _decode(crosscoder, x, entries)
    residual = x - total
    loss = residual.square().sum() / len(x)
    aux_loss = loss.new_zeros(())
    if dead.any():
        revived = [_strongest_dead(crosscoder, part, x, dead, aux_k) for part in crosscoder.parts]
        aux_loss = (residual.detach() - _decode(crosscoder, x, revived)).square().sum().nan_to_num() / len(x)
    return _measure(crosscoder, x, residual.detach(), entries, loss, aux_loss), thresholds


def fit(
    crosscoder: Crosscoder, state: TrainingState, batches: Iterator[Tensor], training: TrainingConfig
) -> Iterator[StepResult]:
    """Take the remaining steps, one for each item: what a step measured, with nothing left to differentiate.

    Raises:
        NonFiniteLossError: before the weights are touched.
    """
    for x in islice(batches, training.steps - state.step):
        started = time.monotonic()
        dead = state.pairs_since_fired >= training.dead_after_pairs
        k = k_at(state.step, crosscoder.config, training)
        result, thresholds = forward(crosscoder, x, k, dead, training.aux_k)
        if not torch.isfinite(result.loss):
            raise NonFiniteLossError(f"the loss is {result.loss.item()} at step {state.step}")
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate_at(state.step, training)
        state.optimizer.zero_grad(set_to_none=True)
        (result.loss + training.aux_weight * result.aux_loss).backward()
        torch.nn.utils.clip_grad_norm_(crosscoder.parameters(), training.clip_gradient)
        state.optimizer.step()
        state.step += 1
        state.pairs_since_fired += len(x)
        state.pairs_since_fired[result.fired] = 0
        _follow_threshold(crosscoder, thresholds, state.step, training)
        state.seconds += time.monotonic() - started
        yield replace(result, loss=result.loss.detach(), aux_loss=result.aux_loss.detach())


def new_state(crosscoder: Crosscoder, training: TrainingConfig) -> TrainingState:
    """A training state at step 0."""
    optimizer = torch.optim.Adam(crosscoder.parameters(), lr=training.learning_rate, fused=True)
    return TrainingState(0, 0.0, optimizer, torch.zeros(crosscoder.config.features, dtype=torch.long))


def train(run: Run) -> None:
    """Train to the last step, going on from the last checkpoint, and write the crosscoder.

    Raises:
        UserError: if the store is too small, or the loss stops being finite.
    """
    config = run.config()
    training = config.training
    store = ActivationStore(run.activations)
    crosscoder = _new_crosscoder(config.crosscoder, training, store)
    state = new_state(crosscoder, training)
    if checkpoint.restore(run.crosscoder, crosscoder, state):
        progress.say(f"going on from step {state.step}")
    held_out = held_out_rows(store, _HELD_OUT_ROWS)
    _cut_metrics(run, state.step)
    order = store, training.batch, training.window_shards, training.seed
    results: list[StepResult] = []
    try:
        with progress.bar("training", training.steps, "steps", state.step) as bar:
            for result in fit(crosscoder, state, training_batches(*order, skip=state.step), training):
                results.append(result)
                bar.update()
                last = state.step == training.steps
                if last or state.step % training.log_every == 0:
                    line = _metrics(crosscoder, state, results, training)
                    _log(run, line)
                    bar.set_postfix({key: f"{line[key]:.3f}" for key in ("fve_a", "fve_b")}, refresh=False)
                    results = []
                if last or state.step % training.checkpoint_every == 0:
                    _log(run, {"step": state.step, **held_out_fve(crosscoder, held_out)})
                    checkpoint.save(run.crosscoder, crosscoder, state)  # last: what it counts is not logged again
    except NonFiniteLossError as error:
        shard, row = min(rows_of_batch(*order, number=state.step))
        raise UserError(
            f"{run.path}: {error}, in a batch of rows from shard {shard}, row {row} on; the last good checkpoint is in "
            f"{run.crosscoder}: lower training.learning_rate and train again."
        ) from None
    model.save(crosscoder, run.crosscoder)
    runs.record(run, "train", steps=state.step, seconds=round(state.seconds, 1), **held_out_fve(crosscoder, held_out))


class NonFiniteLossError(Exception):
    """The loss of a step is infinite or not a number."""


def _new_crosscoder(config: CrosscoderConfig, training: TrainingConfig, store: ActivationStore) -> Crosscoder:
    """A crosscoder at step 0, its decoder bias at the median of the first batch."""
    a, b = store.manifest.a, store.manifest.b
    crosscoder = Crosscoder(config, (a.width, b.width), (a.scale, b.scale))
    first = next(training_batches(store, training.batch, training.window_shards, training.seed))
    crosscoder.initialise(training.seed, first.median(dim=0).values)
    return crosscoder


def _log(run: Run, line: dict[str, Any]) -> None:
    with run.metrics.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


@torch.no_grad()
def _strongest_dead(crosscoder: Crosscoder, part: Dictionary, x: Tensor, dead: Tensor, k: int) -> Entries:
    """Each pair's k strongest activations among a part's dead features."""
    columns = dead[part.first_id : part.first_id + len(part)].nonzero()[:, 0]
    centred = x[:, part.columns] - crosscoder.decoder_bias[part.columns]
    activations = torch.addmm(part.bias[columns], centred, part.encoder[columns].T, alpha=part.gain).relu_()
    return largest_in_each_row(activations, columns, k)


def _decode(crosscoder: Crosscoder, x: Tensor, entries: list[Entries]) -> Tensor:
    """Sum of the partitions' contributions, without the decoder bias; differentiable in all weights."""
    total = torch.zeros_like(x)
    for part, chosen in zip(crosscoder.parts, entries, strict=True):
        bias = crosscoder.decoder_bias[part.columns]
        contribution = SparsePass.apply(
            x[:, part.columns], bias, part.encoder, part.bias, part.decoder, part.gain, chosen
        )
        total[:, part.columns] = total[:, part.columns] + contribution
    return total


@torch.no_grad()
def _measure(
    crosscoder: Crosscoder, x: Tensor, residual: Tensor, entries: list[Entries], loss: Tensor, aux_loss: Tensor
) -> StepResult:
    chosen = list(zip(crosscoder.parts, entries, strict=True))
    fired = torch.cat([part.first_id + entry.columns for part, entry in chosen])
    l0: dict[str, float] = {part.name: len(entry.rows) / len(x) for part, entry in chosen}
    return StepResult(loss, aux_loss, fve(x, residual, crosscoder.widths), l0, fired)


def fve(x: Tensor, residual: Tensor, widths: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Fraction of variance explained in each model: 1 − Σ‖x − x̂‖² / Σ‖x − mean‖²."""
    variance = (x - x.mean(0)).square().sum(0).split(widths)
    unexplained = residual.square().sum(0).split(widths)
    a, b = (1 - left.sum() / all_.sum() for left, all_ in zip(unexplained, variance, strict=True))
    return a, b


@torch.no_grad()
def held_out_fve(crosscoder: Crosscoder, x: Tensor) -> dict[str, float]:
    """FVE on held-out rows with the threshold of inference."""
    residual = torch.cat([part - crosscoder.decode(crosscoder.encode(part), len(part)) for part in x.split(2_048)])
    a, b = fve(x, residual, crosscoder.widths)
    return {"held_out_fve_a": a.item(), "held_out_fve_b": b.item()}


@torch.no_grad()
def _follow_threshold(crosscoder: Crosscoder, thresholds: list[Tensor], step: int, training: TrainingConfig) -> None:
    """Moving average of the smallest kept ranking values; before it starts, the last batch's."""
    decay = training.threshold_decay if step > training.threshold_start else 0.0
    for part, threshold in zip(crosscoder.parts, thresholds, strict=True):
        part.threshold.mul_(decay).add_((1 - decay) * threshold)


def _metrics(
    crosscoder: Crosscoder, state: TrainingState, results: list[StepResult], training: TrainingConfig
) -> dict[str, Any]:
    """Means over the last steps, as one line of metrics.jsonl."""

    def mean(values: list[Tensor]) -> float:
        return float(torch.stack(values).mean())

    dead = state.pairs_since_fired >= training.dead_after_pairs
    line: dict[str, Any] = {
        "step": state.step,
        "loss": mean([result.loss for result in results]),
        "aux_loss": mean([result.aux_loss for result in results]),
        "fve_a": mean([result.fve[0] for result in results]),
        "fve_b": mean([result.fve[1] for result in results]),
        "k": k_at(state.step - 1, crosscoder.config, training),
        "learning_rate": learning_rate_at(state.step - 1, training),
        "seconds": round(state.seconds, 2),
    }
    for part in crosscoder.parts:
        line[f"l0_{part.name}"] = sum(result.l0[part.name] for result in results) / len(results)
        line[f"dead_{part.name}"] = float(dead[part.first_id : part.first_id + len(part)].float().mean())
    return line


def _cut_metrics(run: Run, step: int) -> None:
    """Drop lines past the checkpoint from which training goes on."""
    kept = [line for line in run.metric_lines() if line["step"] <= step]
    runs.write_text(run.metrics, "".join(json.dumps(line) + "\n" for line in kept))
