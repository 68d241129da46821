"""What was tried on the Steer page: again, or kept as a note; and edits as a table to export and import."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from html import escape
from typing import Any

import streamlit as st

from dfc import corpus
from dfc.config import Side, UserError
from dfc.report.heatmap import visible
from dfc.requests import Trial
from dfc.runs import Run
from dfc.steering import trials
from dfc.steering.trials import Kind
from dfc.store.book import TEXT_LENGTH
from dfc.store.reader import Store
from dfc.ui.shell import downloads, notebook, turns
from dfc.ui.shell.frame import View
from dfc.ui.shell.look import side_name
from dfc.ui.shell.text import plain, sentence
from dfc.ui.steer import conversation, edit_address
from dfc.ui.steer.edit_address import Row
from dfc.ui.steer.writing import Request

_LISTED = 20
_KINDS: dict[Kind, str] = {"baseline": "left alone", "steered": "steered", "random": "along random directions"}
_IMPORT_PROBLEM = "edits_problem"


def show(view: View, names: dict[Side, str]) -> None:
    """Draw the history, the latest first."""
    if not notebook.opened():
        return
    tried = trials.store(view.run).tried(_LISTED)
    if not len(tried):
        st.html(
            '<p class="dfc-muted">Nothing was tried yet; every steered text that comes to its end is kept here.</p>'
        )
    for row in tried.to_dict("records"):
        _trial(view, row, names)


def put_back(trial: Trial) -> None:
    """Everything of a kept trial, into the page's settings."""
    edit_address.write(edit_address.of_edits(trial.edits))
    sampling, state = trial.sampling, st.session_state
    state["prompt"], state["chat"] = trial.prompt.text, trial.prompt.chat
    conversation.write(turns.of_corpus(trial.prompt.earlier))
    state["max_tokens"] = min(1024, sampling.max_new_tokens)
    state["temperature"] = min(2.0, float(sampling.temperature))
    state["top_p"] = max(0.05, float(sampling.top_p))
    state["seed"] = sampling.seed % 2**31


def table(view: View, request: Request) -> None:
    """Export and import of the edits as CSV."""
    run, rows = view.run, request.rows
    st.html(
        '<p class="dfc-muted">A row for each edit: model, layer, feature, mode, strength. It steers without '
        f"the app, too: <code>python -m dfc steer {escape(run.name)} --edits edits.csv</code>.</p>"
    )
    downloads.button(
        "Download the edits",
        lambda: _csv(run, rows),
        f"{run.name}-edits.csv",
        "text/csv",
        icon=":material/download:",
        key="export_edits",
        disabled=not rows,
    )
    st.file_uploader("Read edits from a table", type="csv", key="import_edits", on_change=_import, args=(run,))
    if problem := st.session_state.pop(_IMPORT_PROBLEM, None):
        st.warning(plain(problem), icon=":material/block:")


def _answer(text: str) -> str:
    """The beginning of what was answered, or of what was thought, where it came to no answer."""
    said = corpus.parts(text)
    return visible((said.answer or said.reasoning or text)[:200])


def _trial(view: View, row: Mapping[Hashable, Any], names: dict[Side, str]) -> None:
    trial, answers = Trial.from_json(row["request"]), json.loads(row["answers"])
    rows, identity = edit_address.of_edits(trial.edits), str(row["tried_id"])
    time = notebook.when(row["tried_at"].tz_localize("UTC").isoformat())
    texts = "".join(
        f'<div class="dfc-small">{side_name(side, names)}, {words}: {escape(_answer(str(by_kind[kind])))}</div>'
        for side, by_kind in answers.items()
        for kind, words in _KINDS.items()
        if side in names and kind in by_kind
    )
    before = len(trial.prompt.earlier)
    after = f" · after {before} earlier turn{'s' if before > 1 else ''}" if before else ""
    with st.container(key=f"kept_trial_{identity}"):
        st.html(
            f'<div><div class="dfc-small">{escape(time)} · {escape(said(rows))}{after}</div>'
            f"<div>{escape(visible(trial.prompt.text[:160]))}</div>{texts}</div>"
        )
        with st.container(horizontal=True, gap="small"):
            st.button(
                "Again",
                icon=":material/replay:",
                key=f"again_{identity}",
                type="tertiary",
                on_click=put_back,
                args=(trial,),
                help="Puts the edits, the prompt and the sampling back.",
            )
            st.button(
                "Keep as a note on the feature",
                icon=":material/edit_note:",
                key=f"note_{identity}",
                type="tertiary",
                on_click=_note,
                args=(view.run, view.store, rows, note_text(trial, answers, names), identity),
            )
            if st.session_state.get("noted_trial") == identity:
                st.html('<span class="dfc-small">Kept.</span>', width="content")


def said(rows: tuple[Row, ...]) -> str:
    """What is done, in words."""
    return "; ".join(f"{row.sides.upper()}: {edit_address.words(row)}" for row in rows)


def note_text(trial: Trial, answers: dict[str, Any], names: dict[Side, str]) -> str:
    """A trial as a note, with what is needed to repeat it."""
    sampling, rows = trial.sampling, edit_address.of_edits(trial.edits)
    lines = [
        f"Steered ({said(rows)}) on “{trial.prompt.text}”, {sampling.max_new_tokens} tokens, temperature "
        f"{sampling.temperature:g}, top-p {sampling.top_p:g}, seed {sampling.seed}."
    ]
    for side, name in names.items():
        by_kind = answers.get(side, {})
        lines += [f"{name}, {_KINDS[kind]}: {by_kind[kind]}" for kind in _KINDS if kind in by_kind]
    if earlier := trial.prompt.earlier:  # last: what is too long for a note is cut
        lines += ["Before the prompt:", *(f"{turn.role}: {turn.content}" for turn in earlier)]
    return "\n".join(lines)[:TEXT_LENGTH]


def _note(run: Run, features: Store, rows: tuple[Row, ...], text: str, identity: str) -> None:
    ids = list(dict.fromkeys(row.feature for row in rows if row.feature is not None))
    for feature, fingerprint in features.fingerprints(ids).items():
        if notebook.change(lambda: notebook.book().write(run.name, feature, fingerprint, text)):  # noqa: B023  # at once
            st.session_state["noted_trial"] = identity


def _csv(run: Run, rows: tuple[Row, ...]) -> bytes:
    from dfc.steering import edit_table  # asks transformers at which layer a model is read

    return edit_table.to_csv(run, edit_address.edits(rows)).encode()


def _import(run: Run) -> None:
    file = st.session_state.get("import_edits")
    if file is None:
        return
    from dfc.steering import edit_table

    try:
        edits = edit_table.from_csv(run, corpus.decoded(file.getvalue(), file.name))
        rows = edit_address.of_edits(edits)
        edit_address.unpack(edit_address.pack(rows))  # refuses what the page cannot show
        edit_address.write(rows)
    except UserError as error:
        st.session_state[_IMPORT_PROBLEM] = sentence(str(error))
