"""What tokens are called, one by one, so that different ones are told apart.

A token is decoded behind another one, since some tokenizers drop the space that begins a text. Bytes that are no whole
character are written as `\\xe4\\xb8`, and what a tokenizer cannot decode as its number, `<151700>`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

_BYTES = {letter: byte for byte, letter in bytes_to_unicode().items()}  # as byte-level vocabularies spell them
_BYTE = re.compile("<0x[0-9A-F]{2}>")  # as others do
_TRIED = 5_000  # tokens, until one is found that is a word


def token_names(tokenizer: PreTrainedTokenizerBase, count: int, tokens: Iterable[int] | None = None) -> list[str]:
    """Names of some tokens, by default of all from 0 to `count` - 1, which are those that there are."""
    decode = partial(_decoded, partial(tokenizer.decode, clean_up_tokenization_spaces=False))
    before = next(islice((token for token in range(min(count, _TRIED)) if _is_word(decode, token)), 1), None)
    head = "" if before is None else decode([before]) or ""
    names = []
    for token in range(count) if tokens is None else tokens:
        whole = decode([token] if before is None else [before, token])
        name = whole[len(head) :] if whole is not None and whole.startswith(head) else decode([token])
        spelled = _spelled(tokenizer, token) if not name or "\ufffd" in name or len(name) == 1 else None
        clear = name and "\ufffd" not in name and not (spelled and _BYTE.fullmatch(spelled))
        names.append(name if name and clear else spelled or name or f"<{token}>")
    return names


def _decoded(decode: Callable[[list[int]], str], ids: list[int]) -> str | None:
    try:
        return decode(ids)
    except Exception:  # tokenizers in Python raise what they like on numbers that they do not use
        return None


def _is_word(decode: Callable[[list[int]], str | None], token: int) -> bool:
    """Whether a token is a word that stays itself before another."""
    text = decode([token])
    return text is not None and text.isascii() and text.isalpha() and (decode([token, token]) or "").startswith(text)


def _spelled(tokenizer: PreTrainedTokenizerBase, token: int) -> str | None:
    """A token as its vocabulary spells it, bytes as hexadecimal numbers; None if it is not in it."""
    try:
        piece: str | Sequence[str] | None = tokenizer.convert_ids_to_tokens(token)
    except Exception:  # likewise
        return None
    if not isinstance(piece, str) or not piece:
        return None
    if all(letter in _BYTES for letter in piece):
        return bytes(_BYTES[letter] for letter in piece).decode("utf-8", errors="backslashreplace")
    return piece
