"""Train a crosscoder on an activation store (arXiv 2602.11729, training)."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from dfc import runs
from dfc.activations.loader import held_out_rows, rows_of_batch, training_batches
from dfc.activations.shards import ActivationStore
from dfc.activations.streaming import stream_batches
from dfc.config import CrosscoderConfig, MemoryShortError, TrainingConfig, UserError
from dfc.crosscoder import checkpoint, model
from dfc.crosscoder.checkpoint import TrainingState
from dfc.crosscoder.metrics import MetricsLog, StepMeans
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.objective import StepResult, forward
from dfc.crosscoder.variance import ExplainedVariance
from dfc.machine import devices, disk, memory, progress
from dfc.machine.processes import ALONE, Group
from dfc.runs import Run

_HELD_OUT_ROWS = 8_192


class NotFiniteError(Exception):
    """A loss or a weight is infinite or not a number, after the batch of that number."""

    def __init__(self, what: str, batch: int) -> None:
        super().__init__(what)
        self.batch = batch


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


def new_state(crosscoder: Crosscoder, training: TrainingConfig) -> TrainingState:
    """A training state at step 0, on the crosscoder's device, of the features that are this process's."""
    optimizer = torch.optim.Adam(crosscoder.parameters(), lr=training.learning_rate, fused=True)
    since = torch.zeros(sum(map(len, crosscoder.parts)), dtype=torch.long, device=crosscoder.device)
    return TrainingState(0, 0.0, 0.0, optimizer, since)


def fit(
    crosscoder: Crosscoder,
    state: TrainingState,
    batches: Iterator[Tensor],
    training: TrainingConfig,
) -> Iterator[StepResult]:
    """Take the remaining steps, one for each item: what a step measured.

    Args:
        crosscoder, state: changed in place.
        batches: scaled rows, the same in all processes that share the crosscoder's features.
        training: how.

    Raises:
        NotFiniteError: before the weights are touched.
    """
    dtype = compute_dtype(training, crosscoder.device)
    asked = time.monotonic()
    for x in islice(batches, training.steps - state.step):
        started = time.monotonic()
        state.waited += started - asked
        dead = state.pairs_since_fired >= training.dead_after_pairs
        k = k_at(state.step, crosscoder.config, training)
        result = forward(crosscoder, x, k, dead, training, dtype)
        loss = float(result.loss.detach())
        if not math.isfinite(loss):
            raise NotFiniteError(f"the loss is {loss} at step {state.step}", state.step)
        for parameters in state.optimizer.param_groups:
            parameters["lr"] = learning_rate_at(state.step, training)
        state.optimizer.zero_grad(set_to_none=True)
        (result.loss + training.aux_weight * result.aux_loss).backward()
        if training.clip_gradient is not None:
            clip_gradients(crosscoder, training.clip_gradient)
        state.optimizer.step()
        state.step += 1
        state.pairs_since_fired += len(x)
        for since, fired in zip(crosscoder.by_part(state.pairs_since_fired), result.fired, strict=True):
            since[fired] = 0
        _follow_threshold(crosscoder, result.thresholds, state.step, training)
        asked = time.monotonic()
        state.seconds += asked - started
        yield result


def clip_gradients(crosscoder: Crosscoder, limit: float) -> None:
    """Scale all gradients down to `limit`, if their norm, over all processes' features, is larger."""
    common = crosscoder.decoder_bias  # counted once, in the first process: it is the same in all
    counted = [weight for weight in crosscoder.parameters() if weight is not common or crosscoder.group.leads]
    gradients = [weight.grad for weight in counted if weight.grad is not None]
    norms = crosscoder.group.gather(torch.nn.utils.get_total_norm(gradients)[None])
    torch.nn.utils.clip_grads_with_norm_(crosscoder.parameters(), limit, torch.cat(norms).norm())


def train(run: Run, group: Group = ALONE) -> None:
    """Train to the last step, going on from the last checkpoint, and write the crosscoder.

    Args:
        run: its folder.
        group: processes that share its features; the first writes.

    Raises:
        MemoryShortError: if there is no memory for a step.
        UserError: if the store is too small, or a loss or a weight stops being finite.
    """
    config = run.config()
    training = config.training
    store = ActivationStore(run.activations)
    crosscoder = new_crosscoder(config.crosscoder, training, store, group)
    state = new_state(crosscoder, training)
    if checkpoint.restore(run.crosscoder, crosscoder, state) and group.leads:
        progress.say(f"going on from step {state.step}")
    order = store, training.batch, training.window_shards, training.seed
    batches = _streamed(run, state, crosscoder) if training.stream else training_batches(*order, skip=state.step)
    batches = (x.to(crosscoder.device) for x in batches)
    held_out = held_out_rows(store, _HELD_OUT_ROWS).to(crosscoder.device)
    log = MetricsLog(run, state.step, training.tensorboard and group.leads, writes=group.leads)
    means = StepMeans(crosscoder)
    try:
        with log, progress.bar("training", training.steps, "steps", state.step, shown=group.leads) as bar:
            for result in fit(crosscoder, state, batches, training):
                means.add(result)
                bar.update()
                saves = state.step == training.steps or state.step % training.checkpoint_every == 0
                if saves or state.step % training.log_every == 0:  # a checkpoint leaves no step unlogged
                    line = _metrics(crosscoder, state, means, training)
                    log.add(line)
                    bar.set_postfix({key: f"{line[key]:.3f}" for key in ("fve_a", "fve_b")}, refresh=False)
                    means = StepMeans(crosscoder)
                if saves:
                    measured = held_out_fve(crosscoder, held_out)
                    _check_finite(crosscoder, measured, state.step)
                    log.add({"step": state.step, **measured})
                    checkpoint.save(run.crosscoder, crosscoder, state)  # last: what it counts is not logged again
    except NotFiniteError as error:
        where = state.stream if training.stream else {"rows": rows_of_batch(*order, number=error.batch)}
        if group.leads:  # which alone knows how far a stream was read
            disk.write_json(run.crosscoder / "failed_batch.json", {"what": str(error), **(where or {})})
        raise UserError(_explain(error, run)) from None
    except Exception as error:
        if not memory.is_out_of_memory(error):
            raise
        raise MemoryShortError(
            f"{run.path}: {crosscoder.device} or this machine has no memory for steps of {training.batch:,} pairs and "
            f"{config.crosscoder.features:,} features; close other programs or change training.device, and start again "
            f"to go on from the last checkpoint, or lower training.batch or crosscoder.features under another `name`."
        ) from error
    measured = held_out_fve(crosscoder, held_out)
    model.save(crosscoder, run.crosscoder)
    if group.leads:
        runs.record(run, "train", steps=state.step, seconds=round(state.seconds, 1), processes=group.size, **measured)


@torch.no_grad()
def held_out_fve(crosscoder: Crosscoder, x: Tensor) -> dict[str, float]:
    """FVE on held-out rows with the threshold of inference."""
    explained = ExplainedVariance(crosscoder.widths)
    for rows in x.split(2_048):
        explained.add(rows - crosscoder.decoder_bias, rows - crosscoder.decode(crosscoder.encode(rows), len(rows)))
    a, b = explained.fve()
    return {"held_out_fve_a": a, "held_out_fve_b": b}


def compute_dtype(training: TrainingConfig, device: torch.device) -> torch.dtype:
    """Precision of the dense product that finds candidates."""
    if training.compute == "auto":
        return devices.fast_dtype(device)
    return torch.bfloat16 if training.compute == "bfloat16" else torch.float32


def new_crosscoder(
    config: CrosscoderConfig, training: TrainingConfig, store: ActivationStore, group: Group = ALONE
) -> Crosscoder:
    """A crosscoder at step 0, its decoder bias at the median of the first batch; of its features, this process's."""
    a, b = store.manifest.a, store.manifest.b
    crosscoder = Crosscoder(config, (a.width, b.width), store.column_scale(), group)
    batches = partial(training_batches, store, training.batch, training.window_shards, training.seed)
    if crosscoder.prediction is not None:
        crosscoder.prediction.fit(batches())
    first = next(batches())
    crosscoder.initialise(training.seed, first.median(dim=0).values)
    return crosscoder.to(devices.pick(training.device))


def _streamed(run: Run, state: TrainingState, crosscoder: Crosscoder) -> Iterator[Tensor]:
    """Batches from both models as the first process reads on, whose state follows; the others are given them."""
    group, device = crosscoder.group, crosscoder.device
    if not group.leads:
        shape = run.config().training.batch, sum(crosscoder.widths)
        while True:
            yield group.from_first(torch.empty(shape, device=device))
    for x, position in stream_batches(run, state.stream):
        state.stream = position
        yield group.from_first(x.to(device))


@torch.no_grad()
def _follow_threshold(crosscoder: Crosscoder, thresholds: list[Tensor], step: int, training: TrainingConfig) -> None:
    """Moving average of the smallest kept ranking values; before it starts, the last batch's."""
    decay = training.threshold_decay if step > training.threshold_start else 0.0
    for part, threshold in zip(crosscoder.parts, thresholds, strict=True):
        part.threshold.mul_(decay).add_((1 - decay) * threshold)


def _metrics(
    crosscoder: Crosscoder, state: TrainingState, means: StepMeans, training: TrainingConfig
) -> dict[str, float]:
    """One line of metrics.jsonl."""
    dead = crosscoder.by_part(state.pairs_since_fired >= training.dead_after_pairs)
    return {
        "step": state.step,
        **means.taken(),
        "k": k_at(state.step - 1, crosscoder.config, training),
        "learning_rate": learning_rate_at(state.step - 1, training),
        **{
            f"dead_{part.name}": crosscoder.group.total(int(own.sum())) / part.size
            for part, own in zip(crosscoder.parts, dead, strict=True)
        },
        "seconds": round(state.seconds, 2),
        "waited": round(state.waited, 2),
    }


def _check_finite(crosscoder: Crosscoder, measured: dict[str, float], step: int) -> None:
    """Raise before a checkpoint of weights that nothing can go on from replaces a good one."""
    broken = sum(not bool(parameter.isfinite().all()) for parameter in crosscoder.parameters())
    if crosscoder.group.total(broken) or not all(map(math.isfinite, measured.values())):
        raise NotFiniteError(f"weights or held-out FVE are no longer finite after step {step}", step - 1)


def _explain(error: NotFiniteError, run: Run) -> str:
    """What happened, where, what is left, and what to do."""
    listed = run.crosscoder / "failed_batch.json"
    saved = checkpoint.saved_step(run.crosscoder)
    left = "there was no checkpoint yet" if saved is None else f"the last good checkpoint is of step {saved}"
    return (
        f"{run.path}: {error}; where that batch's pairs (shard, row) come from is in {listed}; {left}; to train with "
        f"other settings, e.g. a lower training.learning_rate, delete {run.crosscoder} and change the run's YAML."
    )
