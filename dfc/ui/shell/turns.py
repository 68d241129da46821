"""Turns of a chat as pages hold them: (role, text), packed into one parameter of the address."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote

from dfc.config import UserError
from dfc.corpus import encodable
from dfc.requests import Turn

Turns = tuple[tuple[str, str], ...]

ROLES = ("user", "assistant", "system")
LONGEST = 4_000
"""Characters that a text may take in the address; browsers and proxies cut longer ones."""


def pack(turns: Turns) -> str:
    """Turns as one parameter."""
    return json.dumps(turns)


def unpack(text: str) -> Turns:
    """What `pack` made.

    Raises:
        UserError: if it is anything else.
    """
    try:
        turns = tuple((role, said) for role, said in json.loads(text))
    except (ValueError, TypeError, RecursionError):
        turns = ()
    if not turns or not all(role in ROLES and isinstance(said, str) for role, said in turns):
        raise UserError("The chat in the address cannot be read; open the page without it and type it again.")
    return tuple((role, encodable(said)) for role, said in turns)


def as_corpus(turns: Turns) -> tuple[Turn, ...]:
    """The same as the library has them."""
    return tuple(Turn(role, said) for role, said in turns)


def of_corpus(turns: Iterable[Turn]) -> Turns:
    """The same the other way."""
    return tuple((turn.role, turn.content) for turn in turns)


def fits(packed: str) -> bool:
    """Whether a parameter is short enough for the address."""
    return len(quote(packed)) <= LONGEST


def next_role(turns: Turns) -> str:
    """Who speaks next: whoever did not speak last."""
    return "assistant" if turns and turns[-1][0] == "user" else "user"
