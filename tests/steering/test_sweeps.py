"""Sweeps on the tiny run, kept with it; curves and tables against arithmetic by hand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dfc import models
from dfc.config import SIDES, UserError
from dfc.models import LoadedModel, together
from dfc.requests import Edit, Sampling, Sweep
from dfc.runs import Run
from dfc.steering import edits, effects, sweeps
from dfc.steering.analysis import analyse, chances, promoted
from dfc.steering.edits import Program
from dfc.steering.generation import encode_prompt, generate
from dfc.steering.sweeps import run_sweep, store
from tests.steering.test_vectors import alive


def a_sweep(run: Run, **changes: object) -> Sweep:
    made = tuple(Edit(side, alive(run, side)) for side in SIDES)
    sweep = Sweep(
        made, (-1.0, 0.0, 2.0), ("The old bridge", "今天"), Sampling(6, 1.0), words=("rain", "河"), control=True
    )
    return replace(sweep, **changes)  # type: ignore[arg-type]


def test_a_sweep_is_measured_and_kept(tiny_copy: Run) -> None:
    sweep = a_sweep(tiny_copy)
    steps = list(run_sweep(tiny_copy, sweep))
    assert [step.done for step in steps if step.row] == list(range(1, sweep.outputs + 1))
    assert sweep.outputs == 2 * 2 * 5
    [kept] = store(tiny_copy).sweeps().to_dict("records")
    assert (kept["status"], kept["made"]) == ("done", sweep.outputs)
    assert Sweep.from_json(kept["settings"]) == sweep
    rows = store(tiny_copy).outputs(kept["sweep_id"])
    assert set(zip(rows["side"], rows["direction"], rows["strength"], strict=True)) == {
        (side, direction, strength)
        for side in SIDES
        for direction, strength in (("none", 0), ("feature", -1), ("feature", 2), ("random", -1), ("random", 2))
    }
    alone = rows[rows["direction"] == "none"]
    assert all(kl == 0 for values in alone["kl"] for kl in values)
    assert (rows[rows["direction"] == "feature"]["mean_kl"] > 0).all()
    for _, row in rows.iterrows():
        assert len(row["tokens"]) == len(row["kl"]) == len(row["activation"]) == 6


@pytest.mark.parametrize("rows", [64, 3])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_every_row_is_what_it_is_alone(
    tiny_copy: Run, rows: int, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts and figures, of prompts of different length, features that are read and others, in batches of any size."""
    monkeypatch.setattr(together, "most_rows", lambda *_, **__: rows)
    read = sweeps.own_gauge
    monkeypatch.setattr(sweeps, "own_gauge", lambda run, edit: None if edit.mode == "clamp" else read(run, edit))
    both = tuple(Edit("a", alive(tiny_copy, "a"), mode) for mode in ("clamp", "add"))
    sweep = a_sweep(tiny_copy, sampling=Sampling(6, temperature, 0.9), edits=both)
    found = [step.row for step in run_sweep(tiny_copy, sweep) if step.row]
    model, keys = models.shared(tiny_copy.config().models.a), ("mode", "direction", "strength", "prompt_id")
    assert len({tuple(row[key] for key in keys) for row in found}) == len(found) == sweep.outputs
    for row in found:
        [edit] = (edit for edit in both if edit.mode == row["mode"])
        unit = edits.program(tiny_copy, [replace(edit, strength=1.0)], edit.side)
        watched = promoted(model, unit.actions[0].vector.vector)
        unit = sweeps.randomised(unit) if row["direction"] == "random" else unit
        program = Program() if row["direction"] == "none" else sweeps.scaled(unit, row["strength"])
        prompt, sampling = sweep.asked[row["prompt_id"]], replace(sweep.sampling, seed=row["prompt_id"])
        [answer] = generate(model, prompt, sampling, [program])
        assert answer.text == row["text"]
        ids, gauge = encode_prompt(model, prompt, 6), sweeps.own_gauge(tiny_copy, edit)
        expected = analyse(model, ids, answer.tokens, program, [] if gauge is None else [gauge])
        assert row["tokens"] == expected.tokens
        assert row["kl"] == pytest.approx(expected.kl, abs=1e-5)
        assert (row["perplexity"] is None) == (not answer.tokens)
        assert row["perplexity"] in (None, pytest.approx(expected.perplexity, rel=1e-5))
        [own] = generate(model, prompt, sampling, [Program()])
        assert row["promoted"] == pytest.approx(chances(model, ids, own.tokens, [program], watched)[0], rel=1e-4)
        if gauge is not None:
            assert row["activation"] == pytest.approx(expected.activations[0] / gauge.s_max, rel=1e-4)
        assert len(row["activation"]) == (len(answer.tokens) if row["mode"] == "add" else 0)


def test_features_strengths_and_prompts_share_a_batch(tiny_copy: Run) -> None:
    sweep = a_sweep(tiny_copy, edits=(Edit("a", alive(tiny_copy, "a")),))
    with passes(models.shared(tiny_copy.config().models.a)) as made:
        list(run_sweep(tiny_copy, sweep))
    assert made[:6] == [2 * (1 + 2 * 2)] * 6  # two prompts: left alone, and two strengths of a feature and a control


@contextmanager
def passes(model: LoadedModel) -> Iterator[list[int]]:
    """Rows of each pass through the model's site, as they come."""
    found: list[int] = []
    handle = model.site.register_forward_hook(lambda module, inputs, output: found.append(len(inputs[0])))
    try:
        yield found
    finally:
        handle.remove()


def is_free(model: LoadedModel) -> bool:
    """Whether the model is free, or is let go of soon."""
    free = model.lock.acquire(timeout=20)
    if free:
        model.lock.release()
    return free


def test_closing_cancels_within_a_token(tiny_copy: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a batch of 100 tokens: the model is let go of, and what was kept stays."""
    monkeypatch.setattr(together, "most_rows", lambda *_, **__: 2)  # one left alone, and one steered
    running = run_sweep(tiny_copy, a_sweep(tiny_copy, sampling=Sampling(100, 1.0)))
    model = models.shared(tiny_copy.config().models.a)
    first = next(step for step in running if step.done == 2)
    with passes(model) as made:
        assert [next(running).row for _ in range(8)] == [None] * 8
        assert model.lock.locked()
        until_then = len(made)
        running.close()
        assert is_free(model)
        assert until_then <= len(made) <= until_then + 2 < 100
    [kept] = store(tiny_copy).sweeps().to_dict("records")
    assert (kept["status"], kept["made"]) == ("cancelled", first.done)


def test_a_sweep_waits_for_its_model_and_can_be_cancelled_meanwhile(tiny_copy: Run) -> None:
    model = models.shared(tiny_copy.config().models.a)
    with model.lock:
        running = run_sweep(tiny_copy, a_sweep(tiny_copy))
        assert next(running).waiting
        running.close()
        assert store(tiny_copy).sweeps()["status"].tolist() == ["cancelled"]
    assert is_free(model)


def test_what_goes_wrong_is_noted(tiny_copy: Run) -> None:
    with pytest.raises(UserError, match="the prompt is empty"):
        list(run_sweep(tiny_copy, a_sweep(tiny_copy, prompts=("The", " "))))
    assert store(tiny_copy).sweeps()["status"].tolist() == ["failed"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"prompts": ()}, "there are no prompts"),
        ({"edits": ()}, "there are no edits"),
        ({"strengths": ()}, "there are no strengths"),
        ({"strengths": (0.0,)}, "strength 0 alone changes nothing"),
        ({"strengths": (1.0, float("nan"))}, "the strength must be a finite number"),
        ({"regex": "("}, r"regex: '\(' is no regular expression"),
    ],
)
def test_a_sweep_that_makes_no_sense(tiny_run: Run, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        a_sweep(tiny_run, **changes)


def test_bulk_takes_the_top_exclusive_features(tiny_run: Run) -> None:
    sweep = sweeps.bulk(tiny_run, 2, strengths=(1.0,), prompts=("x",))
    assert [edit.side for edit in sweep.edits] == ["a"] * 2 + ["b"] * 2
    assert [edit.feature for edit in sweep.edits if edit.side == "b"] == sweeps.exclusive_features(tiny_run, "b", 2)


def outputs_by_hand() -> pd.DataFrame:
    rows = []
    for prompt, base in enumerate([1.0, 2.0, 6.0]):
        rows.append(("a", 3, "add", "none", 0.0, prompt, base))
        rows += [("a", 3, "add", "feature", s, prompt, base + s * (1 + prompt)) for s in (-1.0, 1.0, 2.0)]
        rows += [("a", 3, "add", "random", s, prompt, base) for s in (-1.0, 1.0, 2.0)]
    found = pd.DataFrame(rows, columns=[*effects.KEYS, "strength", "prompt_id", "coverage"])
    return found.assign(perplexity=found["coverage"] * 10)


def test_curves_are_means_with_intervals_of_paired_differences() -> None:
    found = effects.curves(outputs_by_hand(), "coverage").set_index(["direction", "strength"])
    assert found.loc["feature"].index.tolist() == [-1.0, 0.0, 1.0, 2.0]
    row = found.loc[("feature", 2.0)]
    assert (row["prompts"], row["mean"], row["effect"]) == (3, pytest.approx(7.0), pytest.approx(4.0))
    assert 2.0 <= row["effect_low"] < 4.0 < row["effect_high"] <= 6.0
    alone = found.loc[("random", 0.0)]
    assert (alone["mean"], alone["effect"], alone["effect_low"]) == (3.0, 0.0, 0.0)


def test_the_table_has_the_largest_effect_first() -> None:
    found = effects.table(outputs_by_hand(), "coverage")
    assert found["direction"].tolist() == ["feature", "random"]
    first = found.iloc[0]
    assert (first["strength"], first["effect"], first["monotone"]) == (2.0, pytest.approx(4.0), pytest.approx(1.0))
    assert first["perplexity"] == pytest.approx(70.0)
    assert np.isnan(found.iloc[1]["monotone"])


def test_without_the_measure_there_is_no_row() -> None:
    assert effects.table(outputs_by_hand().assign(coverage=None), "coverage").empty


def test_the_interval_has_its_level() -> None:
    """Of 200 samples of 30 from a known distribution, about 95 % of intervals hold the mean."""
    draw = np.random.default_rng(0)
    held = 0
    for number in range(200):
        _, low, high = effects.interval(draw.exponential(size=30), number)
        held += low <= 1 <= high
    assert 175 <= held <= 199
