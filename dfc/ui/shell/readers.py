"""Texts read by both models while somebody waits: the models are loaded when first needed, and a session keeps what it
read last.

Everything that touches a model lives in dfc.features.live, and is imported only when something is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from dfc import corpus
from dfc.config import NotLoadedError, Side, UserError
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain, sentence
from dfc.ui.shell.turns import Turns

if TYPE_CHECKING:
    from dfc.features.expected import Expected
    from dfc.features.live import Reading

Made = TypeVar("Made")

COST = "The models are loaded when they are first needed, which takes a moment, and memory for both."
WHY = (
    "",
    "left out: at the first positions, as in training",
    "left out: in the lead-in",
    "left out: of outlying norm in one of the models",
    "left out: not finite in one of the models",
)
"""Why a pair does not count, by `Reading.why`."""
ALONE = "no partner: no token of the other model ends at its last character"
_KEPT = "prompt_readings"
_MOST_KEPT = 4


@dataclass(frozen=True)
class Prompt:
    """Turns as (role, text), a plain text being one turn of role `text`; or the number of a stored document.

    A plain text may have a lead-in, which is read before it and does not count.
    """

    turns: Turns = ()
    document: int | None = None
    lead: str = ""

    @property
    def kind(self) -> str:
        if self.document is not None:
            return "Stored document"
        return "Chat" if self.turns and self.turns[0][0] != "text" else "Text"


def read(view: View, prompt: Prompt, status: DeltaGenerator) -> Reading:
    """What fires on a prompt; `status` shows what is waited for.

    Raises:
        UserError: if there is nothing to read, no such document, or a model or the crosscoder cannot be loaded.
    """
    path = view.run.crosscoder / "model.safetensors"
    key = view.run, path.stat().st_mtime_ns if path.exists() else 0, prompt
    return _kept(_KEPT, key, lambda: _read(view, prompt, status))


def expect(view: View, reading: Reading, status: DeltaGenerator) -> Expected:
    """How well both models expected a text that was read.

    Raises:
        UserError: if a model cannot be loaded any more.
    """

    def ask() -> Expected:
        from dfc.features import expected, live

        report = _reporter(status)
        found = expected.expected(live.open_run(view.run, report), reading, report)
        status.empty()
        return found

    return _kept(f"{_KEPT}_expected", reading, ask)


def notes(reading: Reading, side: Side) -> list[str]:
    """Why each token of a model does not count; nothing of those that do, (tokens,)."""
    pairs = dict(zip(reading.index[side].tolist(), reading.why.tolist(), strict=True))
    return [WHY[pairs[token]] if token in pairs else ALONE for token in range(len(reading.tokens[side]))]


def notices(reading: Reading, names: dict[Side, str]) -> None:
    """What of a text was not read, or does not count."""
    for side in reading.cut:
        st.caption(f"The end of the text was not read: {names[side]} takes no more tokens here.")
    if not reading.kept.any():
        st.info(
            "None of this text counts: the first tokens of every text are left out, as in training, and so are tokens "
            "of outlying norm. Give a longer text.",
            icon=":material/short_text:",
        )


def cannot(error: UserError) -> None:
    """Why nothing could be read; a missing model is no fault of the page."""
    message = str(error)
    if isinstance(error, NotLoadedError):
        message = f"Reading a prompt needs both models on this machine, and one is not to be had: {message}"
    st.warning(plain(sentence(message)), icon=":material/cloud_off:")


def _kept(name: str, key: object, make: Callable[[], Made]) -> Made:
    """What this session made of a key last, or what is made of it now."""
    kept: dict[object, Made] = st.session_state.setdefault(name, {})
    if key not in kept:
        made = make()
        while len(kept) >= _MOST_KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = made
    return kept[key]


def _reporter(status: DeltaGenerator) -> Callable[[str], object]:
    return lambda message: status.html(f'<p class="dfc-waiting">{escape(message)}</p>')


def _read(view: View, prompt: Prompt, status: DeltaGenerator) -> Reading:
    report = _reporter(status)
    report("Getting ready …")
    from dfc.features import live

    if prompt.document is not None:
        reading = live.read_stored(live.open_run(view.run, report), prompt.document, report)
    else:
        lead = corpus.clean(prompt.lead)
        told = tuple((role, f"{lead} {text}") for role, text in prompt.turns) if lead else prompt.turns
        reading = live.read(live.open_run(view.run, report), live.prompt(told), report, lead=len(lead))
    status.empty()
    return reading
