"""Which letters a language writes with: what tells encodings of one byte a character apart, which make letters of any.

Libraries guess by how often letters stand in a text, and see too few of those that make the difference: KOI8-R read as
CP1251 is Cyrillic with small and capital letters exchanged, and č for è is a letter, too.
"""

from __future__ import annotations

import re
from itertools import pairwise

_LATIN = (
    "äöüß",
    "àâæçéèêëîïôœùûüÿ",
    "áéíñóúüçïàèò",
    "ãõáéíóúâêôàçü",
    "àèéìòùî",
    "áéëïóöüè",
    "åäöé",
    "æøåéóòàè",
    "ąćęłńóśźż",
    "áčďéěíňóřšťúůýžľĺŕôä",
    "áéíóöőúüű",
    "ăâîșțşţ",
    "çğıiöşüâî",
    "čćđšž",
    "äöõüšž",
    "āčēģīķļņšūž",
    "ąčęėįšųūž",
    "áðéíóúýþæö",
)
_CYRILLIC = (
    "абвгдежзийклмнопрстуфхцчшщъыьэюяё",
    "абвгґдеєжзиіїйклмнопрстуфхцчшщьюя",
    "абвгдежзијклљмнњопрстћђуфхцчџш",
    "абвгдеёжзійклмнопрстуўфхцчшыьэюя",
)
_SIGNS = set("«»“”„‘’‚–—…°§€£©®™·•¡¿ºª№×÷±²³½¼¾¢¥†‡‰‹›´`\xa0\xad")
_WORD, _BEYOND = re.compile(r"\w+"), re.compile(r"[^\x00-\x7f]")
_SIGN_IN_WORD = re.compile(r"(?<=[^\W\d_])[^\w\s\u2019\x00-\x7f\xad](?=[^\W\d_])")


def improbable(text: str) -> float:
    """The share, of all characters beyond ASCII, of those that no one language would have where they stand."""
    beyond = _BEYOND.findall(text)
    letters = [character for character in beyond if character.isalpha()]
    amiss = sum(not character.isalpha() and character not in _SIGNS for character in beyond)
    amiss += len(_SIGN_IN_WORD.findall(text))
    for word in _WORD.findall(text):
        if not word.isascii():
            amiss += sum(
                before.islower() and after.isupper() and not (before + after).isascii()
                for before, after in pairwise(word)
            )
    for alphabets, first, last in ((_LATIN, "\x80", "\u024f"), (_CYRILLIC, "\u0400", "\u04ff")):
        own = [letter for letter in letters if first <= letter <= last]
        if own:
            amiss += min(sum(letter.lower()[0] not in alphabet for letter in own) for alphabet in alphabets)
    return min(amiss / len(beyond), 1.0) if beyond else 0.0
