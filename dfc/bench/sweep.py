"""Sweeps of the demo's models beside bare forward passes of as many tokens, and beside one output at a time."""

from __future__ import annotations

import torch

from dfc.bench.figures import Figure, milliseconds
from dfc.bench.writing import bare, models_of_the_demo
from dfc.models import LoadedModel, together
from dfc.requests import Edit, Sampling, Sweep
from dfc.steering import generation, sweeps
from dfc.steering.analysis import analyse, chances, promoted
from dfc.steering.edits import Action, Program
from dfc.steering.generation import BASELINE
from dfc.steering.vectors import SteeringVector

_SWEEP = Sweep(
    tuple(Edit("a", feature) for feature in range(4)),
    (0.5, 1.0, 2.0, 4.0),
    ("I think that the", "Yesterday we"),
    Sampling(24, 0.7, 0.9),
    control=True,
)
_ROUNDS = 2


def run() -> list[Figure]:
    """Times of both models on small vectors.

    Raises:
        UserError: if the demo's models are not there.
    """
    return [figure for model in models_of_the_demo() for figure in measure(model, _SWEEP, _ROUNDS)]


def measure(model: LoadedModel, sweep: Sweep, rounds: int) -> list[Figure]:
    """A whole sweep, what its texts cost the model at least, and one of its outputs alone.

    At least means: every text written, read once by the model left alone, and once more by the edited one.
    """
    units = {edit: (_small(model, edit), None) for edit in sweep.edits}
    new, asked = sweep.sampling.max_new_tokens, sweep.asked
    prompts = [generation.encode_prompt(model, prompt, new) for prompt in asked]
    rows = [ids[0].tolist() for ids in prompts for _ in range(sweep.outputs // len(prompts))]
    size = together.most_rows(model, max(map(len, rows)) + new, kept=new)

    def floor() -> None:
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            bare(model, part, new)
            for _ in range(2):
                bare(model, [[*row, *row[:1] * new] for row in part], 1)

    def alone() -> None:
        program = units[sweep.edits[0]][0]
        [answer] = generation.generate(model, asked[0], sweep.sampling, [program])
        analyse(model, prompts[0], answer.tokens, program)
        watched = promoted(model, program.actions[0].vector.vector)
        chances(model, prompts[0], answer.tokens, [BASELINE, program], watched)

    written = lambda: list(sweeps.written(model, "a", sweep, units))  # noqa: E731
    times = milliseconds({"floor": floor, "sweep": written, "alone": alone}, rounds)
    each = times["sweep"] / sweep.outputs
    return [
        Figure(f"bare forward passes, {model.title}", times["floor"] / sweep.outputs, "ms an output"),
        Figure(f"one output alone, {model.title}", times["alone"], "ms an output"),
        Figure(f"sweep, {model.title}", each, "ms an output", "bare passes", times["sweep"] / times["floor"], 1.25),
        Figure(f"outputs a second, {model.title}", 1e3 / each, "", "time of one alone", each / times["alone"]),
    ]


def _small(model: LoadedModel, edit: Edit) -> Program:
    """So small a vector that the text stays the model's own, and ends where that ends."""
    drawn = torch.randn(model.width, generator=torch.Generator().manual_seed(edit.feature))
    return Program((Action(edit, SteeringVector("a", edit.feature, 1e-4 * drawn)),))
