"""Generation for the Steer page: baseline and steered answer, streamed, stoppable, one after the other.

A click on any widget while a text is streaming makes Streamlit raise in the running script at
its next `st` call; the generator is then closed, which cancels generation and frees the model.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from dfc.config import Side, UserError
from dfc.runs import Run
from dfc.ui.frame import View

if TYPE_CHECKING:
    from dfc.models import LoadedModel
    from dfc.steering.edits import Program

Answers = tuple[str | None, str | None]
"""Baseline and steered; None before it has begun."""

_START, _PROBLEM, _BASELINE, _STEERED = "steer_start", "steer_problem", "steer_baseline", "steer_steered"


@dataclass(frozen=True)
class Request:
    """Everything that decides what is generated."""

    run: str
    side: Side
    feature: int
    prompt: str
    strength: float
    max_tokens: int
    temperature: float
    seed: int
    chat: bool

    def unsteered(self) -> Request:
        """What the baseline depends on: the same for every feature and strength."""
        return replace(self, feature=-1, strength=0.0)


@dataclass
class _Kept:
    """An answer in the session, as far as it came."""

    request: Request
    text: str = ""
    whole: bool = False


def start() -> None:
    """Ask for a generation in the coming run of the script."""
    st.session_state[_START] = True


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


def raise_problem() -> None:
    """Raise what was kept.

    Raises:
        UserError: if the last generation ended with one.
    """
    if problem := st.session_state.pop(_PROBLEM, None):
        raise problem


def last_answers(request: Request) -> Answers:
    """What was generated for this very request, as far as it came."""
    return _kept(_BASELINE, request.unsteered()), _kept(_STEERED, request)


def answers(view: View, request: Request) -> Iterator[tuple[Answers, str]]:
    """Both answers as they grow, with a message for as long as something is waited for.

    Raises:
        UserError: if the model, the vector or the request cannot be used.
    """
    from dfc.steering import edits
    from dfc.steering.edits import Edit
    from dfc.steering.generation import BASELINE
    from dfc.steering.loading import steerable

    yield (None, None), f"Loading {view.config.models.side(request.side).title} …"
    edit = Edit(request.side, request.feature, strength=request.strength)
    program = edits.program(Run(Path(request.run)), [edit], request.side)
    model = steerable(view.config.models.side(request.side))
    key = request.unsteered()
    done: _Kept | None = st.session_state.get(_BASELINE)
    if done is None or done.request != key or not done.whole:
        for text, message in _grow(_BASELINE, key, model, request, BASELINE):
            yield (text, None), message
    baseline = _kept(_BASELINE, key)
    for text, message in _grow(_STEERED, request, model, request, program):
        yield (baseline, text), message


def _grow(slot: str, key: Request, model: LoadedModel, request: Request, program: Program) -> Iterator[tuple[str, str]]:
    """One answer piece by piece, kept in the session as it grows."""
    from dfc.steering.generation import Sampling, stream

    sampling = Sampling(max_new_tokens=request.max_tokens, temperature=request.temperature, seed=request.seed)
    chat = request.chat and model.is_chat
    pieces = stream(model, request.prompt, sampling, program, chat)
    kept = st.session_state[slot] = _Kept(key)
    while model.busy:
        yield "", "Somebody else is using this model; waiting …"
        time.sleep(0.2)
    yield "", "Reading the prompt …"
    with closing(pieces):  # frees the model
        for piece in pieces:
            kept.text += piece
            yield kept.text, "Steering …" if slot == _STEERED else "Writing the baseline …"
    kept.whole = True


def _kept(slot: str, request: Request) -> str | None:
    kept: _Kept | None = st.session_state.get(slot)
    return kept.text if kept is not None and kept.request == request else None
