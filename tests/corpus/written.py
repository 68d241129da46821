"""Corpora that tests write, and what is read from them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from dfc import corpus
from dfc.config import CorpusConfig
from dfc.corpus import Document, Tally


def read(config: CorpusConfig, name: str = "s") -> list[Document]:
    return list(corpus.open_sources(config)[name].documents)


def said(config: CorpusConfig) -> list[str]:
    """Each document as `role: content | role: content`, sorted."""
    return sorted(" | ".join(f"{turn.role}: {turn.content}" for turn in document.turns) for document in read(config))


def counted(config: CorpusConfig) -> dict[str, Tally]:
    """What each source left out, all of them drawn one after another."""
    sources = corpus.open_sources(config)
    for opened in sources.values():
        list(opened.documents)
    return {name: opened.left_out for name, opened in sources.items()}


def source(path: Path, **changes: object) -> CorpusConfig:
    return CorpusConfig.model_validate({"sources": [{"name": "s", "path": str(path), **changes}]})


def write(path: Path, rows: list[object]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


CHAT = [{"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "Yes"}]


CHAT_SAID = "user: Rain? | assistant: Yes"


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as handle:
        writer = csv.DictWriter(handle, fieldnames=sorted({name for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)


FORMATS: dict[str, Callable[[Path, list[dict[str, Any]]], object]] = {
    "s.jsonl": lambda path, rows: write(path, list(rows)),
    "s.json": lambda path, rows: path.write_text(json.dumps(rows, indent=1)),
    "lines.json": lambda path, rows: write(path, list(rows)),
    "s.CSV": write_csv,
    "s.parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(rows), path),
    "saved": lambda path, rows: datasets.Dataset.from_list(rows).save_to_disk(path),
}
