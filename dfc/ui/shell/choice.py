"""One of several, all in sight; which one is chosen stands in the address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import streamlit as st

Option = TypeVar("Option", bound=str)


def one_of(
    title: str,
    options: Sequence[Option] | Mapping[Option, str],
    key: str,
    default: Option | None = None,
    help: str | None = None,
    label: Literal["visible", "collapsed"] = "visible",
) -> Option:
    """Draw the choice and give what is chosen.

    Args:
        title: of the choice.
        options: what can be chosen; where they are a mapping, its values are what is read.
        key: of the widget and in the address.
        default: what is chosen at first; by default the first.
        help: what the options mean.
        label: whether the title is seen.
    """
    words: Mapping[Option, str] = options if isinstance(options, Mapping) else {option: option for option in options}
    chosen: Option = st.segmented_control(
        title,
        list(words),
        default=default or next(iter(words)),
        required=True,
        format_func=lambda option: words[option],
        key=key,
        bind="query-params",
        label_visibility=label,
        help=help,
    )
    return chosen
