"""Sweeps: features × strengths × prompts in one model or both, measured and kept with the run.

Features, strengths and prompts of one model share batches, as many texts as memory allows; each text is what it would
be alone, and the model left alone is generated once for each prompt. With a control, a random direction of equal norm
takes each strength, too: what it does as well is no effect of the feature.
"""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

import torch

from dfc import corpus
from dfc.config import SIDES, Side, UserError
from dfc.machine import devices
from dfc.models import LoadedModel, together
from dfc.requests import Edit, Sweep, pattern
from dfc.runs import Run
from dfc.steering import edits, generation, measures
from dfc.steering.analysis import Analysis, Numbers, Written, analyse_written, chances, promoted
from dfc.steering.answers import Answer
from dfc.steering.edits import Program
from dfc.steering.generation import BASELINE, Record, Row
from dfc.steering.loading import steerable
from dfc.steering.strength import approximated
from dfc.steering.trials import store
from dfc.steering.vectors import Gauge, gauge, random_like
from dfc.store.reader import FeatureQuery, Store

Direction = Literal["none", "feature", "transfer", "random"]
Units = Mapping[Edit, tuple[Program, Gauge | None]]
"""Edits as they are programmed at strength 1, and what reads their features; None where one was carried over."""

_MEASURED = 16  # texts at most, so that a sweep is cancelled soon


@dataclass(frozen=True)
class Progress:
    """How far a sweep is.

    Attributes:
        sweep_id: under which it is kept.
        done, total: answers that were written and measured, and how many there will be.
        row: the latest of them, with the columns of the table `outputs`; None: one is still being written.
        waiting: for the model, which somebody else is using.
        approximate: of how many answers the edit is approximate, and how; nothing if of none.
        tokens: that were written of the answers to come.
    """

    sweep_id: str
    done: int
    total: int
    row: dict[str, Any] | None = None
    waiting: bool = False
    approximate: str = ""
    tokens: int = 0


def run_sweep(
    run: Run, sweep: Sweep, loaded: Mapping[Side, LoadedModel] | None = None
) -> Generator[Progress, None, None]:
    """Do a sweep and keep it with the run, batch by batch; closing the generator cancels it.

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
            with closing(written(model, side, sweep, {edit: (units[edit], gauges[edit]) for edit in ours})) as steps:
                for step in steps:
                    if step.row is not None:
                        kept.add_outputs([{"sweep_id": sweep_id, **step.row}])
                        done += 1
                    off += [step.approximate] if step.approximate else []
                    words = f"{len(off)} of {done} answers: {off[0]}" if off else ""
                    yield Progress(sweep_id, done, sweep.outputs, step.row, step.waiting, words, step.tokens)
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
            replace(one, vector=replace(one.vector, vector=random_like(one.vector.vector, one.edit.feature)))
            for one in unit.actions
        )
    )


@dataclass(frozen=True)
class Step:
    """One output, or none yet.

    `waiting`: because somebody else is using the model; `approximate`: as of `strength`; `tokens`: of outputs to come.
    """

    row: dict[str, Any] | None = None
    waiting: bool = False
    approximate: str = ""
    tokens: int = 0


@dataclass(frozen=True)
class _Text:
    """One text of a sweep; without an edit, of the model left alone."""

    number: int  # of its prompt
    ids: list[int]
    row: Row
    edit: Edit | None = None
    direction: Direction = "none"
    strength: float = 0.0


@dataclass(frozen=True)
class _Measures:
    """What was done to a text, and in units of s_max how strongly each feature fires on it that is read there."""

    analysis: Analysis
    activations: dict[Edit, Numbers]


def written(model: LoadedModel, side: Side, sweep: Sweep, units: Units) -> Generator[Step, None, None]:
    """One model's outputs, prompt by prompt, those of each edit after one of the model left alone.

    Args:
        model, side: which model it is.
        sweep: what is done.
        units: the edits of this model, each as it is programmed at strength 1, and what reads its feature.
    """
    texts = _texts(model, sweep, units)
    alone: dict[int, tuple[Answer, _Measures]] = {}
    promotion: dict[tuple[int, Edit], Iterator[list[float]]] = {}
    for batch in _batches(model, texts, sweep.sampling.max_new_tokens):
        rows, record, answers = [text.row for text in batch], Record(), [Answer() for _ in batch]
        with closing(generation.stream_batch(model, rows, sweep.sampling, record=record)) as pieces:
            for piece in pieces:
                answers[piece.row].add(piece)
                yield Step(waiting=piece.waiting, tokens=sum(len(answer.tokens) for answer in answers))
        for place, measured in _measured(model, batch, answers, record, units):
            text, answer = batch[place], answers[place]
            if text.edit is None:
                alone[text.number] = answer, measured
                continue
            if (text.number, text.edit) not in promotion:
                own = alone[text.number]
                beside = [one.row.program for one in texts if (one.number, one.edit) == (text.number, text.edit)]
                watched = promoted(model, units[text.edit][0].actions[0].vector.vector)
                found = chances(model, torch.tensor([text.ids]), own[0].tokens, [BASELINE, *beside], watched)
                promotion[text.number, text.edit] = others = iter(found.tolist())
                yield _output(side, sweep, replace(text, direction="none", strength=0.0), *own, next(others))
            yield _output(side, sweep, text, answer, measured, next(promotion[text.number, text.edit]))


def _texts(model: LoadedModel, sweep: Sweep, units: Units) -> list[_Text]:
    """All texts, those of one prompt one after another, first that of the model left alone."""
    texts = []
    for number, prompt in enumerate(sweep.asked):
        seed = sweep.sampling.seed + number
        ids = generation.encode_prompt(model, prompt, sweep.sampling.max_new_tokens)[0].tolist()
        texts.append(_Text(number, ids, Row(prompt, BASELINE, seed)))
        for edit, (unit, reader) in units.items():
            kinds: list[tuple[Direction, Program]] = [("transfer" if reader is None else "feature", unit)]
            if sweep.control:
                kinds.append(("random", randomised(unit)))
            texts += [
                _Text(number, ids, Row(prompt, scaled(program, strength), seed), edit, kind, strength)
                for kind, program in kinds
                for strength in sweep.tried
            ]
    return texts


def _batches(model: LoadedModel, texts: Sequence[_Text], new: int) -> Iterator[list[_Text]]:
    """Texts that are written together: none changes by its neighbours (`LoadedModel.company`)."""
    for _, alike in groupby(texts, lambda text: model.company(len(text.ids), len(text.ids) + new)):
        left = list(alike)
        while left:
            # What each token was drawn from is kept until it is measured.
            size = together.most_rows(model, max(len(text.ids) for text in left) + new, kept=new)
            yield left[:size]
            left = left[size:]


def _measured(
    model: LoadedModel, batch: Sequence[_Text], answers: Sequence[Answer], record: Record, units: Units
) -> Iterator[tuple[int, _Measures]]:
    """What was done to each text of a batch, by its place.

    In what the model left alone wrote, all features are read.
    """

    def readers(place: int) -> dict[Edit, Gauge]:
        own = batch[place].edit
        return {edit: gauge for edit, (_, gauge) in units.items() if gauge is not None and own in (edit, None)}

    def of(place: int) -> Written:
        text, tokens, begin = batch[place], answers[place].tokens, record.begins[place]
        logits = [step[place] for step in record.logits[: len(tokens)]]
        off = record.off[place, begin : begin + len(text.ids) + len(tokens)]
        drawn_from = torch.stack(logits) if logits else torch.zeros(0, 0)
        return Written(text.ids, tokens, text.row.program, list(readers(place).values()), drawn_from, off)

    def measure(places: Sequence[int]) -> list[Analysis]:
        return analyse_written(model, [of(place) for place in places])

    def too_long(place: int) -> str:
        return f"{lengths[place]} tokens; ask for fewer"

    lengths = [len(text.ids) + len(answer.tokens) for text, answer in zip(batch, answers, strict=True)]
    for _, alike in groupby(range(len(batch)), lambda place: model.company(lengths[place])):
        left = list(alike)
        while left:
            longest = max(lengths[place] for place in left)
            size = min(_MEASURED, together.most_rows(model, longest, kept=2 * longest))
            for part, found in devices.in_halves(measure, left[:size], model.device, too_long):
                for place, analysis in zip(part, found, strict=True):
                    read = zip(readers(place).items(), analysis.activations, strict=True)
                    activations = {edit: values / gauge.s_max for (edit, gauge), values in read}
                    yield place, _Measures(analysis, activations)
            left = left[size:]


def _output(
    side: Side,
    sweep: Sweep,
    text: _Text,
    answer: Answer,
    measured: _Measures,
    promotion: list[float],
) -> Step:
    assert text.edit is not None
    said, analysis, activations = corpus.parts(answer.text), measured.analysis, measured.activations
    row = {
        "side": side,
        "feature_id": text.edit.feature,
        "direction": text.direction,
        "mode": text.edit.mode,
        "strength": text.strength,
        "prompt_id": text.number,
        "prompt": text.row.prompt.text,
        "text": answer.text,
        "answer": said.answer,
        "reasoning": said.reasoning,
        "tokens": analysis.tokens,
        "kl": analysis.kl.tolist(),
        "activation": activations[text.edit].tolist() if text.edit in activations else [],
        "promoted": promotion,
        "perplexity": analysis.perplexity if answer.tokens else None,
        "distinct_tokens": measures.distinct(answer.tokens),
        "coverage": measures.coverage(said.answer, pattern(sweep.words, sweep.regex)),
        "refusal": measures.refuses(said.answer),
    }
    return Step(row, approximate=approximated(analysis))


def own_gauge(run: Run, edit: Edit) -> Gauge | None:
    """What reads the feature in its own model; None where it was carried over."""
    partition = Store(run.store).feature(edit.feature).partition
    return gauge(run, edit.feature, edit.side) if partition in ("shared", edit.side) else None


def _title(sweep: Sweep) -> str:
    count, prompts = len({(edit.side, edit.feature) for edit in sweep.edits}), len(sweep.prompts)
    features = f"feature {sweep.edits[0].feature}" if count == 1 else f"{count} features"
    return f"{features}, {len(sweep.tried)} strengths, {prompts} prompt{'s' if prompts > 1 else ''}"
