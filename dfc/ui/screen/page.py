"""The queue of findings, one at a time, in the order of the triage score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import streamlit as st

from dfc.report import findings, words
from dfc.runs import Run
from dfc.screen import decided, flags, near, triage
from dfc.screen import words as flag_words
from dfc.screen.flags import Screening
from dfc.screen.queue import Subject, counted
from dfc.screen.triage import Candidate
from dfc.screen.words import Flag
from dfc.store import attached
from dfc.store.book import Decision
from dfc.ui.screen import checks, deciding, order, subject
from dfc.ui.shell import address, data, empty, likeness, notebook
from dfc.ui.shell.frame import View
from dfc.ui.shell.text import plain

_LEAD = (
    "One finding at a time, those first that are sure, can be read, carry a flag, and do something when steered with: "
    "a flag lifts one above surer ones, which Findings lists first. "
    "Read its contexts, the weaker ones too, and decide. Decisions are kept outside the run, with who, when and why."
)


def show(view: View) -> None:
    """Draw the page."""
    st.html(f'<div class="dfc-hero"><h1>Screen</h1><p>{_LEAD}</p></div>')
    notebook.opened()
    run = view.run.name
    arrived = deciding.UNDO not in st.session_state  # the state of a button goes with the page that draws it
    looked, listed = _kept(str(view.run.path), _stamp(view.run))
    if not listed:
        lacking = findings.lacking(data.facts(view.store), data.tested(view.store), run)
        st.info(lacking, icon=":material/fact_check:")
        empty.verifying(view.run)
        return
    known, made = _flags(), notebook.read(run).decisions
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="screen_tools"):
        name = deciding.who(made)
        weights = _weights()
        _subjects(view, known)
        st.space("stretch")
        _look(view, looked, listed, known)
    queue, moved = order.fixed(view.run, listed, weights, arrived)
    subjects = [one.subject for one in queue]
    held = decided.standing(made, subjects)
    if not notebook.closed():
        _progress(held, subjects, name)
    checks.show(view.run, queue)
    here = _here(queue, held, name)
    place = queue.index(here)
    _controls(queue, place, moved)
    st.html(subject.title(view, here))
    deciding.show(run, subjects, here.subject, held, name, made)
    _said(made, here.subject)
    subject.show(view, here, known, weights)


def _weights() -> Mapping[str, float]:
    """The weights of the factors, which stand in the address."""
    with st.popover("Weights", icon=":material/tune:"):
        st.caption("The score is the product of the factors, each to the power of its weight; 0 leaves it out.")
        found = {}
        for name, asks in triage.FACTORS.items():
            key = f"weight_{name}"
            address.within(key, 0.0, triage.MOST_WEIGHT)
            found[name] = st.number_input(
                f"{name}: {asks}", 0.0, triage.MOST_WEIGHT, triage.WEIGHTS[name], 0.5, key=key, bind="query-params"
            )
        return found


def _subjects(view: View, known: Mapping[str, Flag]) -> None:
    """What is looked for by words, and for each the features that are nearest to it in meaning."""
    lacking = likeness.lacking(view)
    with st.popover("Flags", icon=":material/flag:"):
        st.caption(lacking or "Each leads to the features that are nearest to it in meaning, whatever their words.")
        for flag in known.values():
            st.page_link(
                address.TABLE_PAGE,
                label=plain(flag.title),
                help=plain(flag.description),
                disabled=bool(lacking),
                query_params={"run": view.run.name, "search": flag.query, "meaning": "true"},
            )


def _look(view: View, kept: Screening | None, listed: Sequence[Candidate], known: Mapping[str, Flag]) -> None:
    """The button that looks for flags, where that was not done, with others, or by words alone."""
    facts = likeness.facts_of(view.store)
    lacking = sum(one.looked is None for one in listed)
    others = kept is not None and kept.asked != flags.digest(known)
    by_words = kept is not None and not near.lacking(facts, view.run.name) and kept.encoder != facts["digest"]
    if not lacking and not others and not by_words:
        return
    why = f"in {lacking} of {len(listed)}" if lacking else "with the flags of today" if others else "in meaning, too"
    if st.button(
        f"Look for flags {why}",
        icon=":material/flag:",
        key="look",
        help="As `python -m dfc screen` does; it takes some seconds.",
    ):
        with st.spinner("Looking for flags …"):
            flags.screen(view.run)
        order.anew()
        st.rerun()


def _progress(held: deciding.Held, subjects: Sequence[Subject], name: str | None) -> None:
    """How far it is, of this person and of all, and whether people agree."""
    everybody = f"{decided.progress(held, subjects, None)} by anybody"
    told = [f"<b>{decided.progress(held, subjects, name)}</b> by {escape(name)}", everybody] if name else [everybody]
    told += [escape(one.words) for one in decided.agreements(held)]
    st.html(f'<div class="dfc-small">{escape(counted(subjects))} {" · ".join(told)}</div>')


def _here(queue: Sequence[Candidate], held: deciding.Held, name: str | None) -> Candidate:
    """What is shown: what the address names, or else what is to be decided on first."""
    asked = address.feature_id()
    by_feature = {one.subject.feature_id: one for one in queue}
    if asked is not None and asked not in by_feature:
        st.info(
            f"Feature {asked} is not in this queue: it is the best of no finding, and not among the exclusive features "
            "after them.",
            icon=":material/fact_check:",
        )
    first = decided.following(held, [one.subject for one in queue], name or "", queue[-1].subject.feature_id)
    return by_feature.get(asked if asked is not None else first, by_feature[first])


def _controls(queue: Sequence[Candidate], place: int, moved: bool) -> None:
    """Previous and next in the queue, and where scores have another order by now, that order."""
    with st.container(horizontal=True, vertical_alignment="center", key="controls"):
        for title, key, step in (("Previous", "Left", -1), ("Next", "Right", 1)):
            at = place + step
            there = 0 <= at < len(queue)
            st.button(
                title,
                icon=f":material/chevron_{key.lower()}:",
                icon_position="left" if step < 0 else "right",
                key=title.lower(),
                shortcut=key,
                disabled=not there,
                on_click=_go,
                args=(queue[at].subject.feature_id,) if there else None,
            )
        kind = "" if queue[place].subject.finding else ", an exclusive feature after the findings"
        st.html(f'<span class="dfc-small">{place + 1} of {len(queue)} in the queue{kind}</span>', width="content")
        if moved:
            st.button(
                "Sort anew",
                icon=":material/sort:",
                key="anew",
                type="tertiary",
                on_click=order.anew,
                help="What was said or measured since you came has changed scores; the order stays until you ask.",
            )


def _go(feature: int) -> None:
    st.query_params["feature"] = str(feature)


def _said(made: Sequence[Decision], here: Subject) -> None:
    """What people decided of it, and of others of its features."""
    lines = []
    if said := words.decisions((one for one in made if one.feature_id == here.feature_id), here.fingerprint):
        lines.append(f"Decided: {said}")
    for member in here.members[1:]:
        of_member = [one for one in made if one.feature_id == member]
        if of_member:
            lines.append(f"Decided of its feature {member}: {words.decisions(of_member, of_member[0].fingerprint)}")
    if lines:
        st.markdown("  \n".join(plain(line) for line in lines))


def _stamp(run: Run) -> object:
    """Of the files that the queue is made of, as they are now."""
    states = tuple(
        path.stat().st_mtime_ns if path.exists() else 0 for path in (run.screening, run.steering, run.effects)
    )
    return attached.stamp(run.store), states


@st.cache_resource(max_entries=8, show_spinner="Reading the findings …")
def _kept(path: str, stamp: object) -> tuple[Screening | None, tuple[Candidate, ...]]:
    """The flags that were found, and all that is to be decided on; read again only when a file has changed."""
    run = Run(Path(path))
    return flags.read(run), triage.candidates(run)


def _flags() -> Mapping[str, Flag]:
    place = flag_words.place()
    return _loaded(str(place), place.stat().st_mtime_ns if place.exists() else 0)


@st.cache_resource(max_entries=4, show_spinner=False)
def _loaded(path: str, stamp: int) -> Mapping[str, Flag]:
    return flag_words.load(Path(path))
