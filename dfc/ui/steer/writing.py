"""Texts of the Steer page: baseline and steered, of one model or of both, written by threads beside the page.

The page looks at them every so often and stays usable. Each text is stopped and written anew on its own; a browser that
is closed stops all of its texts: a model that writes is free within a token.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dfc.config import SIDES, ModelPair, Side, UserError
from dfc.requests import Edit, Prompt, Sampling, Trial
from dfc.runs import Run
from dfc.steering import trials
from dfc.steering.answers import Answer, Piece
from dfc.steering.trials import Kind
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import failure
from dfc.ui.steer import edit_address
from dfc.ui.steer.edit_address import Row

if TYPE_CHECKING:
    from dfc.models import LoadedModel
    from dfc.steering.analysis import Analysis
    from dfc.steering.edits import Program
    from dfc.steering.vectors import Gauge

_START, _KEPT = "steer_start", "steer_kept"
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a model's panes are, in their order."""


class Doing(Enum):
    """What is being done for a text; `panes.py` says it in words."""

    NOTHING = auto()
    PREPARING = auto()
    LOADING = auto()
    READING = auto()
    WAITING = auto()
    WRITING = auto()
    ENDED = auto()
    """It came to its end; the other text of its model has not."""
    MEASURING = auto()


@dataclass(frozen=True)
class Request:
    """Everything that decides what is generated: a trial whose edits are rows of the page, and who writes.

    Attributes:
        run: path of the run.
        rows: what is done; without a feature, nothing.
        prompt, sampling: what the models go on from, and how tokens are drawn.
        both: whether a model writes that is not edited.
        control: whether each steered text has one beside it whose vectors are random ones of equal norm.
    """

    run: str
    rows: tuple[Row, ...]
    prompt: Prompt
    sampling: Sampling
    both: bool
    control: bool = False

    @property
    def edited(self) -> tuple[Side, ...]:
        """The models that are steered."""
        return tuple(side for side in SIDES if any(edit.side == side for edit in self.edits))

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All edits, those of one row beside each other."""
        return edit_address.edits(self.rows)

    @property
    def sides(self) -> tuple[Side, ...]:
        """The models that write."""
        return SIDES if self.both else self.edited

    def trial(self, seed: int) -> Trial:
        """The same as the library keeps it, drawn with a seed."""
        return Trial(self.prompt, self.edits, replace(self.sampling, seed=seed))


@dataclass
class Pane:
    """One text as far as it came.

    Attributes:
        seed: with which it is drawn.
        pieces: what was written, with the number of tokens in each piece.
        tokens: ids of all tokens.
        found: what was measured on it, once it was.
        model: title of the model that writes it.
        doing: what is being done for it.
        stopped: whether it was stopped before its end.
    """

    seed: int = 0
    pieces: list[tuple[str, int]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    found: Analysis | None = None
    model: str = ""
    doing: Doing = Doing.NOTHING
    stopped: bool = False

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)

    @property
    def writing(self) -> bool:
        return self.doing is not Doing.NOTHING and not self.stopped

    @property
    def stoppable(self) -> bool:
        """Whether there is more to come."""
        return self.writing and self.doing not in (Doing.ENDED, Doing.MEASURING)

    def add(self, piece: Piece) -> None:
        """Take in what came next."""
        self.pieces.append((piece.text, len(piece.tokens)))
        self.tokens += piece.tokens

    def stop(self) -> None:
        """Let it end where it is, if it has not ended."""
        self.stopped |= self.stoppable

    def answer(self) -> Answer:
        """The text as the library has it."""
        return Answer(self.text, list(self.tokens))


@dataclass(frozen=True)
class State:
    """What the page is drawn by: whether texts are being written or measured, and whether any can be stopped."""

    writing: bool
    stoppable: bool


@dataclass
class Texts:
    """What a request gave, in the session, as far as it came.

    Attributes:
        panes: of each model, left alone and (if it is edited) steered, and (if that is asked for) along random
            directions, in the order of `KINDS`.
        scales: of each model, the features that were read on its texts, in the order of the analysis, with their
            largest activations.
        warnings: of each model, what of the prompt it was not given as it stands, and what the self-check has to say.
        problems: of each model, why it wrote nothing, or not to the end.
        threads: that write them, or did.
    """

    request: Request
    panes: dict[Side, list[Pane]]
    scales: dict[Side, dict[int, float]] = field(default_factory=dict)
    warnings: dict[Side, list[str]] = field(default_factory=dict)
    problems: dict[Side, str] = field(default_factory=dict)
    threads: list[threading.Thread] = field(default_factory=list)

    @property
    def writing(self) -> bool:
        """Whether any of them is not through."""
        return any(thread.is_alive() for thread in self.threads)

    @property
    def stoppable(self) -> bool:
        """Whether any of them can be stopped."""
        return any(pane.stoppable for panes in self.panes.values() for pane in panes)

    @property
    def begun(self) -> bool:
        """Whether anything was written."""
        return any(pane.tokens for panes in self.panes.values() for pane in panes)

    @property
    def state(self) -> State:
        return State(self.writing, self.stoppable)

    def stop(self) -> None:
        """Let all end where they are."""
        for panes in self.panes.values():
            for pane in panes:
                pane.stop()


def ask(run: Run) -> None:
    """Ask for all texts in the coming run of the script, which knows what was typed last."""
    st.session_state[_START] = run


def ask_with_new_seed(run: Run) -> None:
    """The same with another seed."""
    st.session_state["seed"] = (int(st.session_state.get("seed") or 0) + 1) % 2**31
    ask(run)


def asked(run: Run) -> bool:
    """Whether texts were asked for; they are asked for once."""
    return bool(st.session_state.pop(_START, None) == run)


def last(run: Run) -> Texts | None:
    """What this session has of this run: written, or being written. Texts of another run, which no page shows, end."""
    kept: Texts | None = st.session_state.get(_KEPT)
    if kept is None or kept.request.run == str(run.path):
        return kept
    kept.stop()
    return None


def start(view: View, request: Request) -> None:
    """Begin with all texts of a request, in place of those that the session has."""
    before: Texts | None = st.session_state.get(_KEPT)
    if before is not None:
        before.stop()
    number = {side: 1 + (side in request.edited) * (1 + request.control) for side in request.sides}
    texts = Texts(request, {side: [Pane() for _ in range(number[side])] for side in request.sides})
    st.session_state[_KEPT] = texts
    _begin(view, texts, {side: range(len(panes)) for side, panes in texts.panes.items()}, request.sampling.seed)


def again(view: View, texts: Texts, side: Side, row: int) -> None:
    """Write one text anew with its next seed; the others stay."""
    _begin(view, texts, {side: [row]}, (texts.panes[side][row].seed + 1) % 2**31)


def _begin(view: View, texts: Texts, chosen: Mapping[Side, Sequence[int]], seed: int) -> None:
    for side, rows in chosen.items():
        texts.problems.pop(side, None)
        texts.warnings.pop(side, None)
        for row in rows:
            texts.panes[side][row] = Pane(seed, model=view.config.models.side(side).title, doing=Doing.PREPARING)
    work = _Work(texts, view.config.models, seed, _watch())
    thread = threading.Thread(target=work.do, args=(chosen,), daemon=True, name="steering")
    texts.threads = [*(one for one in texts.threads if one.is_alive()), thread]
    thread.start()


def _watch() -> Callable[[], bool]:
    """What tells whether this session still has a browser."""
    context = get_script_run_ctx()
    if context is None or not runtime.exists():
        return lambda: True
    app, session = runtime.get_instance(), context.session_id
    return lambda: app.is_active_session(session)


@dataclass(frozen=True)
class _Work:
    """Some of the texts, which are drawn with one seed."""

    texts: Texts
    models: ModelPair
    seed: int
    watched: Callable[[], bool]

    @property
    def run(self) -> Run:
        return Run(Path(self.texts.request.run))

    def do(self, chosen: Mapping[Side, Sequence[int]]) -> None:
        """Write and measure, both models at once; then keep what came to its end in the run's history."""
        answers: dict[Side, dict[Kind, Answer]] = {}
        threads = [
            threading.Thread(target=self._side, args=(side, rows, answers), daemon=True)
            for side, rows in chosen.items()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        steered = {side: answers[side] for side in SIDES if "steered" in answers.get(side, ())}
        if steered:
            with self._told(*steered):
                trials.record(self.run, self.texts.request.trial(self.seed), steered)

    @contextmanager
    def _told(self, *sides: Side) -> Iterator[None]:
        """Keep what goes wrong for the page: a thread has no other reader."""
        try:
            yield
        except Exception as error:
            self.texts.problems |= dict.fromkeys(sides, failure(error, "This ended with an error"))

    def _side(self, side: Side, rows: Sequence[int], answers: dict[Side, dict[Kind, Answer]]) -> None:
        panes = [self.texts.panes[side][row] for row in rows]
        with self._told(side):
            self._write(side, rows, panes, answers)
        _set(panes, Doing.NOTHING)

    def _write(
        self, side: Side, rows: Sequence[int], panes: list[Pane], answers: dict[Side, dict[Kind, Answer]]
    ) -> None:
        """One model's texts, from loading it to measuring them; those that came to their end are put into `answers`."""
        from dfc.steering import edits, generation
        from dfc.steering.loading import steerable
        from dfc.steering.sweeps import randomised

        settings, request = self.models.side(side), self.texts.request
        trial = request.trial(self.seed)
        program = edits.program(self.run, trial.edits, side)
        _set(panes, Doing.LOADING)
        model = steerable(settings)
        every = (generation.BASELINE, program, randomised(program))
        programs = [every[row] for row in rows]
        _set(panes, Doing.READING)
        with closing(
            generation.stream_rows(model, trial.prompt, trial.sampling, programs, lambda row: self._ends(panes[row]))
        ) as pieces:
            for piece in pieces:
                if piece.waiting:
                    _set(panes, Doing.WAITING)
                elif piece.ended:
                    panes[piece.row].doing = Doing.ENDED
                elif piece.tokens:
                    panes[piece.row].add(piece)
                    panes[piece.row].doing = Doing.WRITING
        answers[side] = {KINDS[row]: pane.answer() for row, pane in zip(rows, panes, strict=True) if not pane.stopped}
        # Measuring waits for a model that somebody else has by now: who stopped a text does not want to wait.
        if whole := [pane for pane in panes if not pane.stopped]:
            _set(whole, Doing.MEASURING)
            self._measure(side, model, every, trial, whole)

    def _ends(self, pane: Pane) -> bool:
        """Whether a text shall go no further: it was stopped, or its browser is gone."""
        if not self.watched():
            pane.stop()
        return pane.stopped

    def _measure(
        self, side: Side, model: LoadedModel, every: Sequence[Program], trial: Trial, panes: list[Pane]
    ) -> None:
        """One more pass over a model's texts: probabilities with and without the edits, and features' activations."""
        from dfc.steering import generation, strength
        from dfc.steering.analysis import analyse
        from dfc.steering.sweeps import own_gauge

        ids = generation.encode_prompt(model, trial.prompt, trial.sampling.max_new_tokens)
        said = generation.remarks(model, trial.prompt)
        gauges: dict[int, Gauge] = {}
        for edit in trial.edits:
            if edit.side != side:
                continue
            try:
                gauge = own_gauge(self.run, edit)
            except UserError as error:  # of a run whose activations are gone; the texts are there all the same
                said.append(f"the activation of feature {edit.feature} cannot be read: {error}".rstrip("."))
                continue
            if gauge is not None:
                gauges[edit.feature] = gauge
        self.texts.scales[side] = {feature: gauge.s_max for feature, gauge in gauges.items()}
        for row, pane in enumerate(self.texts.panes[side]):
            if any(pane is one for one in panes):  # the text left alone is asked what the edits would have done to it
                pane.found = analyse(model, ids, pane.tokens, every[max(row, 1)], list(gauges.values()))
        program, (alone, *others) = every[1], self.texts.panes[side]
        for steered in others[:1]:
            if alone.found is not None and steered.found is not None:
                own = alone.found.perplexity
                said += strength.warnings(program, steered.found, steered.answer(), alone.answer(), own)
        self.texts.warnings[side] = said


def _set(panes: Sequence[Pane], doing: Doing) -> None:
    for pane in panes:
        pane.doing = doing
