"""Files: of which kinds they are, compressed or not, and their bytes and lines."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from dfc.corpus import encodings
from dfc.corpus.encodings import Encoding

KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather", ".txt", ".text", ".md")
COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
HELD = (".jsonl", ".ndjson", ".json", ".csv", ".tsv")  # of many rows, held whole to be shuffled if they are small
HELD_BYTES = 512 * 2**20
_PACKED = 8  # how many times as large a compressed file is taken to be
_ESCAPED = re.compile("[\udc80-\udcff]")  # what stands for a byte that is no character


def kind_of(file: Path) -> str:
    """Which of KINDS a file is, by the end of its name, in small letters and without that of its compression."""
    name = file.with_suffix("") if file.suffix.lower() in COMPRESSED else file
    return name.suffix.lower()


def size_of(file: Path) -> int:
    """Bytes that a file holds, about."""
    return file.stat().st_size * (_PACKED if file.suffix.lower() in COMPRESSED else 1)


def opened(file: Path) -> IO[bytes]:
    """What a file holds, without its compression."""
    codec = COMPRESSED.get(file.suffix.lower())
    if codec is None:
        return file.open("rb")
    return io.BufferedReader(pa.CompressedInputStream(pa.OSFile(str(file)), codec), 1 << 20)


@contextmanager
def lines(file: Path, encoding: Encoding, newline: str | None = None) -> Iterator[io.TextIOWrapper]:
    """Lines of a file; where it is broken, a lone surrogate stands for what is no character."""
    errors = encodings.BROKEN if encoding.broken else "strict"
    with ExitStack() as stack:
        packed = stack.enter_context(closing(opened(file)))
        name = "utf-8-sig" if encoding.name == "utf-8" else encoding.name
        yield stack.enter_context(io.TextIOWrapper(packed, name, errors, newline))


def is_broken(row: Any) -> bool:
    """Whether a row holds bytes that are no characters."""
    if isinstance(row, str):
        return bool(_ESCAPED.search(row))
    inner = row.values() if isinstance(row, dict) else row if isinstance(row, list) else ()
    return any(map(is_broken, inner))
