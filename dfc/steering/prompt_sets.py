"""Prompts to steer on: the sets that ship, and one's own.

Those in data/prompts are chats of the demo's corpus, too, of which the first user's turn is asked; those in
data/prompts/steering are for steering alone.
"""

from __future__ import annotations

import os

from dfc import corpus
from dfc.config import UserError, shipped
from dfc.corpus import Document
from dfc.machine import progress

OPEN = ("What's on your mind?", "What do you want to talk about?", "Tell me something")
"""The open prompts of arXiv 2602.11729 (exclusivity score), which are also the set `open`."""
_LONGEST = 1_000_000  # characters of a prompt


def names() -> list[str]:
    """Names of the sets that ship, those for steering alone first."""
    return [
        path.stem
        for folder in (shipped.PROMPTS / "steering", shipped.PROMPTS)
        for path in sorted(folder.glob("*.jsonl"))
    ]


def read(name_or_path: str, limit: int | None = None, split: str = "train") -> list[str]:
    """Prompts of a set that ships, or of one's own, in their order, each once; what is left out is said.

    Args:
        name_or_path: a name as `names` gives it, or whatever a corpus's source may be: texts, objects with `prompt`, or
            chats, of which the first user's turn is asked.
        limit: so many at most.
        split: of a dataset that has any.

    Raises:
        UserError: naming the sets there are, or what was found in place of prompts.
    """
    path = path_of(name_or_path)
    prompts, remarks = corpus.read_prompts(path, _asked, _LONGEST, limit=limit, split=split)
    for remark in remarks:
        progress.say(remark)
    return prompts


def path_of(name_or_path: str) -> str:
    """Where the prompts of a name or a path lie: a file, a glob, a folder, or the id of a dataset.

    Raises:
        UserError: naming the sets there are.
    """
    known = {path.stem: str(path) for path in shipped.PROMPTS.glob("**/*.jsonl")}
    path = known.get(name_or_path, name_or_path)
    if not os.path.exists(os.path.expanduser(path)) and not corpus.may_be_file(path) and "/" not in path:
        raise UserError(f"{name_or_path}: is neither a set of prompts ({', '.join(names())}) nor a file or a dataset.")
    return path


def _asked(document: Document) -> str | None:
    return next((turn.content for turn in document.turns if turn.role in ("user", corpus.PLAIN)), None)
