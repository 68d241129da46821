"""What an index that is not finished keeps: results that are not made twice, and files that it works with.

index.part/
    key.json            hashes of the crosscoder and the settings that these belong to
    logits_a.parquet    a result
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

from dfc.crosscoder import model as crosscoder_model
from dfc.machine import disk
from dfc.runs import Run


class Unfinished:
    """Tables of a run that an interrupted index has left; those of another crosscoder or other settings are discarded.

    Attributes:
        folder: where they lie.
    """

    def __init__(self, run: Run) -> None:
        self.folder = run.path / "index.part"
        config = run.config()
        key = {
            "crosscoder": crosscoder_model.digest(run.crosscoder),
            "index": config.index.deciding(),
            "models": config.models.deciding(),
        }
        path, content = self.folder / "key.json", json.dumps(key, indent=1)
        if self.folder.exists() and not (path.exists() and path.read_text(errors="replace") == content):
            self.discard()
        disk.write_text(path, content)

    def table(self, name: str, make: Callable[[], pa.Table]) -> pa.Table:
        """A table that is made at most once.

        Raises:
            UserError: if its file is damaged.
        """
        path = self.folder / f"{name}.parquet"
        if not path.exists():
            with disk.replacing(path) as temporary:
                pq.write_table(make(), temporary, compression="zstd")
        with disk.reading(path, f"delete {self.folder} and run `python -m dfc index {self.folder.parent}` again"):
            return pq.read_table(path)

    def discard(self) -> None:
        """Remove everything; the key first, so that what a crash leaves of it is never used."""
        (self.folder / "key.json").unlink(missing_ok=True)
        shutil.rmtree(self.folder)
