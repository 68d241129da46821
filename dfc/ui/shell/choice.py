"""Choices whose ids stand in the address, so that an address shared shows the same; labels are for reading alone.

Streamlit's own `bind="query-params"` writes what is read, so that no word of a page could change without breaking
links. Here an option has an id, short and for good. Links from before, with labels in them, are understood, and the id
takes the label's place. What an address cannot mean falls back to the default, which does not stand in it, and is said.

A browser sends its address along with every click, and what a page writes into the address reaches the browser later.
So an address that is not as this session left it is followed, a step back or forward in the browser always, and one
that is merely not up to date yet is written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from dfc.ui.shell import address

Option = TypeVar("Option", bound=str)
Label = Literal["visible", "collapsed"]
Ids = tuple[str, ...]

_KEPT = "choice_"
_FORMER = {"knows better what follows": "plain_gap"}
"""Labels that are worded otherwise now, and may stand in links from before there were ids."""


@dataclass(frozen=True)
class _Kept:
    """What a choice was when it was last drawn.

    Attributes:
        page: on which it was drawn.
        chosen: ids of what is chosen; a click puts others here.
        default: what was chosen as long as nobody chose: with another default, that is.
        written: values of the parameter that stand for it; none if it is the default.
        known: values that the browser may still send: all since it last sent what was written.
    """

    page: str
    chosen: Ids
    default: Ids
    written: Ids
    known: frozenset[Ids]

    def left(self, default: Ids) -> Ids:
        """How it was left: where nobody chose, what is usual now."""
        return default if self.chosen == self.default else self.chosen


def one_of(
    title: str,
    options: Mapping[Option, str],
    key: str,
    default: Option | None = None,
    help: str | None = None,
    label: Label = "visible",
    on_change: Callable[[], None] | None = None,
) -> Option:
    """Draw a choice of one, all in sight, and give the id of what is chosen.

    Args:
        title: of the choice.
        options: ids, and what is read in their place.
        key: of the widget and in the address.
        default: what is chosen at first; by default the first.
        help: what the options mean.
        label: whether the title is seen.
        on_change: called when another was chosen.
    """
    [chosen] = _prepare(key, options, (default or next(iter(options)),))
    st.segmented_control(
        title,
        list(options),
        required=True,
        format_func=_reader(options),
        key=key,
        label_visibility=label,
        help=help,
        on_change=_take,
        args=(key, on_change),
    )
    return _option(options, chosen)


def one_or_none_of(title: str, options: Mapping[Option, str], key: str, label: Label = "visible") -> Option | None:
    """The same where nothing is chosen at first, and a second click takes a choice back."""
    chosen = _prepare(key, options, ())
    st.segmented_control(
        title,
        list(options),
        format_func=_reader(options),
        key=key,
        label_visibility=label,
        on_change=_take,
        args=(key, None),
    )
    return _option(options, chosen[0]) if chosen else None


def one_of_many(
    title: str,
    options: Mapping[Option, str],
    key: str,
    default: Option | None = None,
    help: str | None = None,
    width: int | Literal["stretch"] = "stretch",
    on_change: Callable[[], None] | None = None,
    written: bool = False,
) -> Option:
    """The same as `one_of` in a box that unfolds, `width` pixels wide.

    Where the default is not the same for everybody, it is `written` into the address, too.
    """
    [chosen] = _prepare(key, options, (default or next(iter(options)),), always=written)
    st.selectbox(
        title,
        list(options),
        format_func=_reader(options),
        key=key,
        help=help,
        width=width,
        on_change=_take,
        args=(key, on_change),
    )
    return _option(options, chosen)


def several_of(
    title: str, options: Mapping[Option, str], key: str, default: tuple[Option, ...], help: str | None = None
) -> tuple[Option, ...]:
    """Draw a choice of any number, all in sight, and give the ids of what is chosen, in the order of the options."""
    chosen = _prepare(key, options, default, several=True)
    st.pills(
        title,
        list(options),
        selection_mode="multi",
        format_func=_reader(options),
        key=key,
        help=help,
        on_change=_take,
        args=(key, None),
    )
    return tuple(_option(options, one) for one in chosen)


def put(key: str, option: str) -> None:
    """Choose an option from elsewhere, in a callback; of a choice that the page does not draw yet, too."""
    kept: _Kept | None = st.session_state.get(_KEPT + key)
    if kept is not None and kept.page == _page():
        st.session_state[_KEPT + key] = replace(kept, chosen=(option,))
    else:
        st.query_params[key] = option


def _prepare(key: str, options: Mapping[Option, str], default: Ids, several: bool = False, always: bool = False) -> Ids:
    """What is chosen, with the widget and the address brought to it; the widget is to be drawn at once."""
    page, sent = _page(), tuple(st.query_params.get_all(key))
    context = get_script_run_ctx()
    went_back = context is not None and context.is_history_navigation
    kept: _Kept | None = st.session_state.get(_KEPT + key)
    ours = kept is not None and kept.page == page
    chosen: Ids | None
    if kept is not None and ours and not went_back and sent in kept.known:
        chosen = kept.left(default)
    elif kept is not None and not ours and not went_back and not sent:
        chosen = kept.left(default)  # when the page changed
    else:
        chosen = _meant(sent, options, several)
        _say_unknown(key, sent, options)
    if chosen is None or not options.keys() >= set(chosen):
        chosen = default
    chosen = tuple(option for option in options if option in chosen)
    written = () if chosen == default and not always else chosen or ("",)
    if written != sent:
        if written:
            st.query_params[key] = written if several else written[0]
        else:
            del st.query_params[key]
    known = {sent, written}
    if kept is not None and ours and not went_back and sent in kept.known and sent != kept.written:
        known |= kept.known
    st.session_state[_KEPT + key] = _Kept(page, chosen, default, written, frozenset(known))
    # A value that is set anew would take back a click that is on its way.
    if key not in st.session_state or set(_ids(st.session_state[key])) != set(chosen):
        st.session_state[key] = list(chosen) if several else chosen[0] if chosen else None
    return chosen


def _say_unknown(key: str, sent: Ids, options: Mapping[Option, str]) -> None:
    """Say what an address asks for that there is not."""
    for text in sent:
        if text and _meant((text,), options, several=False) is None:
            address.unknown(key, text)


def _page() -> str:
    context = get_script_run_ctx()
    return context.page_script_hash if context is not None else ""


def _take(key: str, on_change: Callable[[], None] | None) -> None:
    """Keep what was clicked, before the page is drawn by it."""
    st.session_state[_KEPT + key] = replace(st.session_state[_KEPT + key], chosen=_ids(st.session_state[key]))
    if on_change is not None:
        on_change()


def _ids(value: object) -> Ids:
    """What a widget's value says is chosen."""
    return () if value is None else tuple(value) if isinstance(value, list) else (str(value),)


def _meant(sent: Ids, options: Mapping[Option, str], several: bool) -> Ids | None:
    """Ids that values of the address stand for, themselves or by what is read in their place; None: it says nothing."""
    labels: dict[str, str] = {label: option for option, label in options.items()}
    known = [labels.get(text, _FORMER.get(text, text)) for text in sent]
    meant: list[Option | None] = [next((option for option in options if option == text), None) for text in known]
    if several:
        chosen = tuple(option for option in meant if option is not None)
        return chosen if chosen or sent == ("",) else None
    return (meant[-1],) if meant and meant[-1] is not None else None


def _reader(options: Mapping[Option, str]) -> Callable[[Option], str]:
    return lambda option: options[option]


def _option(options: Mapping[Option, str], chosen: str) -> Option:
    return next(option for option in options if option == chosen)
