"""What is needed to decide on a finding: what is claimed, its flags, what its triage score is made of, contexts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from html import escape

import streamlit as st

from dfc.config import opposite
from dfc.report import causal, exclusivity, findings, outside, said
from dfc.report.heatmap import context_html, excerpt
from dfc.runs import Run
from dfc.screen import near
from dfc.screen.queue import Subject
from dfc.screen.triage import FACTORS, Candidate
from dfc.screen.words import Flag
from dfc.store import along
from dfc.store.reader import Context
from dfc.ui.shell import data, finding_rows, likeness, links, notebook, own_words
from dfc.ui.shell.frame import View, model_names
from dfc.ui.shell.look import partition_badge, side_name
from dfc.ui.shell.text import number, plain

_COLUMNS = (150, 110)  # of text before and after a peak
_OF_BEST, _OF_OTHERS = 5, 2  # strongest contexts
_BANDS = {0: "strongest", 1: "upper quarter", 2: "second quarter", 3: "third quarter", 4: "weakest quarter"}
_PROMPTS = "open"


def show(view: View, one: Candidate, flags: Mapping[str, Flag], weights: Mapping[str, float]) -> None:
    """Draw it all."""
    left, right = st.columns([5, 3], gap="medium")
    with left:
        _contexts(view, one)
    with right:
        _claim(view, one)
        if one.told.explanation is not None:
            st.html(f'<div class="dfc-small">{escape(said.explained(one.told.explanation))}</div>')
        _checked(view, one)
        _links(view, one, flags)
        own_words.show(view, one.subject.feature_id, one.subject.side)
        _flags(view, one, flags)
        _name_flags(view, one, flags)
        _factors(one, weights)
        _outside(view, one, flags)


def title(view: View, one: Candidate) -> str:
    """What it is called, and whose it is, as HTML."""
    subject, names = one.subject, model_names(view.config)
    badge = partition_badge(subject.partition, names)
    return f'<div class="dfc-{subject.partition}"><h2 class="dfc-called">{escape(subject.title)}</h2>{badge}</div>'


def _claim(view: View, one: Candidate) -> None:
    subject, names = one.subject, model_names(view.config)
    finding = subject.finding
    if finding is None:
        st.html(
            f'<div class="dfc-claim">An exclusive feature of {side_name(subject.side, names)} that is in no finding: '
            f"evidence score {subject.confidence:.2f}.</div>"
        )
        return
    other = names[opposite(finding.side)]
    st.html(finding_rows.bar(finding, finding_rows.scale(data.findings(view.store))))
    amounts, _, size, *_ = findings.lines(finding, None)
    st.html(
        f'<div class="dfc-claim">{escape(findings.standing(finding, names[finding.side], other))}.</div>'
        f'<div class="dfc-small">{escape(amounts)}</div><div class="dfc-small">{escape(size)}</div>'
    )


def _checked(view: View, one: Candidate) -> None:
    """What taking its best feature away does, and how alike both models write under it, as far as it was measured."""
    told = [] if one.checked is None else [causal.sentence(one.checked, model_names(view.config))]
    told += map(exclusivity.sentence, one.alike)
    if told:
        st.html("".join(f'<div class="dfc-small">{escape(line)}</div>' for line in told))
    lacking = ["causal"] if one.checked is None else []
    lacking += ["exclusivity"] if not one.alike and one.subject.partition != "shared" else []
    if lacking:
        commands = " and ".join(f"`python -m dfc {name} {view.run.name}`" for name in lacking)
        st.caption(f"Not measured yet: what {commands} tells.")


def _links(view: View, one: Candidate, flags: Mapping[str, Flag]) -> None:
    subject = one.subject
    sets = (flags[name].prompts for name in one.passing if name in flags)
    with st.container(gap="xxsmall"):
        for place, member in enumerate(subject.members):
            links.feature(view.run.name, member, f"Feature {member}" + (", the best" if place == 0 else ""))
        own = findings.own_side(view.store, view.store.feature(subject.feature_id))
        links.steer(view, subject.feature_id, own, next(filter(None, sets), _PROMPTS))


def _flags(view: View, one: Candidate, flags: Mapping[str, Flag]) -> None:
    if one.looked is None:
        words = '<span class="dfc-muted">not looked for yet</span>'
    elif not one.flags and not one.near:
        words = '<span class="dfc-muted">none of them</span>'
    else:
        words = "".join(
            f'<div class="dfc-small"><b title="{escape(flags[mark.flag].description if mark.flag in flags else "")}">'
            f"{escape(mark.title)}</b> {kind}{escape(mark.reason)}</div>"
            for kind, marks in (("", one.flags), ("in meaning: ", one.near))
            for mark in marks
        )
    named = "".join(
        f'<div class="dfc-small"><b>{escape(flags[mark.flag].title if mark.flag in flags else mark.flag)}</b> '
        f"{escape(mark.reason)} ({escape(said.author(mark))})</div>"
        for mark in one.named
    )
    st.html(f'<div class="dfc-claim"><b>Flags</b></div>{words}{named}')
    if one.looked is not None and (lacking := near.lacking(likeness.facts_of(view.store), view.run.name)):
        st.caption(f"Flags are {lacking}.")


def _name_flags(view: View, one: Candidate, flags: Mapping[str, Flag]) -> None:
    """Where a person says which flags apply; that holds before what words and judges say."""
    who, key = st.session_state.get(notebook.WHO, "").strip(), f"flags_of_{one.subject.feature_id}"
    applying = {*one.passing, *(mark.flag for mark in one.named)}
    there = [name for name in flags if name in applying]
    st.session_state[key] = there
    st.multiselect(
        "Which apply",
        list(flags),
        key=key,
        format_func=lambda name: flags[name].title,
        disabled=not who,
        select_all=False,  # else Enter takes all that match what was typed
        placeholder="none of them" if who else "give your name first",
        help="What you say is kept with your name, and holds before what words and a judge say.",
        on_change=_say_flags,
        args=(view.run, one.subject, who, there, key),
    )


def _say_flags(run: Run, subject: Subject, who: str, before: list[str], key: str) -> None:
    about = run, notebook.book(), subject.feature_id, subject.fingerprint, who
    for name in {*before} ^ {*st.session_state[key]}:
        notebook.change(partial(along.flag, *about, name, name not in before))


def _factors(one: Candidate, weights: Mapping[str, float]) -> None:
    rows = "".join(
        f'<tr title="{escape(FACTORS[name])}"><td>{name}</td><td>{factor.value:.2f}</td><td>{weights[name]:g}</td>'
        f'<td class="dfc-why">{escape(factor.reason)}</td></tr>'
        for name, factor in one.factors.items()
    )
    st.html(
        f'<div class="dfc-claim"><b>Triage score {one.score(weights):.2f}</b></div>'
        f'<table class="dfc-table dfc-factors"><thead><tr><th>factor</th><th></th><th>weight</th><th>why</th></tr>'
        f"</thead><tbody>{rows}</tbody></table>"
    )


def _outside(view: View, one: Candidate, flags: Mapping[str, Flag]) -> None:
    """Whether the models behave differently without steering: on the prompts of its flags first, then on others."""
    mine = [prompts for name in one.passing if name in flags and (prompts := flags[name].prompts)]
    names = model_names(view.config)
    measured = sorted(outside.kept(view.store), key=lambda found: found.prompts not in mine)
    st.html(
        '<div class="dfc-claim" title="Both models, left alone, answer the same prompts several times.">'
        "<b>Outside: without steering</b></div>"
        + "".join(f'<div class="dfc-small">{escape(outside.sentence(found, names))}</div>' for found in measured)
    )
    if lacking := [name for name in dict.fromkeys(mine or [_PROMPTS]) if name not in {one.prompts for one in measured}]:
        command = f"`python -m dfc outside {view.run.name} --prompts {lacking[0]} --word WORD`"
        st.caption(f"Not measured on {plain(lacking[0])}: {command}.")


def _contexts(view: View, one: Candidate) -> None:
    subject = one.subject
    for place, member in enumerate(subject.members):
        feature, contexts = view.store.feature(member), view.store.contexts(member)
        shown = list(_chosen(contexts, place == 0))
        rows = "".join(
            f'<div class="dfc-row"><div class="dfc-about"><b>{number(context.peak)}</b>'
            f"<span>{escape(context.source)}</span><span>{_BANDS.get(context.band, '')}</span></div>"
            f'<div class="dfc-text">'
            f"{context_html(excerpt(context, subject.side, *_COLUMNS), subject.side, feature.max, feature.partition)}"
            "</div></div>"
            for context in shown
        )
        name = (
            "Its best feature" if len(subject.members) > 1 and place == 0 else "The feature" if place == 0 else "Then"
        )
        st.html(
            f'<div class="dfc-band"><b>{name}, {member}</b> <span class="dfc-small">{len(shown)} of {len(contexts)} '
            f"contexts</span></div>{rows or '<p class=dfc-muted>No context was kept.</p>'}"
        )


def _chosen(contexts: Iterable[Context], best: bool) -> Iterable[Context]:
    """The strongest contexts, each of another document, and of the best feature the first of each weaker quarter."""
    most = _OF_BEST if best else _OF_OTHERS
    seen: set[int] = set()  # documents
    bands: set[int] = set()
    for context in contexts:
        if context.document in seen:
            continue
        weaker = best and context.band > 0 and context.band not in bands
        if weaker or (context.band == 0 and len(seen) < most):
            seen.add(context.document)
            bands.add(context.band)
            yield context
