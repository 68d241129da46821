"""Downloads whose file is made when it is asked for; where it cannot be made, the page says why."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock
from typing import Any

import streamlit as st

from dfc.config import UserError
from dfc.ui.shell.text import plain, sentence

_PROBLEM = "download_problem"
_PATIENCE = 3.0  # seconds from a click until the browser asks for the file; it does so at once, or not at all


def button(label: str, make: Callable[[], bytes], name: str, mime: str, **look: Any) -> None:
    """Draw a button that downloads a file.

    Args:
        label: of the button.
        make: the file's content; a UserError is told to the reader.
        name: of the file.
        mime: its type.
        look: what else `st.download_button` takes, its key at least.
    """
    with st.container(width="content"):
        _button(label, make, name, mime, look)


@st.fragment  # a click runs this alone: running a whole page drops answers that are on their way to the browser
def _button(label: str, make: Callable[[], bytes], name: str, mime: str, look: dict[str, Any]) -> None:
    file = File(make)
    st.download_button(label, data=file.content, on_click=file.wait, file_name=name, mime=mime, **look)
    if problem := st.session_state.pop(_PROBLEM, None):
        _tell(problem)


class File:
    """A file that a browser asks for, and what went wrong with it.

    Streamlit makes it on a thread from which nothing can be said to the reader. So the click runs the page, too, which
    waits for the end and says it.
    """

    def __init__(self, make: Callable[[], bytes]) -> None:
        self._make, self._problem = make, ""
        self._begun, self._making = Event(), Lock()

    def content(self) -> bytes:
        """For the browser.

        Raises:
            UserError: if it cannot be made.
        """
        with self._making:
            self._begun.set()
            try:
                return self._make()
            except UserError as error:
                self._problem = str(error)
                raise

    def wait(self) -> None:
        """For the page: until the browser's file is made, or cannot be."""
        self._begun.wait(_PATIENCE)
        with self._making:
            if self._problem:
                st.session_state[_PROBLEM] = self._problem


@st.dialog("This file could not be made", icon=":material/error:")
def _tell(problem: str) -> None:
    st.markdown(plain(sentence(problem)))
