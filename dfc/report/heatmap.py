"""A context as a token heat map: escaped HTML that needs nothing but HEATMAP_CSS.

Corpus text is hostile. Everything is escaped, and what would be invisible or would
reorder its surroundings is replaced by its code point, so that what is seen is what is there.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Literal

from dfc.config import PARTITIONS, SIDES, Partition, Side
from dfc.config.characters import shown
from dfc.report.palette import LEVELS, heat_level
from dfc.store.reader import Context, EvidenceRow

NEWLINE_COLUMNS = 30
"""What a line break costs of an excerpt's width: lines are the scarce thing on a card."""

Hue = Partition | Literal["between"]
"""Whose colours: a partition's, or A's above 0 and B's below."""

UNBROKEN = 24
"""Characters without a space after which a line may break: no renderer's own rule for that can be relied on."""

HEATMAP_CSS = (
    """
.dfc-context{white-space:pre-wrap;overflow:hidden;unicode-bidi:isolate;
line-height:1.65;color:var(--dfc-ink)}
.dfc-context span{border-radius:2px;padding:1px 0}
.dfc-context .unpaired{color:var(--dfc-muted)}
.dfc-context .peak{outline:1.5px solid var(--dfc-ink)}
.dfc-context i{font-style:normal;font-size:78%;opacity:.6}
.dfc-context .fragment{font-size:60%}
""".lstrip()
    + "\n".join(
        f".dfc-{partition} .h{level}{{background:var(--dfc-{partition}-{level})}}"
        for partition in PARTITIONS
        for level in range(1, LEVELS + 1)
    )
    + "\n"
    + "\n".join(
        f".dfc-between .{side}{level}{{background:var(--dfc-{side}-{level})}}"
        for side in SIDES
        for level in range(1, LEVELS + 1)
    )
    + "\n"
)
"""Style of `context_html`; the colours come from `palette.css_variables(theme)`."""


def side_of(partition: Partition, evidence: EvidenceRow | None = None) -> Side:
    """In which model's tokens a feature is shown, and which it is steered in, unless somebody asks for the other: its
    own; of a shared one that which does better in the finding that it is part of, by its evidence, and else A."""
    if partition != "shared":
        return partition
    knows: Side | None = evidence.knows if evidence else None
    return knows or "a"


def visible(token: str) -> str:
    """A token as plain text with nothing hidden: ↵, ⇥, ‹U+200B›; '·' for a fragment of a character."""
    if token.isprintable():
        return token or "·"
    return "".join(map(_visible, token))


def label(token: str) -> str:
    """A token in a list of tokens: as `visible`, leading spaces shown as ␣, a lone combining mark on a ◌."""
    words = token.lstrip(" ")
    if token and not words:
        return "␣" * len(token)
    carrier = "◌" if words and unicodedata.category(words[0]).startswith("M") else ""
    return "␣" * (len(token) - len(words)) + carrier + visible(words)


def called(name: str | None) -> str:
    """A feature's label with nothing hidden; where it has none, that: tokens on which it peaks often tell nothing."""
    return "".join(map(visible, name or "")) or "no label"


def token_html(token: str) -> str:
    """A token as escaped HTML; what stands for a hidden character is marked by <i>."""
    if not token:
        return '<i class="fragment">·</i>'
    if len(token) < UNBROKEN and token.isprintable():  # most are: nothing hidden, and no place to break a line
        return escape(token)
    pieces: list[str] = []
    unbroken = 0
    for part in re.split(r"(\n+)", token):
        if part.startswith("\n"):
            pieces.append(f"<i>{'↵' * len(part)}</i><br>")  # one break for a run: empty lines say nothing
            continue
        for character in part:
            shown = _visible(character)
            pieces.append(escape(shown) if shown == character else f"<i>{escape(shown)}</i>")
            unbroken = 0 if character == " " else unbroken + len(shown)
            if unbroken >= UNBROKEN:
                pieces.append("<wbr>")
                unbroken = 0
    return "".join(pieces)


def context_html(
    context: Context, side: Side, peak_scale: float, hue: Hue, about: str = "", notes: Sequence[str] = ()
) -> str:
    """One context in one model's tokenisation, each token on a background that shows its activation.

    Args:
        context: the context; see `excerpt` for a shorter one.
        side: whose tokens are shown.
        peak_scale: the activation of the strongest colour, commonly the feature's maximum.
        hue: whose colours are used; between both models', what stands for activations may be below 0.
        about: said of every token when it is pointed at, after the token and its activation.
        notes: said of each token before that; in place of an activation where there is none, or none is meant.

    Returns:
        One <div>; the text of its spans is `visible` of the tokens.
    """
    tokens, activations, peak = _of_side(context, side)
    spans = []
    unbroken = 0
    for index, (token, activation) in enumerate(zip(tokens, activations, strict=True)):
        level = heat_level(None if activation is None else abs(activation), peak_scale)
        kind = "h" if hue != "between" else "a" if (activation or 0) > 0 else "b"
        classes = [f"{kind}{level}"] if level else []
        if activation is None:
            classes.append("unpaired")
        if index == peak:
            classes.append("peak")
        attribute = f' class="{" ".join(classes)}"' if classes else ""
        if unbroken >= UNBROKEN:
            spans.append("<wbr>")
            unbroken = 0
        unbroken = 0 if " " in token or "\n" in token else unbroken + len(visible(token))
        note = notes[index] if notes else ""
        reading = "" if hue == "between" else "not paired" if activation is None else f"{activation:.3g}"
        words = [note] if note and activation is None else [reading, note]
        said = "  · ".join(visible(one) for one in (*words, about) if one)
        spans.append(f'<span{attribute} title="{escape(visible(token))}  {escape(said)}">{token_html(token)}</span>')
    return f'<div class="dfc-context dfc-{hue}">{"".join(spans)}</div>'


def excerpt(context: Context, side: Side, before: int, after: int) -> Context:
    """The same context with `side` cut to about so many columns before and after its peak."""
    tokens, activations, peak = _of_side(context, side)
    start, room = peak, before
    while start > 0 and (room := room - _columns(tokens[start - 1])) >= 0:
        start -= 1
    stop, room = peak + 1, after
    while stop < len(tokens) and (room := room - _columns(tokens[stop])) >= 0:
        stop += 1
    if side == "a":
        return replace(context, tokens_a=tokens[start:stop], activations_a=activations[start:stop], peak_a=peak - start)
    return replace(context, tokens_b=tokens[start:stop], activations_b=activations[start:stop], peak_b=peak - start)


def _of_side(context: Context, side: Side) -> tuple[list[str], list[float | None], int]:
    if side == "a":
        return context.tokens_a, context.activations_a, context.peak_a
    return context.tokens_b, context.activations_b, context.peak_b


def _visible(character: str) -> str:
    if character == "\n":
        return "↵"
    if character == "\t":
        return "⇥"
    return shown(character)


def _columns(token: str) -> int:
    """Columns of a terminal that the token would take."""
    if not token:
        return 1
    return sum(
        NEWLINE_COLUMNS if character == "\n" else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in token
    )
