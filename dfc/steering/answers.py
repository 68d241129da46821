"""What models answer, as far as it came: plain values without torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Piece:
    """What came next in one continuation: whole characters, and the tokens that made them; text may be empty.

    While nothing comes, a piece without tokens comes every fifth of a second, so that its reader can stop;
    `waiting`: because somebody else is using the model. `ended`: the model ended this continuation.
    """

    row: int
    text: str
    tokens: tuple[int, ...]
    waiting: bool = False
    ended: bool = False


@dataclass
class Answer:
    """One continuation as far as it came, without the token that ended it."""

    text: str = ""
    tokens: list[int] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Take in what came next."""
        self.text += piece.text
        self.tokens += piece.tokens
