"""On a GPU everything is as on a CPU: selection, gradients, training, harvest, codes, sums of the evidence and
steered texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from dfc import models, pipeline, runs
from dfc.activations.loader import KeptRows
from dfc.activations.shards import ActivationStore, read_rows
from dfc.config import SIDES, CrosscoderConfig, ModelConfig, TrainingConfig
from dfc.crosscoder.model import Crosscoder
from dfc.crosscoder.objective import StepResult, forward, select
from dfc.crosscoder.training import fit, held_out_fve, new_state
from dfc.evidence import moments
from dfc.evidence.moments import Batch, Count, Rows, by_feature
from dfc.features.codes import HeldOut
from dfc.features.encoding import encode_shard
from dfc.machine import disk
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.steering.edits import Action, Program
from dfc.steering.generation import stream
from dfc.steering.vectors import SteeringVector
from dfc.store.reader import FeatureQuery, Store
from tests import tiny

DEVICE = "cuda"
WIDTHS = (32, 48)
ROUNDING = 1e-4
"""Of a number of the size of 1: sums of some hundred float32 products in another order."""
pytestmark = [  # a card is what is tested: where there is one, scripts/gpu_check.sh runs these
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


def crosscoders(budget: str = "joint") -> tuple[Crosscoder, Crosscoder]:
    """The same on both devices."""
    made = []
    for device in ("cpu", DEVICE):
        torch.manual_seed(0)
        crosscoder = Crosscoder(CrosscoderConfig(features=512, k=8, budget=budget), WIDTHS)
        crosscoder.initialise(0, torch.zeros(sum(WIDTHS)))
        made.append(crosscoder.to(DEVICE) if device == DEVICE else crosscoder)
    return made[0], made[1]


def rows(count: int, seed: int = 0) -> torch.Tensor:
    """Sparse sums of a few directions, so that there is something to learn."""
    draw = torch.Generator().manual_seed(seed)
    directions = torch.randn(64, sum(WIDTHS), generator=torch.Generator().manual_seed(9))
    chosen = (torch.rand(count, 64, generator=draw) < 0.06) * torch.rand(count, 64, generator=draw)
    return chosen @ directions


@pytest.mark.parametrize("budget", ["joint", "per_partition"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_same_entries_are_chosen(budget: str, dtype: torch.dtype) -> None:
    """But for those that are no further from the threshold than rounding."""
    here, there = crosscoders(budget)
    x = rows(256)
    on_cpu, thresholds = select(here, here.seen(x), 8.0)
    on_device, others = select(there, there.seen(x.to(DEVICE)), 8.0, dtype)
    assert sum(len(part.rows) for part in on_device) == sum(len(part.rows) for part in on_cpu) > 0
    assert torch.allclose(torch.stack(thresholds), torch.stack(others).cpu(), atol=ROUNDING)
    for one, other, threshold in zip(on_cpu, on_device, thresholds, strict=True):
        scores = [
            dict(zip(zip(part.rows.tolist(), part.columns.tolist(), strict=True), part.scores.tolist(), strict=True))
            for part in (one, other)
        ]
        for place in scores[0].keys() ^ scores[1].keys():
            score = next(some[place] for some in scores if place in some)
            assert score == pytest.approx(float(threshold), abs=ROUNDING)
        for place in scores[0].keys() & scores[1].keys():
            assert scores[0][place] == pytest.approx(scores[1][place], abs=ROUNDING)


def test_losses_and_gradients_are_the_same() -> None:
    results: list[StepResult] = []
    gradients = []
    for crosscoder in crosscoders():
        dead = torch.zeros(512, dtype=torch.bool, device=crosscoder.device)
        dead[::5] = True
        result = forward(crosscoder, rows(256).to(crosscoder.device), 8.0, dead, TrainingConfig())
        (result.loss + result.aux_loss / 32).backward()
        results.append(result)
        gradients.append({name: weight.grad.cpu() for name, weight in crosscoder.named_parameters()})
    for name in ("loss", "aux_loss"):
        here, there = (float(getattr(result, name).detach()) for result in results)
        assert there == pytest.approx(here, rel=ROUNDING)
        assert here > 0
    for name, here in gradients[0].items():
        assert torch.allclose(gradients[1][name], here, atol=ROUNDING * float(here.abs().max())), name


def test_training_comes_as_far() -> None:
    """Rounding chooses other entries now and then, and training carries that on: within half a point of variance."""
    training = TrainingConfig(steps=200, batch=256, learning_rate=3e-3, warmup_steps=10, k_start=16, k_anneal_steps=50)

    def batches(device: torch.device) -> Iterator[torch.Tensor]:
        for number in range(training.steps):
            yield rows(training.batch, number).to(device)

    explained = []
    for crosscoder in crosscoders():
        for _ in fit(crosscoder, new_state(crosscoder, training), batches(crosscoder.device), training):
            pass
        explained.append(held_out_fve(crosscoder, rows(2_000, -1).to(crosscoder.device)))
    for name, here in explained[0].items():
        assert explained[1][name] == pytest.approx(here, abs=0.005)
        assert here > 0.5, "it learned"


def test_codes_are_the_same() -> None:
    here, there = crosscoders()
    for crosscoder in (here, there):
        for part in crosscoder.parts:
            part.threshold.fill_(0.3)
    x = rows(500)
    one, other = here.encode(x), there.encode(x.to(DEVICE))
    dense = [torch.zeros(500, 512) for _ in range(2)]
    for made, codes in zip(dense, (one, other), strict=True):
        made[codes.rows.cpu(), codes.features.cpu()] = codes.values.cpu()
    both = (dense[0] > 0) == (dense[1] > 0)
    assert both.float().mean() > 0.9999
    assert torch.allclose(dense[0][both], dense[1][both], atol=ROUNDING)
    assert torch.allclose(here.decode(one, 500), there.decode(other, 500).cpu(), atol=10 * ROUNDING)


def test_a_shard_is_encoded_the_same() -> None:
    """What is kept of it lies on a CPU, and so does how well held-out pairs are explained."""
    x, every = rows(300), torch.arange(300)
    kept = KeptRows(0, x, every, every // 10, every % 3 == 0)
    made, explained = [], []
    for crosscoder in crosscoders():
        for part in crosscoder.parts:
            part.threshold.fill_(0.3)
        held_out = HeldOut.of(crosscoder)
        found = encode_shard(crosscoder, kept, 64, held_out)
        dense = np.zeros((300, 512), dtype=np.float32)
        dense[found.rows, found.features] = found.values
        made.append(dense)
        explained.append(held_out.sums())
    both = (made[0] > 0) == (made[1] > 0)
    assert both.mean() > 0.9999
    assert np.allclose(made[0][both], made[1][both], atol=ROUNDING)
    assert np.allclose(*explained, rtol=1e-2, atol=1e-2)
    assert made[0].any()


def test_sums_over_pairs_are_the_same() -> None:
    """Of the same codes: second moments, what is drawn and what is counted. All of it ends on the CPU."""
    here, there = crosscoders()
    for part in here.parts:
        part.threshold.fill_(0.3)
    batches = []
    for number in range(6):
        x, document = rows(200, number), torch.arange(200) // 10 + 20 * number
        codes = by_feature(here.encode(x))
        batches.append(Batch(number >= 4, x, codes, document, document % 3))
    one, other = (
        moments.collect(crosscoder, Rows(batches, [Count(1_200, 400)], 3), 100, 300) for crosscoder in (here, there)
    )
    assert one.firings.sum() > 5_000
    for mine, theirs in ((one.train, other.train), (one.held_out, other.held_out)):
        for name in ("rows", "firings"):
            assert torch.equal(torch.as_tensor(getattr(theirs, name)), torch.as_tensor(getattr(mine, name))), name
        for name in ("x", "xx", "z", "zz", "zx"):
            assert_near(getattr(theirs, name), getattr(mine, name))
    assert_near(other.rebuilt, one.rebuilt)
    assert torch.allclose(other.sample, one.sample, atol=1e-6)
    for name in ("by_source", "source_pairs", "documents"):
        assert torch.equal(getattr(other, name), getattr(one, name)), name
    for mine, theirs in ((one.sample_codes, other.sample_codes), (one.codes, other.codes)):
        assert all(torch.equal(getattr(theirs, name), column) for name, column in vars(mine).items())


def assert_near(there: torch.Tensor, here: torch.Tensor) -> None:
    """Sums of some hundred float32 products in another order: within five millionths of the largest."""
    assert there.device.type == "cpu"
    assert there.dtype == here.dtype
    assert torch.allclose(there, here, rtol=0, atol=5e-6 * float(here.abs().max()))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("cuda")
    return tiny.make_llama(folder / "llama"), tiny.make_gemma(folder / "gemma")


def test_the_whole_line_is_the_same(pair: tuple[Path, Path], tmp_path: Path) -> None:
    made: list[Run] = []
    for device in ("cpu", DEVICE):
        settings = tiny.tiny_settings(tmp_path / "texts", pair, f"on-{len(made)}", training={"device": device})
        for side in SIDES:
            settings["models"][side]["device"] = device
        made.append(runs.create(tiny.config.parse(settings, origin="cuda")))
        pipeline.run_stages(made[-1])
        pipeline.verify(made[-1])
    stores = [ActivationStore(run.activations) for run in made]
    assert stores[0].manifest.pairs == stores[1].manifest.pairs
    for shard in range(len(stores[0].manifest.shards)):
        for side in SIDES:
            here, there = (read_rows(run.activations, side, shard) for run in made)
            assert torch.allclose(there, here, atol=1e-2 * float(here.abs().max())), "bfloat16 on the disk"
    surprises = [sorted((run.activations / "surprise").iterdir()) for run in made]
    for here, there in zip(*surprises, strict=True):
        assert here.name == there.name
        assert np.load(there)["lost"] == pytest.approx(np.load(here)["lost"], rel=1e-3, abs=1e-2)
    explained = [disk.read_json(run.provenance)["train"]["held_out_fve_a"] for run in made]
    assert explained[1] == pytest.approx(explained[0], abs=0.03)
    alive = [Store(run.store).count(FeatureQuery()) for run in made]
    assert alive[1] == pytest.approx(alive[0], abs=8)


@pytest.mark.parametrize("side", [0, 1])
def test_steered_texts_are_the_same(pair: tuple[Path, Path], side: int) -> None:
    said = []
    for device in ("cpu", DEVICE):
        model = models.load(ModelConfig(source=str(pair[side]), layer=2, max_tokens=128, device=device))
        direction = 3 * torch.randn(model.width, generator=torch.Generator().manual_seed(0))
        steered = Program((Action(Edit("a", 0, strength=1.0), SteeringVector("a", 0, direction)),))
        said.append(["".join(stream(model, Prompt("The old bridge"), Sampling(16), p)) for p in (Program(), steered)])
    assert said[0] == said[1]
    assert said[0][0] != said[0][1]
