"""Sweeps: features × strengths × prompts in one model or both, measured and kept with the run.

All strengths of one feature on one prompt are one batch; the model left alone is generated once for each prompt.
With a control, a random direction of equal norm takes each strength, too: what it does as well is no effect of the
feature.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from dfc import corpus
from dfc.config import SIDES, Side, UserError
from dfc.models import LoadedModel
from dfc.requests import Edit, Prompt, Sampling, Sweep, pattern
from dfc.runs import Run
from dfc.steering import edits, generation, measures
from dfc.steering.analysis import analyse, chances, promoted
from dfc.steering.answers import Answer
from dfc.steering.edits import Program
from dfc.steering.generation import BASELINE
from dfc.steering.loading import steerable
from dfc.steering.strength import approximated
from dfc.steering.trials import store
from dfc.steering.vectors import Gauge, gauge
from dfc.store.reader import FeatureQuery, Store

Direction = Literal["none", "feature", "transfer", "random"]


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes:
        sweep_id: under which it is kept.
        done, total: answers that were written and measured, and how many there will be.
        row: the latest of them, with the columns of the table `outputs`; None: one is still being written.
        waiting: for the model, which somebody else is using.
        approximate: of how many answers the edit is approximate, and how; nothing if of none.
    """

    sweep_id: str
    done: int
    total: int
    row: dict[str, Any] | None = None
    waiting: bool = False
    approximate: str = ""


def run_sweep(
    run: Run, sweep: Sweep, loaded: Mapping[Side, LoadedModel] | None = None
) -> Generator[Progress, None, None]:
    """Do a sweep and keep it with the run, answer by answer; closing the generator cancels it.

    Args:
        run: whose features they are.
        sweep: what is done.
        loaded: the models, where they are loaded already.

    Yields:
        Each output, after it was kept; and, so that it can be cancelled within a token, at each token of those to come.

    Raises:
        UserError: at the first step, if a feature, a prompt or a model cannot be used.
    """
    sides = [side for side in SIDES if any(edit.side == side for edit in sweep.edits)]
    units = {edit: edits.program(run, [replace(edit, strength=1.0)], edit.side) for edit in sweep.edits}
    gauges = {edit: own_gauge(run, edit) for edit in sweep.edits}
    settings = run.config()
    kept, sweep_id, done, off = store(run), uuid.uuid4().hex, 0, list[str]()
    kept.begin_sweep(sweep_id, sweep.title or _title(sweep), sweep.outputs, sweep.to_json())
    status: Literal["done", "cancelled", "failed"] = "cancelled"
    try:
        for side in sides:
            model = (loaded or {}).get(side) or steerable(settings.models.side(side))
            ours = [edit for edit in sweep.edits if edit.side == side]
            for number, prompt in enumerate(sweep.asked):
                work = _Work(sweep_id, sweep, model, side, number, prompt)
                with closing(_steps(work, ours, units, gauges)) as steps:
                    for step in steps:
                        if step.row is not None:
                            kept.add_outputs([step.row])
                            done += 1
                        off += [step.approximate] if step.approximate else []
                        words = f"{len(off)} of {done} answers: {off[0]}" if off else ""
                        yield Progress(sweep_id, done, sweep.outputs, step.row, step.waiting, words)
        status = "done"
    except Exception:  # not the closing of the generator, which is how a sweep is cancelled
        status = "failed"
        raise
    finally:
        kept.end_sweep(sweep_id, status)


def exclusive_features(run: Run, side: Side, number: int) -> list[int]:
    """Alive exclusive features of a model: those of the most confidence, or, before `verify`, the most specific.

    Raises:
        UserError: if there is none.
    """
    opened = Store(run.store)
    verified = bool(opened.facts().get("verified"))
    query = FeatureQuery((side,), limit=number, order="confidence" if verified else "specificity")
    ids = [int(feature) for feature in opened.features(query)["feature_id"]]
    if not ids:
        raise UserError(f"{run.path}: model {side.upper()} has no exclusive feature that is alive; steer with another.")
    return ids


def bulk(run: Run, number: int, sides: Sequence[Side] = SIDES, **settings: Any) -> Sweep:
    """The same protocol for the top exclusive features of each model; `settings` are those of Sweep."""
    chosen = tuple(Edit(side, feature) for side in sides for feature in exclusive_features(run, side, number))
    return Sweep(edits=chosen, **settings)


def scaled(unit: Program, strength: float) -> Program:
    """A program at another strength."""
    return Program(tuple(replace(one, edit=replace(one.edit, strength=strength)) for one in unit.actions))


def randomised(unit: Program) -> Program:
    """The same with a random direction of equal norm in place of each vector, the same one for each feature."""
    return Program(
        tuple(
            replace(one, vector=replace(one.vector, vector=_random_like(one.vector.vector, one.edit.feature)))
            for one in unit.actions
        )
    )


@dataclass(frozen=True)
class _Work:
    """One prompt in one model."""

    sweep_id: str
    sweep: Sweep
    model: LoadedModel
    side: Side
    number: int
    prompt: Prompt

    @property
    def sampling(self) -> Sampling:
        return replace(self.sweep.sampling, seed=self.sweep.sampling.seed + self.number)

    @property
    def ids(self) -> torch.Tensor:
        """The prompt's token ids, (1, length)."""
        return generation.encode_prompt(self.model, self.prompt, self.sampling.max_new_tokens)


@dataclass(frozen=True)
class _Step:
    """One output, or none yet; `waiting`: because somebody else is using the model; `approximate`: as of `strength`."""

    row: dict[str, Any] | None = None
    waiting: bool = False
    approximate: str = ""


def _steps(
    work: _Work, ours: list[Edit], units: dict[Edit, Program], gauges: dict[Edit, Gauge | None]
) -> Generator[_Step, None, None]:
    """Rows of one prompt, feature by feature, each beginning with the model left alone, which is generated once."""
    [alone] = yield from _answers(work, [BASELINE])
    for edit in ours:
        kinds: list[tuple[Direction, Program]] = [("transfer" if gauges[edit] is None else "feature", units[edit])]
        if work.sweep.control:
            kinds.append(("random", randomised(units[edit])))
        batch = [(kind, strength, scaled(unit, strength)) for kind, unit in kinds for strength in work.sweep.tried]
        programs = [program for _, _, program in batch]
        watched = promoted(work.model, units[edit].actions[0].vector.vector)
        first, *promotion = chances(work.model, work.ids, alone.tokens, [BASELINE, *programs], watched).tolist()
        yield _output(work, edit, "none", 0.0, BASELINE, alone, gauges[edit], first)
        answers = yield from _answers(work, programs)
        for (kind, strength, program), answer, chance in zip(batch, answers, promotion, strict=True):
            yield _output(work, edit, kind, strength, program, answer, gauges[edit], chance)


def _answers(work: _Work, programs: list[Program]) -> Generator[_Step, None, list[Answer]]:
    """Continuations of the prompt, whole; closing the generator frees the model within a token."""
    answers = [Answer() for _ in programs]
    with closing(generation.stream_rows(work.model, work.prompt, work.sampling, programs)) as pieces:
        for piece in pieces:
            answers[piece.row].add(piece)
            yield _Step(waiting=piece.waiting)
    return answers


def _output(
    work: _Work,
    edit: Edit,
    direction: Direction,
    strength: float,
    program: Program,
    answer: Answer,
    reader: Gauge | None,
    promotion: list[float],
) -> _Step:
    analysis = analyse(work.model, work.ids, answer.tokens, program, [] if reader is None else [reader])
    activation = analysis.activations[0] / reader.s_max if reader is not None else []
    said = corpus.parts(answer.text)
    row = {
        "sweep_id": work.sweep_id,
        "side": work.side,
        "feature_id": edit.feature,
        "direction": direction,
        "mode": edit.mode,
        "strength": strength,
        "prompt_id": work.number,
        "prompt": work.prompt.text,
        "text": answer.text,
        "answer": said.answer,
        "reasoning": said.reasoning,
        "tokens": analysis.tokens,
        "kl": analysis.kl.tolist(),
        "activation": list(activation),
        "promoted": promotion,
        "perplexity": analysis.perplexity if answer.tokens else None,
        "distinct_tokens": measures.distinct(answer.tokens),
        "coverage": measures.coverage(said.answer, pattern(work.sweep.words, work.sweep.regex)),
        "refusal": measures.refuses(said.answer),
    }
    return _Step(row, approximate=approximated(analysis))


def own_gauge(run: Run, edit: Edit) -> Gauge | None:
    """What reads the feature in its own model; None where it was carried over."""
    partition = Store(run.store).feature(edit.feature).partition
    return gauge(run, edit.feature, edit.side) if partition in ("shared", edit.side) else None


def _random_like(vector: torch.Tensor, seed: int) -> torch.Tensor:
    drawn = torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed))
    return drawn * (vector.norm() / drawn.norm())


def _title(sweep: Sweep) -> str:
    count, prompts = len({(edit.side, edit.feature) for edit in sweep.edits}), len(sweep.prompts)
    features = f"feature {sweep.edits[0].feature}" if count == 1 else f"{count} features"
    return f"{features}, {len(sweep.tried)} strengths, {prompts} prompt{'s' if prompts > 1 else ''}"
