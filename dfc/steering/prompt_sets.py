"""Prompts to steer on: the sets that ship, and one's own.

Those in data/prompts are chats of the demo's corpus, too, of which the first user's turn is asked; those in
data/prompts/steering are for steering alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dfc import corpus
from dfc.config import UserError, shipped

OPEN = ("What's on your mind?", "What do you want to talk about?", "Tell me something")
"""The open prompts of arXiv 2602.11729 (exclusivity score), which are also the set `open`."""


def names() -> list[str]:
    """Names of the sets that ship, those for steering alone first."""
    return [
        path.stem
        for folder in (shipped.PROMPTS / "steering", shipped.PROMPTS)
        for path in sorted(folder.glob("*.jsonl"))
    ]


def read(name_or_path: str, limit: int | None = None) -> list[str]:
    """Prompts of a set that ships, or of one's own JSONL file, in its order, each once.

    Args:
        name_or_path: a name as `names` gives it, or a file; each line a string, or an object with `prompt`, `text` or
            `messages`.
        limit: so many at most.

    Raises:
        UserError: naming the sets there are, or the first line that cannot be used.
    """
    known = {path.stem: path for path in shipped.PROMPTS.glob("**/*.jsonl")}
    path = known.get(name_or_path, Path(name_or_path))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise UserError(
            f"{name_or_path}: is neither a set of prompts ({', '.join(names())}) nor a JSONL file that can be read."
        ) from None
    prompts: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            prompts[_prompt(line, f"{path}, line {number}")] = None
        if len(prompts) == limit:
            break
    if not prompts:
        raise UserError(f"{path}: holds no prompt; give a JSON string or an object with `prompt` on each line.")
    return list(prompts)


def _prompt(line: str, place: str) -> str:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError:
        row = None
    said = row
    if isinstance(row, dict):
        said = row.get("prompt", row.get("text", _first_user_turn(row.get("messages"))))
    if not isinstance(said, str) or not said.strip():
        raise UserError(f"{place}: is no prompt; give a JSON string, or an object with `prompt`, `text` or `messages`.")
    return corpus.clean(said)


def _first_user_turn(messages: Any) -> Any:
    if not isinstance(messages, list):
        return None
    return next(
        (turn.get("content") for turn in messages if isinstance(turn, dict) and turn.get("role") == "user"), None
    )
