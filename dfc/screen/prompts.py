"""Sets of prompts to contrast: those that ship, one's own files, and what was typed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from dfc import corpus
from dfc.config import UserError
from dfc.corpus import PLAIN, Document
from dfc.steering import prompt_sets

LONGEST = 1_000_000
"""Characters of a prompt; of what is shorter, the models read as much as they take."""
LEAST = 2
"""Prompts of a set, for there to be any spread among them."""
_SEED = 0  # of which are drawn, where not all are


@dataclass(frozen=True)
class PromptSet:
    """Prompts under a name.

    Attributes:
        name: as people gave it.
        documents: plain texts, and chats up to their last user's turn, or whole where they are to be read `answered`;
            each once.
        remarks: sentences about what was left out, or read otherwise than it stands there.
    """

    name: str
    documents: tuple[Document, ...]
    remarks: tuple[str, ...] = ()


def read(name_or_path: str, answered: bool = False, limit: int | None = None, split: str = "train") -> PromptSet:
    """A set that ships, or whatever a corpus's source may be.

    Args:
        name_or_path: as of `prompt_sets.read`.
        answered: whether chats are read with what was answered to the last user's turn.
        limit: so many at most, drawn at random.
        split: of a dataset that has any.

    Raises:
        UserError: if there are no two prompts.
    """
    path = prompt_sets.path_of(name_or_path)
    documents, remarks = corpus.read_prompts(
        path,
        (lambda document: document) if answered else lambda document: document.up_to_the_last(("user", PLAIN)),
        LONGEST,
        seed=None if limit is None else _SEED,
        limit=limit,
        split=split,
        answered=answered,
    )
    if len(documents) == limit:
        remarks = [*remarks, f"{path}: {limit} prompts, drawn at random"]
    return _enough(PromptSet(name_or_path, tuple(documents), tuple(one.removeprefix(f"{path}: ") for one in remarks)))


def uploaded(name: str, content: bytes, answered: bool = False, limit: int | None = None) -> PromptSet:
    """The same of a file's content; its name says what kind of file it is.

    Raises:
        UserError: as `read` does.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"prompts{''.join(Path(name).suffixes[-2:])}"
        path.write_bytes(content)
        try:
            found = read(str(path), answered, limit)
        except UserError as error:
            raise UserError(str(error).replace(str(path), path.name).replace(path.name, name)) from None
    return PromptSet(name, found.documents, tuple(one.replace(path.name, name) for one in found.remarks))


def typed(name: str, text: str) -> PromptSet:
    """Plain texts, one a line.

    Raises:
        UserError: if there are no two.
    """
    lines = [line for line in map(corpus.clean, text.splitlines()) if line]
    once = dict.fromkeys(lines)
    twice = (f"left out {len(lines) - len(once)} duplicates",) if len(lines) > len(once) else ()
    return _enough(PromptSet(name, tuple(corpus.plain(line, "prompts") for line in once), twice))


def _enough(prompts: PromptSet) -> PromptSet:
    if len(prompts.documents) < LEAST:
        raise UserError(
            f"{prompts.name}: holds {len(prompts.documents)} of the prompts that a contrast needs, at least {LEAST}; "
            "twenty or more of each set are a good beginning. Each row of JSONL, CSV or Parquet is a prompt, a file of "
            "plain text is one as a whole."
        )
    return prompts
