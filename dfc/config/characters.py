"""Characters that are not seen, and that a terminal or a page may obey: they are shown by their code points."""

from __future__ import annotations

import unicodedata

HIDDEN_CATEGORIES = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
"""Control, format (zero-width, bidirectional), private, surrogate, and line separators: never drawn as they are."""
_NO_NAME = {"Cc", "Cs", "Zl", "Zp"}  # joiners, which are format, belong to names in some scripts


def is_hidden(character: str) -> bool:
    """Whether it is of HIDDEN_CATEGORIES."""
    return unicodedata.category(character) in HIDDEN_CATEGORIES


def shown(text: str, kept: str = "") -> str:
    """A text with each hidden character as its code point, such as ‹U+001B›; those in `kept` stay as they are."""
    if text.isprintable():  # what hides nothing, and then some
        return text
    return "".join(
        f"‹U+{ord(character):04X}›" if is_hidden(character) and character not in kept else character
        for character in text
    )


def name(text: str) -> str:
    """A name as it is.

    Raises:
        ValueError: if it holds control characters or line ends.
    """
    if any(unicodedata.category(character) in _NO_NAME for character in text):
        raise ValueError("holds control characters or line ends, which no name may; take them out")
    return text
