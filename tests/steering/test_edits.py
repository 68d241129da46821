"""Every mode of steering, in every family of models, against plain forward hooks written out by hand."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from dfc.config import UserError
from dfc.models import LoadedModel, stream_of
from dfc.requests import MODES, WHERES, Edit, Mode, Sampling, Where
from dfc.runs import Run
from dfc.steering import edits
from dfc.steering.analysis import analyse, chances
from dfc.steering.edits import Action, Program
from dfc.steering.generation import BASELINE, encode_prompt, generate
from dfc.steering.vectors import Gauge, SteeringVector
from tests.models.test_families import family, model
from tests.steering.test_generation import PROMPT, vector_for
from tests.steering.test_vectors import alive

__all__ = ["family", "model"]

NEW = 4
S_MAX = 2.0


def gauge_for(model: LoadedModel) -> Gauge:
    """A random feature that fires on some positions and is silent on others."""
    ids = encode_prompt(model, PROMPT, NEW)
    stream = model.streams([model.layer], ids, torch.ones_like(ids))[0][0]
    weight = torch.randn(model.width, generator=torch.Generator().manual_seed(5)) / stream.norm(dim=1).mean()
    values = stream @ weight
    limit = float(stream.norm(dim=1).max()) * 10
    return Gauge(weight, float(0.3 - values.median()), 0.1, limit, S_MAX, exact=True)


def action(model: LoadedModel, mode: Mode, where: Where = "all", strength: float = 0.4, seed: int = 0) -> Action:
    edit = Edit("a", 0, mode, strength, where, threshold=0.05)
    vector = SteeringVector("a", 0, vector_for(model, seed).vector, S_MAX)
    return Action(edit, vector, None if mode == "add" else gauge_for(model))


def by_hand(found: Action, x: Tensor) -> Tensor:
    """What is added at one position, (width,), spelled out."""
    edit, v = found.edit, found.vector.vector
    if edit.mode == "add":
        return edit.strength * v
    assert found.gauge is not None
    z = max(0.0, float(x @ found.gauge.weight) + found.gauge.bias)
    z = z if z >= found.gauge.least and float(x.norm()) <= found.gauge.limit else 0.0
    d = v / S_MAX
    if edit.mode == "clamp":
        return (edit.strength * S_MAX - z) * d
    if edit.mode == "ablate":
        return -z * d
    return edit.strength * v if z > edit.threshold * S_MAX else torch.zeros_like(v)


def hooked(model: LoadedModel, ids: Tensor, actions: tuple[Action, ...], new: int) -> list[int]:
    """transformers' own generation with a forward hook that goes position by position."""
    seen = 0

    def edit(module: Any, inputs: Any, output: Any) -> Any:
        nonlocal seen
        before = stream_of(output)
        after = before.clone()
        for place in range(before.shape[1]):
            in_prompt = seen < ids.shape[1]
            for found in actions:
                if found.edit.where in ("all", "prompt" if in_prompt else "generated"):
                    after[0, place] += by_hand(found, before[0, place])
            seen += 1
        return (after, *output[1:]) if isinstance(output, tuple) else after

    handle = model.site.register_forward_hook(edit)
    try:
        with torch.no_grad():
            out = model.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False)
    finally:
        handle.remove()
    return out[0, ids.shape[1] :].tolist()


def test_every_mode_equals_a_plain_hook(model: LoadedModel) -> None:
    ids = encode_prompt(model, PROMPT, NEW)
    whole = [(action(model, mode, where),) for mode, where in product(MODES, WHERES)]
    whole.append((action(model, "add", seed=1), action(model, "ablate", seed=2), action(model, "clamp", "prompt")))
    answers = generate(model, PROMPT, Sampling(NEW), [BASELINE, *map(Program, whole)])
    expected = [hooked(model, ids, actions, NEW) for actions in [(), *whole]]
    assert [answer.tokens for answer in answers] == [trimmed(model, tokens) for tokens in expected]
    assert len({tuple(tokens) for tokens in expected}) > 3


def trimmed(model: LoadedModel, tokens: list[int]) -> list[int]:
    """Up to the token that ends the text."""
    end = model.model.generation_config.eos_token_id
    return tokens[: tokens.index(end)] if end in tokens else tokens


def test_an_analysis_equals_plain_forward_passes(model: LoadedModel) -> None:
    """Probabilities, KL and activations of one text, against hooks on the whole of it."""
    ids, answer = encode_prompt(model, PROMPT, NEW), [7, 30, 60]
    actions = (action(model, "conditional", "generated"), action(model, "clamp", "prompt", seed=1))
    found = analyse(model, ids, answer, Program(actions), [gauge_for(model)])
    chance = chances(model, ids, answer, [BASELINE, Program(actions)], [3, 40])
    whole = torch.cat([ids, torch.tensor([answer])], dim=1)
    streams: list[Tensor] = []

    def edit(module: Any, inputs: Any, output: Any) -> Any:
        before = stream_of(output)
        streams.append(before.clone())
        after = before.clone()
        for place in range(before.shape[1]):
            here = actions[1] if place < ids.shape[1] else actions[0]
            after[0, place] += by_hand(here, before[0, place])
        return (after, *output[1:]) if isinstance(output, tuple) else after

    with torch.no_grad():
        baseline = model.model(whole).logits[0].log_softmax(dim=1)
        handle = model.site.register_forward_hook(edit)
        steered = model.model(whole).logits[0].log_softmax(dim=1)
        handle.remove()
    start = ids.shape[1] - 1
    for place, token in enumerate(answer):
        p, q = steered[start + place], baseline[start + place]
        assert found.steered[place] == pytest.approx(float(p[token].exp()), rel=1e-3, abs=1e-6)
        assert found.baseline[place] == pytest.approx(float(q[token].exp()), rel=1e-3, abs=1e-6)
        assert chance[1, place] == pytest.approx(float(p[[3, 40]].exp().sum()), rel=1e-3, abs=1e-6)
        assert chance[0, place] == pytest.approx(float(q[[3, 40]].exp().sum()), rel=1e-3, abs=1e-6)
        assert found.kl[place] == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-2, abs=1e-4)
    z = (streams[0][0, start + 1 :] @ gauge_for(model).weight + gauge_for(model).bias).relu()
    z[z < gauge_for(model).least] = 0
    torch.testing.assert_close(torch.tensor(found.activations[0]).float(), z, atol=1e-4, rtol=1e-3)
    assert found.perplexity == pytest.approx(float(torch.tensor(found.baseline).log().mean().neg().exp()))


def test_strength_0_is_exactly_the_baseline(tiny_run: Run) -> None:
    for mode in ("add", "conditional"):
        assert edits.program(tiny_run, [Edit("a", alive(tiny_run, "a"), mode, 0.0)], "a") == BASELINE  # type: ignore[arg-type]


def test_clamping_to_0_is_removing() -> None:
    gauge = Gauge(torch.randn(8), 0.2, 0.1, 100.0, S_MAX, exact=True)
    vector, x = SteeringVector("a", 0, torch.randn(8), S_MAX), torch.randn(20, 8)
    clamp, ablate = (Program((Action(Edit("a", 0, mode, 0.0), vector, gauge),)) for mode in ("clamp", "ablate"))  # type: ignore[arg-type]
    torch.testing.assert_close(clamp.added(x, 0, 5), ablate.added(x, 0, 5))
    assert ablate.added(x, 0, 5).any()


def test_the_order_of_edits_does_not_matter() -> None:
    gauge = Gauge(torch.randn(8), 0.2, 0.0, 100.0, S_MAX, exact=True)
    made = [
        Action(Edit("a", 0, mode, 0.7), SteeringVector("a", 0, torch.randn(8), S_MAX), gauge if mode != "add" else None)
        for mode in MODES
    ]
    x = torch.randn(20, 8)
    torch.testing.assert_close(Program(tuple(made)).added(x, 3, 9), Program(tuple(made[::-1])).added(x, 3, 9))


def test_outliers_are_not_read() -> None:
    gauge = Gauge(torch.ones(4), 0.0, 0.0, 10.0, S_MAX, exact=True)
    assert gauge(torch.tensor([[1.0, 1, 1, 1], [100.0, 1, 1, 1], [-1.0, 0, 0, 0]])).tolist() == [4.0, 0.0, 0.0]


def test_edits_of_the_other_model_are_left_out(tiny_run: Run) -> None:
    shared = alive(tiny_run, "shared")
    both = [Edit("a", shared, strength=2.0), Edit("b", shared, "ablate")]
    assert [[one.edit for one in edits.program(tiny_run, both, side).actions] for side in ("a", "b")] == [  # type: ignore[arg-type]
        [both[0]],
        [both[1]],
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"strength": float("nan")}, "the strength must be a finite number, not nan"),
        ({"strength": float("inf")}, "the strength must be a finite number, not inf"),
        ({"threshold": float("-inf")}, "the threshold must be a finite number"),
        ({"mode": "double"}, "mode: 'double' is none of add, clamp, ablate, conditional"),
        ({"where": "here"}, "where: 'here' is none of all, prompt, generated"),
        ({"side": "c"}, "side: 'c' is none of a, b"),
    ],
)
def test_an_edit_that_makes_no_sense(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Edit(**{"side": "a", "feature": 1, **fields})


def test_a_feature_of_another_run(tiny_run: Run) -> None:
    for strength in (0.0, 1.0):
        with pytest.raises(UserError, match="feature 900 does not exist in this run; its features are 0 to 63"):
            edits.program(tiny_run, [Edit("a", 900, strength=strength)], "a")


def test_a_carried_feature_can_only_be_added(tiny_run: Run) -> None:
    with pytest.raises(UserError, match="can only be added"):
        edits.program(tiny_run, [Edit("b", alive(tiny_run, "a"), "ablate")], "b")
