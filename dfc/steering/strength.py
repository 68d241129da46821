"""Which strengths are of use: a quick probe of a ladder of strengths, and a check of what an edit does.

A continuation is coherent while its perplexity under the model left alone stays below `BOUND` times that of the
model's own continuation, and it does not say the same few tokens again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from dfc.models import LoadedModel
from dfc.models.streams import CLOSE
from dfc.requests import Edit, Prompt, Sampling
from dfc.runs import Run
from dfc.steering import edits, generation
from dfc.steering.analysis import Analysis, analyse
from dfc.steering.answers import Answer
from dfc.steering.edits import Program
from dfc.steering.generation import BASELINE
from dfc.steering.measures import distinct

LADDER = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
BOUND = 8.0
PROBE = Sampling(max_new_tokens=24, temperature=0.7, top_p=0.9)

_DISTINCT = 0.25
_IN_A_ROW = 16  # tokens: a text that begins well may end in the same few
_UNNOTICED_KL = 1e-3  # nats, at the position that changes most
_SMALL = 0.02  # of the stream's norm
_WRITING = 0.8  # of a probe's time; the rest is measuring


@dataclass(frozen=True)
class Step:
    """One strength that was tried: perplexity under the model left alone, and whether the text holds together."""

    strength: float
    perplexity: float
    distinct: float
    coherent: bool
    text: str


@dataclass(frozen=True)
class Proposal:
    """What the probe found.

    Attributes:
        strength: the largest of the ladder up to which all are coherent; None if the smallest is not.
        baseline: perplexity of the model's own continuation.
        steps: all strengths that were tried.
    """

    strength: float | None
    baseline: float
    steps: tuple[Step, ...]


def propose_strength(
    run: Run,
    model: LoadedModel,
    edit: Edit,
    prompt: Prompt,
    ladder: Sequence[float] = LADDER,
    bound: float = BOUND,
    sampling: Sampling = PROBE,
    tell: Callable[[float, bool], None] = lambda share, waiting: None,
) -> Proposal:
    """The largest strength of a ladder at which the text still holds together.

    Args:
        run: whose feature it is.
        model: the one that is steered.
        edit: what is done; its strength is replaced by each of the ladder.
        prompt: what the model goes on from.
        ladder: strengths, from the least that is of interest on.
        bound: largest perplexity under the model left alone, in multiples of its own continuation's.
        sampling: how tokens are drawn; greedy texts have so low a perplexity that no bound is fair.
        tell: told at each token which share of the probe is done, and whether it waits for a model that is in use;
            what it raises ends the probe, and the model is free within a token.

    Raises:
        UserError: if the feature, the prompt or a strength cannot be used.
    """
    tried = [replace(edit, strength=strength) for strength in sorted(ladder, key=abs)]
    programs = [BASELINE, *(edits.program(run, [one], edit.side) for one in tried)]
    ids = generation.encode_prompt(model, prompt, sampling.max_new_tokens)
    answers = [Answer() for _ in programs]
    with closing(generation.stream_rows(model, prompt, sampling, programs)) as pieces:
        for piece in pieces:
            answers[piece.row].add(piece)
            tell(_WRITING * (max(len(one.tokens) for one in answers) / sampling.max_new_tokens), piece.waiting)
    own, *steered = answers
    baseline = analyse(model, ids, own.tokens, BASELINE).perplexity
    steps, largest = [], None
    for number, (one, answer) in enumerate(zip(tried, steered, strict=True)):
        tell(_WRITING + (1 - _WRITING) * number / len(tried), False)
        perplexity = analyse(model, ids, answer.tokens, BASELINE).perplexity
        coherent = not _falls_apart(perplexity, baseline, answer, own, bound)
        steps.append(Step(one.strength, perplexity, distinct(answer.tokens), coherent, answer.text))
        if coherent and all(step.coherent for step in steps):
            largest = one.strength
    return Proposal(largest, baseline, tuple(steps))


def warnings(
    program: Program, analysis: Analysis, answer: Answer, baseline: Answer, baseline_perplexity: float
) -> list[str]:
    """What the reader of a steered text should know: that nothing was changed, and why, or that it fell apart.

    Args:
        program: what was done.
        analysis: the analysis of the steered answer under it.
        answer, baseline: the steered text, and the model's own.
        baseline_perplexity: of the model's own, under itself.
    """
    if not program.actions:
        return ["nothing is added: every strength is 0, or no edit is of this model"]
    if not answer.tokens:
        return ["the model ended its answer at once"]
    problems = []
    if analysis.kl.max() < _UNNOTICED_KL:
        problems.append(f"this changes nothing: {_reason(program, analysis)}")
    if missed := approximated(analysis):
        problems.append(missed)
    if _falls_apart(analysis.perplexity, baseline_perplexity, answer, baseline, BOUND):
        problems.append(
            f"the text falls apart: perplexity {analysis.perplexity:.3g} under the model left alone, "
            f"{baseline_perplexity:.3g} for its own text, {_least_distinct(answer):.0%} of its tokens distinct where "
            f"fewest are; try a smaller strength"
        )
    return problems


def approximated(analysis: Analysis) -> str:
    """Where an edit of a model of several streams is not what was asked for; nothing if it is everywhere."""
    missed = int((analysis.off > CLOSE).sum())
    if not missed:
        return ""
    return (
        f"at {missed} of {len(analysis.off)} positions the edit is approximate, by up to {analysis.off.max():.0%} of "
        f"what is added: the model carries several streams, and no edit of all of them alike makes it there; try a "
        f"smaller strength"
    )


def _reason(program: Program, analysis: Analysis) -> str:
    if all(float(action.vector.vector.norm()) == 0 for action in program.actions):
        return "the feature's decoder vector is zero at this site"
    if analysis.added_norm == 0:
        return "the feature does not fire anywhere in this text, so this mode finds nothing to change"
    share = analysis.added_norm / analysis.stream_norm
    if share < _SMALL:
        return f"what is added is too small, {share:.2%} of the stream's norm; try a larger strength"
    return (
        f"what is added has {share:.0%} of the stream's norm, but the blocks after this site do not heed it; "
        f"the feature acts at another site, or has no effect here"
    )


def _falls_apart(perplexity: float, baseline: float, answer: Answer, own: Answer, bound: float) -> bool:
    """Whether a text has become unlikely, or says the same again and again though the model's own does not."""
    return perplexity > bound * baseline or _least_distinct(answer) < min(_DISTINCT, _least_distinct(own))


def _least_distinct(answer: Answer) -> float:
    """The smallest share of different tokens among any `_IN_A_ROW`; among all of fewer."""
    tokens = answer.tokens
    starts = range(max(1, len(tokens) - _IN_A_ROW + 1))
    return min(distinct(tokens[start : start + _IN_A_ROW]) for start in starts)
