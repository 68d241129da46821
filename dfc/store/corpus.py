"""Look into a run's corpus.parquet, which holds the documents that the store keeps no contexts of, too."""

from __future__ import annotations

from pathlib import Path

import duckdb

from dfc.store import errors
from dfc.store.query import BETWEEN, folded


def holding(path: Path, text: str) -> int | None:
    """The first document that holds a text, whatever its case; none if there is none, or no corpus any more.

    Args:
        path: of corpus.parquet.
        text: that is looked for, within one turn.

    Raises:
        UserError: if the file cannot be read.
    """
    if not path.exists():
        return None
    contents = folded(f"array_to_string(contents, '{BETWEEN}')")
    try:
        with duckdb.connect() as connection:
            row = connection.execute(
                f"SELECT document FROM read_parquet(?) WHERE contains({contents}, {folded('?')}) LIMIT 1",
                [str(path), text],
            ).fetchone()
    except duckdb.Error as error:
        again = f"delete {path.parent / 'activations'} and make both again with `python -m dfc harvest {path.parent}`"
        raise errors.explained(error, path, "a readable corpus", again) from None
    return None if row is None else int(row[0])
