"""Proposed strengths, and what the check says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from dfc import models
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.steering import strength
from dfc.steering.analysis import Analysis
from dfc.steering.answers import Answer
from dfc.steering.edits import Action, Program
from dfc.steering.generation import BASELINE
from dfc.steering.strength import propose_strength, warnings
from dfc.steering.vectors import SteeringVector
from tests.steering.test_generation import freed
from tests.steering.test_vectors import alive


def test_the_largest_strength_up_to_which_all_hold(tiny_run: Run) -> None:
    model, edit = models.shared(tiny_run.config().models.a), Edit("a", alive(tiny_run, "a"))
    ladder = (0.01, 1.0, 1000.0)
    found = {
        bound: propose_strength(tiny_run, model, edit, Prompt("The old bridge"), ladder, bound, Sampling(8, 1.0))
        for bound in (1e-9, 1.5, 1e9)
    }
    assert found[1e-9].strength is None
    for bound, proposal in found.items():
        assert [step.strength for step in proposal.steps] == list(ladder)
        first_bad = next((i for i, step in enumerate(proposal.steps) if not step.coherent), len(ladder))
        assert proposal.strength == (ladder[first_bad - 1] if first_bad else None)
        for step in proposal.steps:
            assert not step.coherent or step.perplexity <= bound * proposal.baseline
    assert found[1.5].steps[-1].perplexity > found[1.5].baseline


def test_a_probe_says_how_far_it_is_and_can_be_ended(tiny_run: Run) -> None:
    model, edit = models.shared(tiny_run.config().models.a), Edit("a", alive(tiny_run, "a"))
    shares: list[float] = []

    def probe(tell: Callable[[float, bool], None]) -> None:
        propose_strength(
            tiny_run, model, edit, Prompt("The old bridge"), (0.5, 1.0), sampling=Sampling(6, 1.0), tell=tell
        )

    probe(lambda share, waiting: shares.append(share))
    assert shares == sorted(shares)
    assert 0 < shares[0] < shares[-1] < 1

    def end(share: float, waiting: bool) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        probe(end)
    assert freed(model)


def program(vector: torch.Tensor) -> Program:
    return Program((Action(Edit("a", 0), SteeringVector("a", 0, vector)),))


def analysis(kl: float = 1.0, added: float = 5.0, probability: float = 0.5) -> Analysis:
    p = np.full(4, probability)
    return Analysis(list("abcd"), p, p, np.full(4, kl), np.zeros((0, 4)), stream_norm=10.0, added_norm=added)


FINE = Answer("abcd", [1, 2, 3, 4])


@pytest.mark.parametrize(
    ("found", "vector", "answer", "sentence"),
    [
        (analysis(0, 5.0), torch.zeros(3), FINE, "decoder vector is zero"),
        (analysis(0, 0.0), torch.ones(3), FINE, "does not fire anywhere in this text"),
        (analysis(0, 0.1), torch.ones(3), FINE, "too small, 1.00% of the stream's norm"),
        (analysis(0, 5.0), torch.ones(3), FINE, "the feature acts at another site"),
        (analysis(probability=1e-4), torch.ones(3), FINE, "the text falls apart: perplexity 1e"),
        (analysis(), torch.ones(3), Answer("aaaaaaaa", [1] * 8), "12% of its tokens distinct"),
        (
            analysis(),
            torch.ones(3),
            Answer("…", [*range(30), *([1, 2] * 10)]),
            "12% of its tokens distinct where fewest",
        ),
        (analysis(), torch.ones(3), Answer(), "ended its answer at once"),
        (
            replace(analysis(), off=np.array([0.0, 0.009, 0.3, 0.02])),
            torch.ones(3),
            FINE,
            "at 2 of 4 positions the edit is approximate, by up to 30% of what is added",
        ),
    ],
)
def test_warnings(found: Analysis, vector: torch.Tensor, answer: Answer, sentence: str) -> None:
    [warning] = warnings(program(vector), found, answer, FINE, baseline_perplexity=2.0)
    assert sentence in warning


def test_nothing_to_warn_of() -> None:
    assert warnings(program(torch.ones(3)), analysis(), FINE, FINE, 2.0) == []
    assert "nothing is added" in warnings(BASELINE, analysis(), FINE, FINE, 2.0)[0]


def test_the_ladder_grows() -> None:
    assert list(strength.LADDER) == sorted(strength.LADDER)
