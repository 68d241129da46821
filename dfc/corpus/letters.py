"""Which letters a language writes with: what tells encodings of one byte a character apart, which make letters of any.

Libraries guess by how often letters stand in a text, and see too few of those that make the difference: KOI8-R read as
CP1251 is Cyrillic with small and capital letters exchanged, and č for è is a letter, too.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import combinations, pairwise

_WESTERN = (  # which Windows-1252 is for; files hold several of these languages
    "äöüß",
    "àâæçéèêëîïôœùûüÿ",
    "áéíñóúüçïàèò",
    "ãõáéíóúâêôàçü",
    "àèéìòùî",
    "áéëïóöüè",
    "åäöé",
    "æøåéóòàè",
)
_LATIN = (
    *_WESTERN,
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
_MIXED = [*((alphabet, alphabet) for alphabet in _LATIN), *combinations(_WESTERN, 2)]
_SIGNS = set("«»“”„‘’‚–—…°§€£©®™·•¡¿ºª№×÷±²³½¼¾¢¥†‡‰‹›´`\xa0\xad")
_WORD, _BEYOND = re.compile(r"\w+"), re.compile(r"[^\x00-\x7f]")
_SIGN_IN_WORD = re.compile(r"(?<=[^\W\d_])[^\w\s\u2019\x00-\x7f\xad](?=[^\W\d_])")


def improbable(text: str) -> float:
    """The share, of all characters beyond ASCII, of those that no one language would have where they stand.

    Two of the west may stand together, each word in one of them.
    """
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
    cyrillic = [letter for letter in letters if "\u0400" <= letter <= "\u04ff"]
    amiss += min(sum(letter.lower()[0] not in alphabet for letter in cyrillic) for alphabet in _CYRILLIC)
    latin = Counter(
        "".join(letter.lower()[0] for letter in word if "\x80" <= letter <= "\u024f" and letter.isalpha())
        for word in _WORD.findall(text)
    )
    amiss += min(
        sum(count * min(_beyond(word, one), _beyond(word, other)) for word, count in latin.items())
        for one, other in _MIXED
    )
    return min(amiss / len(beyond), 1.0) if beyond else 0.0


def _beyond(letters: str, alphabet: str) -> int:
    return sum(letter not in alphabet for letter in letters)
