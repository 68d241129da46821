"""What an interrupted index has left is used again, and only for what it was made for."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dfc.config import UserError
from dfc.crosscoder import model as crosscoder_model
from dfc.features.unfinished import Unfinished
from dfc.machine import disk
from dfc.runs import Run


def refuse() -> pa.Table:
    raise AssertionError("it is there already")


@pytest.mark.parametrize("change", ["weights", "settings", "nothing"])
def test_tables_of_something_else_are_not_used(tiny_copy: Run, change: str) -> None:
    first, second = pa.table({"x": [1]}), pa.table({"x": [2]})
    assert Unfinished(tiny_copy).table("made", lambda: first) == first
    if change == "weights":
        crosscoder = crosscoder_model.load(tiny_copy.crosscoder)
        crosscoder.parts[0].decoder_weight.data *= 1.01
        crosscoder_model.save(crosscoder, tiny_copy.crosscoder)
    elif change == "settings":
        text = (tiny_copy.path / "run.yaml").read_text()
        disk.write_text(tiny_copy.path / "run.yaml", text.replace("logit_tokens: 5", "logit_tokens: 4"))
    again = Unfinished(tiny_copy)
    if change == "nothing":
        assert again.table("made", refuse) == first
    else:
        assert again.table("made", lambda: second) == second
    again.discard()
    assert not again.folder.exists()


def test_a_damaged_table_is_named(tiny_copy: Run) -> None:
    unfinished = Unfinished(tiny_copy)
    unfinished.table("made", lambda: pa.table({"x": [1]}))
    (unfinished.folder / "made.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"made\.parquet: is damaged .*delete .*index\.part and run"):
        unfinished.table("made", refuse)
