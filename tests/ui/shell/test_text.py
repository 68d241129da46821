"""Words for people."""

from __future__ import annotations

import pytest

from dfc.config import UserError
from dfc.ui.shell.text import failure


def test_what_can_be_mended_says_so_and_anything_else_is_named_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert failure(UserError("the prompt is empty; type one."), "It failed") == "The prompt is empty; type one."
    assert not caplog.records
    assert failure(RuntimeError("boom"), "It failed") == "It failed: RuntimeError: boom"
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["boom"]
