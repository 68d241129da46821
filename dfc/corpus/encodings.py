"""In which encoding a file is: its byte order mark, else UTF-8, else a library's guess, else it is left out."""

from __future__ import annotations

import codecs
import io
import re
import zlib
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
_MANY = 16, 0.2  # control characters, and their share, from which on it is no text: half of UTF-16 are such bytes
_BLOCK = 1 << 20
_SAMPLE = 1 << 16  # bytes that a language is recognised by
_WORDS = 5_000  # distinct words beyond ASCII, by which encodings of one byte a character are told apart


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
    controls = len(start) - len(start.translate(None, _CONTROLS))
    if controls >= _MANY[0] and controls >= _MANY[1] * len(start):
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
    """What charset-normalizer takes the bytes around the first that is not UTF-8 for, if it is sure enough.

    Of encodings of one byte a character, words of the whole file tell which it is.
    """
    from charset_normalizer import from_bytes

    with closing(opened()) as file:
        file.read(max(0, at - _SAMPLE // 4))
        found = from_bytes(file.read(_SAMPLE))
    matches = [match for match in found if match.encoding in _SINGLE | _SEVERAL and 1 - match.chaos >= CONFIDENCE]
    if not matches:
        return None
    best = matches[0]
    if best.encoding in _SINGLE:
        return _single(matches, _words(opened))
    # Without a language that it recognises, several encodings are as good, and they say different things.
    return Encoding(best.encoding, round(1 - best.chaos, 2)) if best.coherence or len(found) == 1 else None


def _words(opened: Callable[[], IO[bytes]]) -> bytes:
    """Distinct words of a file that are not ASCII; of very many, some from all over it."""
    words, every, rest = set[bytes](), 1, b""
    with closing(opened()) as file:
        while block := file.read(_BLOCK):
            whole = (rest + block).split()
            rest = b"" if block[-1:].isspace() or not whole else whole.pop()
            for word in whole:
                if not word.isascii() and not zlib.crc32(word) % every:
                    words.add(word)
            while len(words) > _WORDS:
                every *= 2
                words = {word for word in words if not zlib.crc32(word) % every}
    return b" ".join(sorted(words if rest.isascii() else {*words, rest}))


def _single(matches: list[Any], words: bytes) -> Encoding | None:
    """Which of several encodings of one byte a character makes words of a file's bytes; None if several do.

    The usual one, if it is among these, is taken all the same, and the other named.
    """
    read: dict[str, str] = {}
    shares: dict[str, float] = {}
    languages: dict[str, float] = {}
    for match in matches:
        for name in _SINGLE.intersection(match.could_be_from_charset):  # those that read the sample alike
            try:
                read[name] = words.decode(name)
            except UnicodeDecodeError:
                continue
            shares[name], languages[name] = max(match.chaos, improbable(read[name])), match.coherence
    least = min(shares.values(), default=1.0)
    if 1 - least < CONFIDENCE:
        return None
    fitting = [name for name in shares if shares[name] <= least + _LEAST]
    language = max(languages[name] for name in fitting)
    fitting = sorted(name for name in fitting if languages[name] >= language - 0.1)
    chosen = _USUAL if _USUAL in fitting else fitting[0]
    rival = next((name for name in fitting if read[name] != read[chosen]), "")
    if not language or (rival and chosen != _USUAL):
        return None
    return Encoding(chosen, round(1 - shares[chosen], 2), rival=rival)


def _broken(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(BROKEN, _broken)
