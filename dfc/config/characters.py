"""Characters that are not seen, and that a terminal or a page may obey: they are shown by their code points.

And which are of scripts that put no space between words.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN_CATEGORIES = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
"""Control, format (zero-width, bidirectional), private, surrogate, and line separators: never drawn as they are."""
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts that put no space between words, Thai to Khmer, kana, Han: ranges for a class of a regular expression."""
_IS_UNSPACED = re.compile(rf"[{UNSPACED}]")
_NO_NAME = {"Cc", "Cs", "Zl", "Zp"}  # joiners, which are format, belong to names in some scripts


def is_hidden(character: str) -> bool:
    """Whether it is of HIDDEN_CATEGORIES."""
    return unicodedata.category(character) in HIDDEN_CATEGORIES


def is_unspaced(character: str) -> bool:
    """Whether it is of a script without spaces."""
    return _IS_UNSPACED.match(character) is not None


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
