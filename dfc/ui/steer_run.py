"""Generation for the Steer page: baseline and steered texts of one model or of both, streamed and stoppable.

A click on any widget while a text is streaming makes Streamlit raise in the running script at
its next `st` call; the generator is then closed, which cancels generation and frees the models.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dfc.config import SIDES, Side, UserError
from dfc.runs import Run
from dfc.ui import steer_address
from dfc.ui.frame import View
from dfc.ui.steer_address import Row
from dfc.ui.text import sentence

if TYPE_CHECKING:
    from dfc.models import LoadedModel
    from dfc.steering.analysis import Analysis
    from dfc.steering.edits import Program
    from dfc.steering.generation import Answer, Piece
    from dfc.steering.trials import Trial
    from dfc.steering.vectors import Gauge

_START, _PROBLEM, _KEPT = "steer_start", "steer_problem", "steer_kept"


@dataclass(frozen=True)
class Request:
    """Everything that decides what is generated."""

    run: str
    rows: tuple[Row, ...]
    prompt: str
    chat: bool
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    both: bool

    @property
    def edited(self) -> tuple[Side, ...]:
        """The models that are steered."""
        return tuple(side for side in SIDES if any(side in row.sides and row.feature is not None for row in self.rows))

    @property
    def sides(self) -> tuple[Side, ...]:
        """The models that write."""
        return SIDES if self.both else self.edited

    def trial(self) -> Trial:
        """The same as the library keeps it."""
        from dfc.steering.generation import Sampling
        from dfc.steering.trials import Trial

        sampling = Sampling(self.max_tokens, self.temperature, self.top_p, self.seed)
        return Trial(self.prompt, steer_address.edits(self.rows), sampling, self.chat)


@dataclass
class Pane:
    """One text as far as it came: its pieces with the number of tokens in each, and what was measured on it."""

    pieces: list[tuple[str, int]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    found: Analysis | None = None

    @property
    def text(self) -> str:
        return "".join(text for text, _ in self.pieces)

    def add(self, piece: Piece) -> None:
        """Take in what came next."""
        self.pieces.append((piece.text, len(piece.tokens)))
        self.tokens += piece.tokens

    def answer(self) -> Answer:
        """The text as the library has it."""
        from dfc.steering.generation import Answer

        return Answer(self.text, list(self.tokens))


@dataclass
class Texts:
    """What a request gave, in the session, as far as it came.

    Attributes:
        panes: of each model, left alone and (if it is edited) steered.
        scales: of each model, the features that were read on its texts, in the order of the analysis, with their
            largest activations.
        warnings: of each model, what the self-check has to say.
        whole: whether it came to its end.
    """

    request: Request
    panes: dict[Side, list[Pane]]
    scales: dict[Side, dict[int, float]] = field(default_factory=dict)
    warnings: dict[Side, list[str]] = field(default_factory=dict)
    whole: bool = False


def start() -> None:
    """Ask for a generation in the coming run of the script."""
    st.session_state[_START] = True


def start_with_new_seed() -> None:
    """The same with another seed."""
    st.session_state["seed"] = (int(st.session_state.get("seed") or 0) + 1) % 2**31
    start()


def take_start() -> bool:
    """Whether a generation was asked for; asking lasts for one run of the script."""
    return bool(st.session_state.pop(_START, False))


@contextmanager
def problems_kept() -> Iterator[None]:
    """Keep what the user can mend for the coming run of the script, which draws the page at rest."""
    try:
        yield
    except UserError as error:
        st.session_state[_PROBLEM] = error


def problem() -> str | None:
    """What the last generation ended with, once."""
    found: UserError | None = st.session_state.pop(_PROBLEM, None)
    return None if found is None else sentence(str(found))


def last(run: Run) -> Texts | None:
    """What was generated last in this session with this run's features."""
    kept: Texts | None = st.session_state.get(_KEPT)
    return kept if kept is not None and kept.request.run == str(run.path) else None


def texts(view: View, request: Request) -> Iterator[tuple[Texts, str]]:
    """All texts as they grow, with a message that says what is being done; then what was measured on them.

    Raises:
        UserError: if a model, a feature or the request cannot be used.
    """
    kept = Texts(request, {side: [Pane() for _ in range(1 + (side in request.edited))] for side in request.sides})
    yield kept, "Getting ready …"
    from dfc.steering import edits, generation, trials
    from dfc.steering.generation import BASELINE
    from dfc.steering.loading import steerable

    run, trial = Run(Path(request.run)), request.trial()
    programs = {side: edits.program(run, trial.edits, side) for side in request.sides}
    models: dict[Side, LoadedModel] = {}
    for side in request.sides:
        yield kept, f"Loading {view.config.models.side(side).title} …"
        models[side] = steerable(view.config.models.side(side))
    streams = {
        side: generation.stream_rows(
            model,
            request.prompt,
            trial.sampling,
            [BASELINE, programs[side]] if side in request.edited else [BASELINE],
            request.chat and model.is_chat,
        )
        for side, model in models.items()
    }
    st.session_state[_KEPT] = kept
    yield kept, "Reading the prompt …"
    with closing(_merged(streams)) as pieces:  # frees the models
        for side, piece in pieces:
            if piece.tokens:
                kept.panes[side][piece.row].add(piece)
            yield kept, _state(kept.panes[side], piece)
    yield kept, "Measuring what the edits did …"
    for side in request.sides:
        _measure(run, request, side, models[side], programs[side], kept)
    kept.whole = True
    answers = {side: (kept.panes[side][0].answer(), kept.panes[side][1].answer()) for side in request.edited}
    trials.record(run, trial, answers)


def _state(panes: list[Pane], piece: Piece) -> str:
    """What a model is doing, in words."""
    if piece.waiting:
        return "Somebody else is using this model; waiting …"
    return "Writing …" if any(pane.tokens for pane in panes) else "Reading the prompt …"


def _merged(streams: Mapping[Side, Generator[Piece, None, None]]) -> Generator[tuple[Side, Piece], None, None]:
    """Pieces of one model as they come, or of both at once."""
    from dfc.steering.generation import together

    if len(streams) > 1:
        yield from together(streams)
        return
    for side, pieces in streams.items():
        with closing(pieces):
            for piece in pieces:
                yield side, piece


def _measure(run: Run, request: Request, side: Side, model: LoadedModel, program: Program, kept: Texts) -> None:
    """One more pass over a model's texts: probabilities with and without the edits, and the features' activations."""
    from dfc.steering import generation, strength
    from dfc.steering.analysis import analyse
    from dfc.steering.sweeps import own_gauge

    ids = generation.encode_prompt(model, request.prompt, request.max_tokens, request.chat and model.is_chat)
    mine = [edit for edit in steer_address.edits(request.rows) if edit.side == side]
    said: list[str] = []
    gauges: dict[int, Gauge] = {}
    for edit in mine:
        try:
            gauge = own_gauge(run, edit)
        except UserError as error:  # of a run whose activations are gone; the texts are there all the same
            said.append(f"the activation of feature {edit.feature} cannot be read: {error}".rstrip("."))
            continue
        if gauge is not None:
            gauges[edit.feature] = gauge
    kept.scales[side] = {feature: gauge.s_max for feature, gauge in gauges.items()}
    for pane in kept.panes[side]:
        pane.found = analyse(model, ids, pane.tokens, program, list(gauges.values()))
    if side in request.edited:
        alone, steered = kept.panes[side]
        assert alone.found is not None
        assert steered.found is not None
        said += strength.warnings(program, steered.found, steered.answer(), alone.answer(), alone.found.perplexity)
    kept.warnings[side] = said
