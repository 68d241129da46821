"""Work in a thread of its own."""

from __future__ import annotations

import threading

import pytest

from dfc.config import UserError
from dfc.machine import devices


def test_work_apart_gives_what_it_gives_and_leaves_no_thread() -> None:
    seen: list[threading.Thread] = []

    @devices.apart
    def divide(number: int, by: int = 1) -> float:
        """Divide."""
        seen.append(threading.current_thread())
        if by == 0:
            raise UserError("by nothing")
        return number / by

    assert divide(6, by=4) == 1.5
    assert divide.__doc__ == "Divide."
    with pytest.raises(UserError, match="by nothing"):
        divide(6, by=0)
    assert threading.current_thread() not in seen
    assert not any(thread.is_alive() for thread in seen)
