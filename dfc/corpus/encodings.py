"""In which encoding a file is: its byte order mark, else UTF-8, else a library's guess, else it is left out."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import IO

from dfc.config import UserError

CONFIDENCE = 0.8
"""Least confidence of a guess that is taken: 1 − the share of improbable characters that charset-normalizer finds."""
_MARKS = (  # the longer before those that they begin with
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_USUAL = "cp1252"  # taken where it is as likely as others
_BLOCK = 1 << 20
_SAMPLE = 1 << 16  # bytes that a guess is made from


@dataclass(frozen=True)
class Encoding:
    """How a file's bytes are read.

    Attributes:
        name: a codec of Python.
        confidence: of a guess, from CONFIDENCE to 1; None: it was not guessed.
        broken: bytes here and there are none of this encoding; only what is read row by row can go without them.
    """

    name: str
    confidence: float | None = None
    broken: bool = False


def detect(opened: Callable[[], IO[bytes]], is_cut: bool = False) -> Encoding | None:
    """The encoding of a file, which `opened` opens anew at each call; None if it cannot be told.

    A file is read to its end: what a few bytes at its beginning allow, the rest may refuse. One that `is_cut` may end
    within a character.
    """
    with closing(opened()) as file:
        start = file.read(_SAMPLE)
    for mark, name in _MARKS:
        if start.startswith(mark):
            return Encoding(name, broken=_flaw(opened, name, is_cut) is not None)
    wide = _wide(start)
    if wide and _flaw(opened, wide, is_cut) is None:
        return Encoding(wide, confidence=1.0)
    flaw = _flaw(opened, "utf-8", is_cut)
    if flaw is None:
        return Encoding("utf-8")
    at, multibyte = flaw
    if multibyte:  # it was UTF-8 up to there, and no other encoding looks like that for long
        return Encoding("utf-8", broken=True)
    guess = _guess(opened, at)
    return guess if guess is not None and _flaw(opened, guess.name, is_cut) is None else None


def decoded(content: bytes, place: str) -> str:
    """A short text that somebody gave, in whatever encoding it is.

    Raises:
        UserError: if that cannot be told.
    """
    encoding = detect(lambda: io.BytesIO(content))
    if encoding is None or encoding.broken:
        raise UserError(f"{place}: is in no encoding that can be told; save it as UTF-8.")
    return content.decode(encoding.name)


def _flaw(opened: Callable[[], IO[bytes]], name: str, is_cut: bool = False) -> tuple[int, bool] | None:
    """The first byte that is none of an encoding, and whether characters of several bytes come before it."""
    decoder = codecs.getincrementaldecoder(name)()
    at, multibyte = 0, False
    with closing(opened()) as file:
        while True:
            block = file.read(_BLOCK)
            try:
                text = decoder.decode(block, final=not block and not is_cut)
            except UnicodeDecodeError as error:
                sound = error.object[: error.start].decode(name, errors="ignore")
                return at + error.start, multibyte or not sound.isascii()
            if not block:
                return None
            at, multibyte = at + len(block), multibyte or not text.isascii()


def _wide(start: bytes) -> str:
    """UTF-16 without a mark, which shows by a NUL in every second byte of what is ASCII; empty if it is not that."""
    pairs = len(start) // 2
    if pairs and start.count(0) > pairs // 2:
        for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
            if start[first::2].count(0) > 0.6 * pairs and not start[1 - first :: 2].count(0):
                return name
    return ""


def _guess(opened: Callable[[], IO[bytes]], at: int) -> Encoding | None:
    """What charset-normalizer takes the bytes around the first that is not UTF-8 for, if it is sure enough."""
    from charset_normalizer import from_bytes

    with closing(opened()) as file:
        file.read(max(0, at - _SAMPLE // 4))
        matches = from_bytes(file.read(_SAMPLE))
    best = matches.best()
    alike = [match for match in matches if best and (match.chaos, match.coherence) == (best.chaos, best.coherence)]
    best = next((match for match in alike if match.encoding == _USUAL), best)
    # Without a language that it recognises, several encodings are as good, and they say different things.
    if best is None or 1 - best.chaos < CONFIDENCE or not (best.coherence or len(matches) == 1):
        return None
    return Encoding(best.encoding, confidence=round(1 - best.chaos, 2))
