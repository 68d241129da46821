"""Training: exact gradients, exact resumption, and features found that are known to be there."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from dfc import config, pipeline, runs
from dfc.activations.loader import rows_of_batch, training_batches
from dfc.activations.shards import ActivationStore
from dfc.config import SIDES, CrosscoderConfig, TrainingConfig, UserError
from dfc.crosscoder import checkpoint, objective, training
from dfc.crosscoder.checkpoint import saved_step
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.objective import forward
from dfc.crosscoder.training import fit, k_at, learning_rate_at, new_state
from dfc.machine import disk
from dfc.runs import Run
from tests import processes
from tests.crosscoder import reference

CHOICES = [
    {"kind": kind, "budget": budget, "shared_combine": combine, "rank_by": rank}
    for kind, budget, combine, rank in itertools.product(
        ("dfc", "standard", "dsf"),
        ("joint", "per_partition"),
        ("mean", "sum"),
        ("value", "norm_sum", "norm_mean", "norm_max"),
    )
    if (kind, budget) != ("dsf", "joint")
]
CHOICES += [{"exclusive_reads": "stream", "budget": budget} for budget in ("joint", "per_partition")]


def uneven(**choices: object) -> Crosscoder:
    """A crosscoder whose norms and biases all differ; over 2,048 features, so that blocks are crossed."""
    torch.manual_seed(0)
    crosscoder = Crosscoder(CrosscoderConfig(features=2_500, k=8, **choices), (12, 12))  # type: ignore[arg-type]
    crosscoder.initialise(0, 0.1 * torch.randn(24))
    for part in crosscoder.parts:
        part.bias.data.normal_(0, 0.05)
        part.decoder_weight.data.mul_(torch.rand(len(part), 1) + 0.5)
    if crosscoder.prediction is not None:
        crosscoder.prediction.fit([torch.randn(100, 24) @ torch.randn(24, 24)])
    return crosscoder


def revive(k: int, scope: str = "per_partition") -> TrainingConfig:
    return TrainingConfig(aux_k=k, aux_scope=scope)  # type: ignore[arg-type]


@pytest.mark.parametrize("choices", CHOICES, ids=lambda choices: "-".join(choices.values()))
@pytest.mark.parametrize("bound", ["none", "fitting", "too high"])
def test_losses_and_gradients_equal_the_reference(choices: dict[str, str], bound: str) -> None:
    crosscoder, x = uneven(**choices), torch.randn(100, 24)
    dead = torch.rand(2_500) < 0.2
    if bound != "none":
        _, thresholds = objective.select(crosscoder, crosscoder.seen(x), 8)
        for part, threshold in zip(crosscoder.parts, thresholds, strict=True):
            part.threshold.copy_(threshold * (1.0 if bound == "fitting" else 3.0))
    check(crosscoder, x, dead, revive(5))


@pytest.mark.parametrize("scope", ["per_partition", "total"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_auxk_and_precision_against_the_reference(scope: str, dtype: torch.dtype) -> None:
    """A search in bfloat16 finds the same entries: what it finds is ranked again in float32."""
    crosscoder, x = uneven(kind="dfc"), torch.randn(100, 24)
    check(crosscoder, x, torch.rand(2_500) < 0.2, revive(5, scope), dtype)


@pytest.mark.parametrize(("a", "b", "parts"), [(0, 0.1, ["b", "shared"]), (0.5, 0.5, ["a", "b"]), (0, 0, ["shared"])])
@pytest.mark.parametrize("budget", ["joint", "per_partition"])
def test_partitions_may_be_empty(a: float, b: float, parts: list[str], budget: str) -> None:
    crosscoder, x = uneven(exclusive_a=a, exclusive_b=b, budget=budget), torch.randn(100, 24)
    assert list(crosscoder.dictionaries) == parts
    check(crosscoder, x, torch.rand(2_500) < 0.2, revive(5))


def check(
    crosscoder: Crosscoder,
    x: Tensor,
    dead: Tensor,
    settings: TrainingConfig,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Losses and every gradient equal those of the plain reference."""
    result = forward(crosscoder, x, 8, dead, settings, dtype)
    (result.loss + 0.03 * result.aux_loss).backward()
    found = [parameter.grad for parameter in crosscoder.parameters()]
    crosscoder.zero_grad()
    loss, aux_loss = reference.losses(crosscoder, x, 8, dead, settings)
    (loss + 0.03 * aux_loss).backward()
    torch.testing.assert_close(result.loss, loss)
    torch.testing.assert_close(result.aux_loss, aux_loss)
    for (name, parameter), gradient in zip(crosscoder.named_parameters(), found, strict=True):
        torch.testing.assert_close(
            gradient, parameter.grad, atol=1e-5, rtol=1e-4, msg=lambda text, n=name: f"{n}: {text}"
        )


def test_auxk_reaches_dead_features_alone() -> None:
    crosscoder, x = uneven(kind="dfc"), torch.randn(60, 24)
    dead = torch.zeros(2_500, dtype=torch.bool)
    dead[[1, 130, 900]] = True
    forward(crosscoder, x, 8, dead, revive(2)).aux_loss.backward()
    touched = [part.first_id + (part.encoder.grad != 0).any(dim=1).nonzero()[:, 0] for part in crosscoder.parts]
    assert set(torch.cat(touched).tolist()) <= {1, 130, 900}
    assert len(torch.cat(touched)) > 0


def test_schedules() -> None:
    crosscoder = CrosscoderConfig(features=100, k=10)
    settings = TrainingConfig(
        steps=100, learning_rate=1.0, warmup_steps=10, decay_fraction=0.2, k_start=50, k_anneal_steps=20
    )
    assert [k_at(step, crosscoder, settings) for step in (0, 10, 20, 99)] == [50, 30, 10, 10]
    rates = [learning_rate_at(step, settings) for step in (0, 9, 50, 80, 90, 99)]
    assert rates == pytest.approx([0.1, 1.0, 1.0, 1.0, 0.5, 0.05])
    flat = settings.model_copy(update={"warmup_steps": 0, "decay_fraction": 0.0})
    assert {learning_rate_at(step, flat) for step in (0, 99)} == {1.0}


def concepts(rows: int, generator: torch.Generator, directions: dict[str, Tensor]) -> Tensor:
    """Sparse combinations of concepts; the first eight are A's alone, the next eight B's."""
    strengths = (torch.rand(rows, 64, generator=generator) < 0.06) * (0.5 + torch.rand(rows, 64, generator=generator))
    in_a, in_b = torch.ones(64), torch.ones(64)
    in_b[:8] = in_a[8:16] = 0
    return 8 * torch.cat([(strengths * in_a) @ directions["a"], (strengths * in_b) @ directions["b"]], dim=1)


@pytest.fixture(scope="module")
def found_world() -> tuple[Crosscoder, dict[str, Tensor], Tensor]:
    """A DFC trained on a small world, its directions, and fresh rows."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    directions = {
        side: torch.nn.functional.normalize(torch.randn(64, width, generator=generator), dim=1)
        for side, width in (("a", 40), ("b", 48))
    }
    crosscoder = Crosscoder(
        CrosscoderConfig(features=128, k=5, exclusive_a=0.1, exclusive_b=0.1, budget_a=0.125, budget_b=0.125), (40, 48)
    )
    crosscoder.initialise(0, torch.zeros(88))
    settings = TrainingConfig(
        steps=1_200, batch=256, learning_rate=5e-3, warmup_steps=50, k_start=20, k_anneal_steps=200
    )
    settings = settings.model_copy(
        update={"dead_after_pairs": 5_000, "aux_k": 16, "threshold_start": 400, "threshold_decay": 0.98}
    )
    batches = iter(lambda: concepts(256, generator, directions), None)
    for _ in fit(crosscoder, new_state(crosscoder, settings), batches, settings):
        pass
    return crosscoder, directions, concepts(4_096, generator, directions)


@pytest.mark.slow
def test_exclusive_concepts_are_found(found_world: tuple[Crosscoder, dict[str, Tensor], Tensor]) -> None:
    crosscoder, directions, _ = found_world
    for side, own, first in (("a", slice(0, 8), 0), ("b", slice(8, 16), 13)):
        _, vectors = crosscoder.decoder_vectors(side)  # type: ignore[arg-type]
        assert len(crosscoder.dictionaries[side]) == 13
        exclusive = torch.nn.functional.normalize(vectors[:13], dim=1)
        recovered = (exclusive @ directions[side][own].T > 0.8).any(dim=0)
        assert int(recovered.sum()) >= 6, (side, first)


@pytest.mark.slow
def test_the_threshold_reproduces_the_l0_of_training(found_world: tuple[Crosscoder, dict[str, Tensor], Tensor]) -> None:
    crosscoder, _, rows = found_world
    codes = crosscoder.encode(rows)
    assert len(codes.rows) / len(rows) == pytest.approx(5, rel=0.05)


def copied(run: Run, name: str, **changes: object) -> Run:
    """A run with another's activations, to be trained anew."""
    settings = run.config()
    settings = settings.model_copy(update={"name": name, "training": settings.training.model_copy(update=changes)})
    made = runs.create(config.parse(settings.model_dump(mode="json"), origin="test"))
    shutil.copytree(run.activations, made.activations)
    shutil.copy(run.corpus, made.corpus)
    return made


def weights(run: Run) -> dict[str, Tensor]:
    return load_file(run.crosscoder / "model.safetensors")


def assert_same_training(one: Run, other: Run) -> None:
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name
    first, second = (run.metric_lines() for run in (one, other))
    for lines in (first, second):
        for line in lines:
            line.pop("seconds", None)
            line.pop("waited", None)
    assert first == second


def test_equal_seeds_give_equal_weights(tiny_run: Run) -> None:
    again = copied(tiny_run, "again")
    pipeline.run_stages(again, until="train")
    assert_same_training(tiny_run, again)
    other = copied(tiny_run, "other", seed=1)
    pipeline.run_stages(other, until="train")
    assert not torch.equal(weights(other)["decoder_bias"], weights(again)["decoder_bias"])


@pytest.mark.slow
@pytest.mark.parametrize(("stream", "steps"), [(False, 800), (True, 400)])
def test_killed_and_resumed_equals_undisturbed(stream: bool, steps: int, tiny_run: Run) -> None:
    choices = {"steps": steps, "checkpoint_every": 40, "stream": stream}
    killed, whole = (copied(tiny_run, name, **choices) for name in ("killed", "whole"))
    command = ("-m", "dfc", "train", str(killed.path))
    process = processes.start(*command)
    while not (killed.crosscoder / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed.crosscoder / "model.safetensors").exists()
    resumed = processes.run(*command)
    assert resumed.returncode == 0, resumed.stderr
    assert "going on from step" in resumed.stderr
    training.train(whole)
    assert_same_training(killed, whole)


def test_training_goes_on_from_a_checkpoint_with_a_scale_for_each_stream(
    tiny_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """As checkpoints were written before each column had its own."""
    whole, older = (copied(tiny_run, name, steps=40) for name in ("whole", "older"))
    for run in (whole, older):
        content = disk.read_json(run.activations / "manifest.json")
        one_factor = {side: {**content[side], "scale": content[side]["scale"][0]} for side in SIDES}
        disk.write_json(run.activations / "manifest.json", content | one_factor)
    training.train(whole)
    config_, store = older.config(), ActivationStore(older.activations)
    crosscoder = training.new_crosscoder(config_.crosscoder, config_.training, store)
    state = new_state(crosscoder, config_.training)
    batches = training_batches(store, config_.training.batch, config_.training.window_shards, config_.training.seed)
    assert len(list(zip(range(20), fit(crosscoder, state, batches, config_.training), strict=False))) == 20
    checkpoint.save(older.crosscoder, crosscoder, state)
    path = older.crosscoder / "checkpoint.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    factors = [store.manifest.side(side).scale for side in SIDES]
    save_file(tensors | {"model.scale": torch.tensor(factors)}, path, metadata=metadata)
    training.train(older)
    assert "going on from step 20" in capsys.readouterr().err
    assert torch.equal(weights(older)["scale"], store.column_scale())
    assert all(torch.equal(tensor, weights(older)[name]) for name, tensor in weights(whole).items())


def test_a_loss_that_is_not_finite_stops_the_run(tiny_run: Run) -> None:
    run = copied(tiny_run, "broken")
    store = ActivationStore(run.activations)
    facts = store.manifest
    for shard in range(len(store)):
        path = run.activations / "b" / f"{shard:05d}.rows"
        size = facts.shards[shard].pairs * facts.b.width
        torch.full((size,), float("nan"), dtype=torch.bfloat16).view(torch.int16).numpy().tofile(path)
    with pytest.raises(
        UserError, match=r"the loss is nan at step 0; .* there was no checkpoint yet; .* delete"
    ) as error:
        training.train(run)
    listed = re.search(r"is in (\S+\.json);", str(error.value))
    assert listed
    rows = json.loads(Path(listed[1]).read_text())["rows"]
    assert rows == [list(place) for place in rows_of_batch(store, 64, 16, 0, 0)]
    assert not Path(run.crosscoder / "model.safetensors").exists()


@pytest.mark.parametrize(("steps", "what"), [(1, "no longer finite after step 1"), (25, "the loss is")])
def test_absurd_weights_do_not_replace_a_good_checkpoint(steps: int, what: str, tiny_run: Run) -> None:
    """The last step's weights are checked too: no later loss would show them."""
    run = copied(tiny_run, "absurd", steps=steps, learning_rate=1e38, warmup_steps=0, decay_fraction=0)
    with pytest.raises(UserError, match=what) as error:
        training.train(run)
    assert not (run.crosscoder / "model.safetensors").exists()
    saved = saved_step(run.crosscoder)
    assert ("there was no checkpoint yet" if saved is None else f"of step {saved}") in str(error.value)
    for line in run.metric_lines():
        assert all(math.isfinite(value) for value in line.values())
    # The remedy works: without the folder, other settings are accepted.
    better = run.config().model_copy(
        update={"training": run.config().training.model_copy(update={"learning_rate": 0.01})}
    )
    with pytest.raises(UserError, match="made with other settings"):
        runs.create(better)
    shutil.rmtree(run.crosscoder)
    training.train(runs.create(better))
    assert (run.crosscoder / "model.safetensors").exists()


def test_a_checkpoint_leaves_no_step_unlogged(tiny_run: Run) -> None:
    """A line is written at every checkpoint, so that a run that goes on from it averages the same steps."""
    run = copied(tiny_run, "uneven", log_every=7, checkpoint_every=20)
    training.train(run)
    steps = [line["step"] for line in run.metric_lines() if "loss" in line]
    assert steps == sorted({*range(7, 61, 7), 20, 40, 60})


def test_an_auxk_loss_that_is_not_finite_counts_as_nothing() -> None:
    crosscoder, x = uneven(kind="dfc"), torch.randn(60, 24)
    dead = torch.zeros(2_500, dtype=torch.bool)
    dead[900] = True
    part = crosscoder.dictionaries["shared"]
    part.bias.data[900 - part.first_id] = 10.0  # it would be chosen everywhere
    part.decoder_weight.data[900 - part.first_id] = float("nan")
    result = forward(crosscoder, x, 8, dead, revive(2))
    assert result.loss.isfinite()
    assert float(result.aux_loss.detach()) == 0.0


@pytest.mark.slow
def test_auxk_revives() -> None:
    """Half of the shared features start too weak for BatchTopK to keep; with AuxK they come to fire."""
    generator = torch.Generator().manual_seed(0)
    directions = {
        side: torch.nn.functional.normalize(torch.randn(64, 40, generator=generator), dim=1) for side in ("a", "b")
    }
    living = {}
    for weight in (0.0, 0.1):
        crosscoder = Crosscoder(CrosscoderConfig(features=128, k=5), (40, 40))
        crosscoder.initialise(0, torch.zeros(80))
        weak = crosscoder.dictionaries["shared"]
        weak.bias.data[64:] = -0.5
        settings = TrainingConfig(
            steps=800, batch=256, learning_rate=5e-3, warmup_steps=0, k_start=5, aux_weight=weight
        )
        settings = settings.model_copy(update={"dead_after_pairs": 2_000, "aux_k": 16})
        state = new_state(crosscoder, settings)
        rows = torch.Generator().manual_seed(1)
        for _ in fit(crosscoder, state, iter(lambda: concepts(256, rows, directions), None), settings):  # noqa: B023
            pass
        late = state.pairs_since_fired[weak.first_id + 64 :] < 2_000
        living[weight] = float(late.float().mean())
    assert living[0.1] > living[0.0] + 0.2, living


def test_clipping_may_be_turned_off(tiny_run: Run) -> None:
    for limit in (None, 1e9):
        training.train(copied(tiny_run, f"limit-{limit}", clip_gradient=limit))
    free, wide = (weights(runs.find(f"limit-{limit}")) for limit in (None, 1e9))
    assert all(torch.equal(tensor, wide[name]) for name, tensor in free.items())
    clipped = weights(tiny_run)
    assert any(not torch.equal(tensor, clipped[name]) for name, tensor in free.items())


def test_unknown_devices_are_one_sentence(tiny_run: Run) -> None:
    with pytest.raises(UserError, match=r"device warp: cannot be used .*give cpu, cuda, cuda:N or auto"):
        training.train(copied(tiny_run, "device", device="warp"))


def test_tensorboard_holds_what_metrics_jsonl_holds(tiny_run: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = copied(tiny_run, "events", tensorboard=True)
    training.train(run)
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    lines = [line for line in run.metric_lines() if "loss" in line]
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [
        (line["step"], pytest.approx(line["loss"])) for line in lines
    ]
    assert "held_out_fve_a" in events.Tags()["scalars"]


@pytest.mark.slow
@pytest.mark.parametrize(("budget", "number"), [("joint", 2), ("per_partition", 3)])
def test_several_processes_train_as_one(budget: str, number: int, tiny_run: Run) -> None:
    """The same selections, hence the same weights up to the order of additions, though none divides 3, 3 and 58."""
    settings = tiny_run.config()
    for name in ("one", "several"):
        crosscoder = settings.crosscoder.model_copy(update={"budget": budget})
        run = copied(tiny_run, name)
        disk.write_text(run.path / "run.yaml", config.dump(run.config().model_copy(update={"crosscoder": crosscoder})))
    one, several = runs.find("one"), runs.find("several")
    training.train(one)
    for done in processes.together(number, "-m", "dfc", "train", str(several.path / "run.yaml")):
        assert done.returncode == 0, done.stderr
    for name, tensor in weights(one).items():
        torch.testing.assert_close(
            weights(several)[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )
    for first, second in zip(one.metric_lines(), several.metric_lines(), strict=True):
        assert first.keys() == second.keys()
        for key in first.keys() - {"seconds", "waited"}:
            assert second[key] == pytest.approx(first[key], rel=1e-3, abs=1e-4), key
