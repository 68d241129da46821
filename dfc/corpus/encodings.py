"""In which encoding a file is: its byte order mark, else UTF-8, else a library's guess, else it is left out."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import IO, Any

from dfc.config import UserError
from dfc.corpus.letters import improbable

CONFIDENCE = 0.8
"""Least confidence of a guess that is taken: 1 − the share of improbable characters."""
BROKEN = "corpus.broken"
"""How codecs are told to go on: a lone surrogate for each byte, or each place, that is no character."""
_MARKS = (  # the longer before those that they begin with
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_USUAL = "cp1252"  # taken where it is as likely as others
_SINGLE = {  # encodings of one byte a character that the Encoding Standard of the web knows
    *("latin_1", "cp866", "cp1125", "koi8_r", "koi8_u", "mac_roman", "mac_cyrillic", "cp874"),
    *(f"cp{number}" for number in range(1250, 1259)),
    *(f"iso8859_{number}" for number in (2, 4, 5, 6, 7, 8, 9, 13, 15, 16)),
}
_SEVERAL = {
    "big5",
    "cp950",
    "cp949",
    "euc_kr",
    "cp932",
    "shift_jis",
    "euc_jp",
    "iso2022_jp",
    "gb2312",
    "gbk",
    "gb18030",
}
_LEAST = 0.02  # by which the shares of improbable characters of two guesses differ, if the difference tells anything
_JAPANESE = re.compile(rb"\x1b\$[@B]")  # where ISO-2022-JP goes over to its characters of two bytes
_CONTROLS = bytes({*range(32)} - {*b"\t\n\r\f\x1b"})
_FEW = 0.05  # share of control characters in a text
_BLOCK = 1 << 20
_SAMPLE = 1 << 16  # bytes that a guess is made from


@dataclass(frozen=True)
class Encoding:
    """How a file's bytes are read.

    Attributes:
        name: a codec of Python.
        confidence: of a guess, from CONFIDENCE to 1; None: it was not guessed.
        rival: another encoding that is nearly as probable, by which the file says something else; empty: there is none.
        broken: bytes here and there are none of this encoding; only what is read row by row can go without them.
    """

    name: str
    confidence: float | None = None
    broken: bool = False
    rival: str = ""

    @property
    def in_words(self) -> str:
        """A guess, for people."""
        return f"{self.name}, confidence {self.confidence:.2f}{self.rival and f', or else {self.rival}'}"


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
    if wide := _wide(start):
        return Encoding(wide, confidence=1.0, broken=_flaw(opened, wide, is_cut) is not None)
    flaw = _flaw(opened, "utf-8", is_cut)
    if flaw is None and _JAPANESE.search(start) and _flaw(opened, "iso2022_jp", is_cut) is None:
        return Encoding("iso2022_jp", confidence=1.0)
    if len(start.translate(None, _CONTROLS)) < (1 - _FEW) * len(start):
        return None  # wide characters without a mark, or no text
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
        found = from_bytes(file.read(_SAMPLE))
    matches = [match for match in found if match.encoding in _SINGLE | _SEVERAL and 1 - match.chaos >= CONFIDENCE]
    if not matches:
        return None
    best = matches[0]
    if best.encoding in _SINGLE:
        return _single([match for match in matches if match.encoding in _SINGLE])
    # Without a language that it recognises, several encodings are as good, and they say different things.
    return Encoding(best.encoding, round(1 - best.chaos, 2)) if best.coherence or len(found) == 1 else None


def _single(matches: list[Any]) -> Encoding | None:
    """Which of several encodings of one byte a character makes words of a file's bytes; None if several do.

    The usual one, if it is among these, is taken all the same, and the other named.
    """
    shares = {match.encoding: max(match.chaos, improbable(str(match))) for match in matches}
    least = min(shares.values(), default=1.0)
    if 1 - least < CONFIDENCE:
        return None
    fitting = [match for match in matches if shares[match.encoding] <= least + _LEAST]
    language = max(match.coherence for match in fitting)
    fitting = [match for match in fitting if match.coherence >= language - 0.1]
    chosen = next((match for match in fitting if match.encoding == _USUAL), fitting[0])
    rival = next((match.encoding for match in fitting if str(match) != str(chosen)), "")
    if not language or (rival and chosen.encoding != _USUAL):
        return None
    return Encoding(chosen.encoding, round(1 - shares[chosen.encoding], 2), rival=rival)


def _broken(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(BROKEN, _broken)
