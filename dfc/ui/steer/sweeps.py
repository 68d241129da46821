"""Sweeps on the Steer page: asked for, run in the background, kept with the run, opened again."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from dfc.asking.messages import who
from dfc.config import JudgeConfig, Side, UserError
from dfc.requests import Sweep
from dfc.runs import Run
from dfc.steering import prompt_sets, trials
from dfc.steering.judge import identity
from dfc.ui.shell import background, choice, notebook
from dfc.ui.shell.background import Job
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain, sentence
from dfc.ui.steer import jobs, outputs
from dfc.ui.steer.writing import Request

_OWN = "own"
_LISTED = 20


def show(view: View, request: Request, ready: bool, names: dict[Side, str]) -> None:
    """Draw the section."""
    st.html(
        '<p class="dfc-muted">Several strengths on several prompts, measured and kept with the run. Sampling is '
        "that of the settings above; prompt number i is drawn with the seed + i. A sweep runs in the background: it "
        "goes on when this page is left or closed, and whoever opens this section sees how far it is and can stop "
        "it.</p>"
    )
    make = _ask(view, request, ready)
    judge = _ask_judge(view.config.judge)
    running = jobs.JOBS.running(view.run) is not None
    st.button(
        "Run the sweep",
        icon=":material/play_arrow:",
        key="start_sweep",
        on_click=jobs.start if make else None,
        args=(view.run, make, judge) if make else None,
        disabled=make is None or running,
    )
    job = jobs.JOBS.followed(view.run)
    if job is not None and job.finished:
        _ended(job)
    elif job is not None:
        background.progress(job)
    _opened(view, judge, running, names)
    _earlier(view.run, judge, running)


def _ask(view: View, request: Request, ready: bool) -> Callable[[], Sweep] | None:
    """The form; what makes the sweep, None where it cannot be made."""
    first = st.columns([3, 3, 1.6, 2.4], gap="medium", vertical_alignment="bottom")
    strengths = first[0].text_input(
        "Strengths",
        "-2, -1, 0.5, 1, 2, 4",
        key="sweep_strengths",
        bind="query-params",
        help="Separated by commas; 0 is always there.",
    )
    with first[1]:
        sets = {_OWN: "the prompt above", **{name: name for name in prompt_sets.names()}}
        chosen = choice.one_of_many("Prompts", sets, "sweep_set")
    limit = int(
        first[2].number_input(
            "At most", 1, 1000, 4, key="sweep_limit", bind="query-params", help="So many of these prompts."
        )
    )
    top = int(
        first[3].number_input(
            "Top exclusive features",
            0,
            200,
            0,
            key="sweep_top",
            bind="query-params",
            help="Instead of the list above: so many of each model's exclusive features, one after the other. 0: the "
            "list above.",
        )
    )
    second = st.columns([3, 3, 4], gap="medium", vertical_alignment="bottom")
    words = second[0].text_input(
        "Count words",
        key="sweep_words",
        bind="query-params",
        placeholder="rain, river",
        help="Share of the answer that they take.",
    )
    regex = second[1].text_input(
        "or a pattern", key="sweep_regex", bind="query-params", help="A regular expression, instead of words."
    )
    control = second[2].toggle(
        "also a random direction of equal norm",
        value=True,
        key="sweep_control",
        bind="query-params",
        help="What a random direction does as well is no effect of the feature.",
    )
    try:
        numbers = _numbers(strengths)
        prompts = (request.prompt.text,) if chosen == _OWN else tuple(prompt_sets.read(chosen, limit))
    except UserError as error:
        st.warning(plain(sentence(str(error))), icon=":material/block:")
        return None
    if not top and not ready:
        return None
    settings: dict[str, Any] = {
        "strengths": numbers,
        "prompts": prompts,
        "sampling": request.sampling,
        "chat": request.prompt.chat,
        "earlier": request.prompt.earlier,
        "words": tuple(word for word in words.split(",") if word.strip()),
        "regex": regex,
        "control": control,
    }
    return partial(_bulk, view.run, top, settings) if top else partial(Sweep, request.edits, **settings)


def _bulk(run: Run, top: int, settings: dict[str, Any]) -> Sweep:
    from dfc.steering import sweeps  # loads torch

    return sweeps.bulk(run, top, **settings)


def _ask_judge(judge: JudgeConfig | None) -> JudgeConfig | None:
    """Whether answers are scored, and for what; nothing where the run's settings name no judge."""
    if judge is None:
        return None
    columns = st.columns([3, 7], gap="medium", vertical_alignment="bottom")
    wanted = columns[0].toggle(
        "score the answers",
        value=judge.local and judge.criterion is not None,  # whoever made the run may have named any machine
        key="sweep_judge",
        bind="query-params",
        help=f"Prompts and answers are sent to {plain(who(judge))}, as run.yaml says.",
    )
    criterion = columns[1].text_input(
        "Judged from 0 to 10 for",
        judge.criterion or "",
        key="sweep_criterion",
        bind="query-params",
        disabled=not wanted,
    )
    told = criterion.strip() or judge.criterion
    return judge.model_copy(update={"criterion": told}) if wanted and told else None


def _ended(job: Job[str]) -> None:
    """Open what came of a sweep, and say what went wrong."""
    jobs.JOBS.forget()
    if job.problem:
        st.session_state["sweep_problem"] = job.problem
    if job.result:
        st.query_params["sweep"] = job.result[:12]


def _opened(view: View, judge: JudgeConfig | None, running: bool, names: dict[Side, str]) -> None:
    """The sweep in the address."""
    if problem := st.session_state.pop("sweep_problem", None):
        st.warning(plain(problem), icon=":material/block:")
    wanted = st.query_params.get("sweep")
    if not wanted:
        return
    kept = trials.store(view.run).sweeps()
    matching = kept[kept["sweep_id"].str.startswith(wanted)] if len(kept) else kept
    if len(matching) != 1:
        st.info("The sweep in the address is not kept with this run any more.", icon=":material/info:")
        return
    row = matching.iloc[0]
    sweep_id, scored_by = str(row["sweep_id"]), row["judge"] if isinstance(row["judge"], str) else None
    outputs.show(view, trials.store(view.run), sweep_id, str(row["title"]), scored_by, names)
    if judge is not None:
        _score_button(view.run, sweep_id, judge, running)


def _score_button(run: Run, sweep_id: str, judge: JudgeConfig, running: bool) -> None:
    """Offers to score what has no score by this judge."""
    if left := len(trials.store(run).unscored(sweep_id, identity(judge))):
        st.button(
            f"Score {left} texts",
            icon=":material/gavel:",
            key="judge_sweep",
            on_click=jobs.start,
            args=(run, None, judge, sweep_id),
            disabled=running,
            help="By the judge and for the criterion above; scores by another are replaced.",
        )


def _earlier(run: Run, judge: JudgeConfig | None, running: bool) -> None:
    kept = trials.store(run).sweeps().head(_LISTED)
    if not len(kept):
        return
    job = jobs.JOBS.running(run)
    st.markdown("**Sweeps of this run**")
    for row in kept.to_dict("records"):
        identity, ours = str(row["sweep_id"])[:12], job is not None and job.result in (None, row["sweep_id"])
        with st.container(
            horizontal=True, vertical_alignment="center", gap="medium", border=False, key=f"kept_sweep_{identity}"
        ):
            time = notebook.when(row["started"].tz_localize("UTC").isoformat())
            status = str(row["status"])
            if status == "running" and not ours:
                status = "runs in another process, or ended with it"
            state = f"{time} · {status} · {row['made']} of {row['outputs']} answers"
            st.html(
                f'<div>{escape(str(row["title"]))}<div class="dfc-small">{escape(state)}</div></div>',
                width="stretch",
            )
            st.button("Open", key=f"open_{identity}", type="tertiary", on_click=_open, args=(identity,))
            st.button(
                "Repeat",
                key=f"repeat_{identity}",
                type="tertiary",
                disabled=running,
                on_click=jobs.start,
                args=(run, partial(Sweep.from_json, str(row["settings"])), judge),
            )
            st.button(
                "Delete",
                key=f"delete_{identity}",
                type="tertiary",
                disabled=ours,
                on_click=_delete,
                args=(run, str(row["sweep_id"])),
            )


def _open(identity: str) -> None:
    st.query_params["sweep"] = identity


def _delete(run: Run, sweep_id: str) -> None:
    try:
        trials.store(run).delete_sweep(sweep_id)
    except UserError as error:
        st.session_state["sweep_problem"] = sentence(str(error))
    if sweep_id.startswith(st.query_params.get("sweep") or "-"):
        st.query_params.pop("sweep", None)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(number) for number in text.split(",") if number.strip())
        if not all(map(math.isfinite, numbers)):
            raise ValueError
    except ValueError:
        raise UserError(f"strengths: “{text:.60}” are not numbers separated by commas, such as 0.5, 1, 2.") from None
    if not any(numbers):
        raise UserError("strengths: give at least one that is not 0.")
    return numbers
