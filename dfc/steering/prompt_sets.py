"""Prompts to steer on: the sets that ship, and one's own.

Those in data/prompts are chats of the demo's corpus, too, of which the first user's turn is asked; those in
data/prompts/steering are for steering alone.
"""

from __future__ import annotations

from pathlib import Path

from dfc import corpus
from dfc.config import SourceConfig, UserError, shipped
from dfc.corpus import Document, Unusable

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


def read(name_or_path: str, limit: int | None = None) -> list[str]:
    """Prompts of a set that ships, or of one's own file, in its order, each once.

    Args:
        name_or_path: a name as `names` gives it, or a file of any format that a corpus may have: texts, objects with
            `prompt`, or chats, of which the first user's turn is asked.
        limit: so many at most.

    Raises:
        UserError: naming the sets there are, or the first row that cannot be used.
    """
    known = {path.stem: path for path in shipped.PROMPTS.glob("**/*.jsonl")}
    path = known.get(name_or_path, Path(name_or_path).expanduser())
    if not path.is_file():
        raise UserError(f"{name_or_path}: is neither a set of prompts ({', '.join(names())}) nor a file.")
    source = SourceConfig(name="prompts", path=str(path), prompt="prompt", response="prompt")
    prompts: dict[str, None] = {}
    for place, document in corpus.in_order(source, _LONGEST):
        asked = None
        if isinstance(document, Document):
            asked = next((turn.content for turn in document.turns if turn.role in ("user", corpus.PLAIN)), None)
        if asked is None:
            found = document.found if isinstance(document, Unusable) and document.found else "nothing is asked"
            raise UserError(
                f"{path.parent / place}: is no prompt ({found}); give a JSON string, or an object with `prompt`, "
                f"`text` or `messages`."
            )
        prompts[asked] = None
        if len(prompts) == limit:
            break
    if not prompts:
        raise UserError(f"{path}: holds no prompt; give a JSON string or an object with `prompt` on each line.")
    return list(prompts)
