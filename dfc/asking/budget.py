"""How much may be asked: requests and tokens, counted before anything is sent, so that no answer goes beyond."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from dfc.config import UserError


class SpentError(UserError):
    """Another request might take more than is left of the budget."""


@dataclass
class Budget:
    """What is left of a number of requests and tokens; several threads may share it.

    Before a request is sent, the most that it may take is set aside; afterwards what it did not take comes back.

    Attributes:
        most_requests, most_tokens: None: any number.
        requests: that were sent, those asked again because an endpoint was busy among them.
        tokens: of prompts and answers, as endpoints count them; of a request of which nothing is known, the most that
            it may have taken. With what is set aside it never exceeds `most_tokens`, unless an endpoint reports more
            than it was allowed to answer: then nothing more is sent.
    """

    most_requests: int | None = None
    most_tokens: int | None = None
    requests: int = 0
    tokens: int = 0
    _aside: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, most: int) -> None:
        """Set a request aside that may take so many tokens.

        Raises:
            SpentError: if there is less left.
        """
        with self._lock:
            if self.most_requests is not None and self.requests >= self.most_requests:
                raise SpentError(f"the budget of {self.most_requests:,} requests is spent")
            if self.most_tokens is not None and self.tokens + self._aside + most > self.most_tokens:
                raise SpentError(
                    f"the next request may take {most:,} tokens, and of the budget of {self.most_tokens:,} "
                    f"{max(0, self.most_tokens - self.tokens - self._aside):,} are left"
                )
            self.requests += 1
            self._aside += most

    def give_back(self, most: int, used: int | None) -> None:
        """Count what a request took that `most` was set aside for; None: that is not known."""
        with self._lock:
            self._aside -= most
            self.tokens += most if used is None else used
