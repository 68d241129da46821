"""The frame that every page stands in: look, navigation, choice of the run, and errors.

`pages/` beside `app.py` is Streamlit's classic multipage mode, in which each page is a
program of its own; a deep link on a fresh server runs that page alone. So every page opens
this frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import streamlit as st

from dfc import runs
from dfc.config import SIDES, RunConfig, Side, UserError
from dfc.report.palette import Theme
from dfc.report.words import told_apart
from dfc.runs import Run
from dfc.store.reader import Store
from dfc.ui.shell import address, data, empty, look, manners, pages
from dfc.ui.shell.text import plain, sentence

_FORGET = "forget"


@dataclass(frozen=True)
class View:
    """What a page is given: the chosen run, its settings and its store."""

    run: Run
    config: RunConfig
    store: Store
    theme: Theme

    def name(self, side: Side) -> str:
        """What a model is called; told apart where both are called the same."""
        return model_names(self.config)[side]


@contextmanager
def frame(title: str, about: str | None = None) -> Iterator[View]:
    """The whole app around a page's body.

    Where there is nothing to show (no runs, a run that is not finished, a broken store), the
    frame says so and the body does not run.

    Args:
        title: of the page.
        about: the parameter of the address that says what the page is about, if it changes while the page stays.
    """
    st.set_page_config(page_title=f"{title} · dfc", page_icon=str(look.ICON), layout="wide")
    theme = look.current_theme()
    st.html(f"<style>{look.css(theme)}</style>")
    with st.sidebar:
        manners.mind(address.get(about) if about else None)
    all_runs = runs.all_runs()
    with guard():
        address.check()
        if not all_runs:
            _navigation(None)
            empty.no_runs(runs.data_folder() / "runs")
            st.stop()
        run = _choose(all_runs)
        run_config = data.settings(run)
        if not run.done()["index"]:
            _legend(run_config)
            empty.unfinished(run, run_config, model_names(run_config), theme)
            st.stop()
        store = Store(run.store)
        run_config = _with_indices(run_config, store)
        _legend(run_config)
        yield View(run, run_config, store, theme)


@contextmanager
def guard() -> Iterator[None]:
    """Show what the user can mend as one sentence, and end the page there."""
    try:
        yield
    except UserError as error:
        st.error(plain(sentence(str(error))), icon=":material/error:")
        st.stop()


def _with_indices(run_config: RunConfig, store: Store) -> RunConfig:
    """The settings, with the index of the block that was read wherever they give a fraction of depth."""
    layers: dict[Any, Any] = data.models(store)["layer"].to_dict()
    read: dict[str, Any] = {}
    for side in SIDES:
        model = run_config.models.side(side)
        if isinstance(model.layer, float):
            read[side] = model.model_copy(update={"layer": int(layers[side])})
    return run_config.model_copy(update={"models": run_config.models.model_copy(update=read)})


def model_names(run_config: RunConfig) -> dict[Side, str]:
    """What both models are called; layers are added where the names are the same."""
    models = {side: run_config.models.side(side) for side in SIDES}
    return told_apart({side: models[side].title for side in SIDES}, {side: models[side].place for side in SIDES})


def _choose(all_runs: list[Run]) -> Run:
    """The run in the address, or the one finished last; and the selector that changes it."""
    names = [run.name for run in all_runs]
    wanted = address.get("run") or max(all_runs, key=_finished).name
    st.session_state["run_choice"] = wanted if wanted in names else None
    _navigation(wanted if wanted in names else None, names)
    if wanted not in names:
        raise UserError(f"There is no run called “{wanted:.60}”; the runs are: {', '.join(names)}.")
    if address.get("run") != wanted:
        st.query_params["run"] = wanted
    return next(run for run in all_runs if run.name == wanted)


def _finished(run: Run) -> tuple[bool, float]:
    path = run.store if run.store.exists() else run.path
    return run.store.exists(), path.stat().st_mtime


def at_another_run(forget: Callable[[], None]) -> None:
    """Have this called when another run is chosen: widgets that are bound to the address keep what they show."""
    st.session_state[_FORGET] = forget


def _navigation(run_name: str | None, names: list[str] | None = None) -> None:
    with st.sidebar:
        st.html(look.WORDMARK)
        if names:
            index = None if run_name is None else 0  # with an index it cannot be cleared; the key decides which
            st.selectbox("Run", names, index=index, key="run_choice", placeholder="Choose a run", on_change=_change_run)
        params = {"run": run_name} if run_name else {}
        with st.container(gap="xxsmall", key="navigation"):
            for page in pages.PAGES:
                st.page_link(page.script, label=page.title, icon=page.icon, query_params=params, width="stretch")


def _change_run() -> None:
    """Another run: what the address says about the old one (its feature, its list, its filters) goes."""
    if _FORGET in st.session_state:
        st.session_state[_FORGET]()
    # `clear` refuses while a widget is bound to a parameter that is there.
    st.query_params.from_dict({"run": st.session_state["run_choice"]})


def _legend(run_config: RunConfig) -> None:
    with st.sidebar:
        st.html(look.legend(model_names(run_config), {side: run_config.models.side(side).place for side in SIDES}))
