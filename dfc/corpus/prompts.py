"""What is asked of models: read as a corpus is, from whatever one may be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from dfc.config import UserError
from dfc.corpus import sources
from dfc.corpus.documents import Document
from dfc.corpus.splits import DEFAULT
from dfc.corpus.tally import Asked, Tally, Unusable

T = TypeVar("T")


def read_prompts(
    path: str,
    ask: Callable[[Document], T | None],
    characters: int,
    *,
    seed: int | None = None,
    limit: int | None = None,
    split: str = DEFAULT,
    answered: bool = False,
) -> tuple[list[T], list[str]]:
    """What is asked, each once, and sentences about what was left out or read otherwise than it stands there.

    Of rows with a `prompt`, no `response` is needed; it is read if the prompts are to be `answered`.

    Args:
        path: what a corpus's source may be.
        ask: makes a prompt of a document; None, if nothing is asked in it.
        characters: to which documents are cut.
        seed: of their order; None: as they stand there.
        limit: so many at most.
        split: of a dataset that has any.
        answered: whether what was answered is read, too.

    Raises:
        UserError: if there is nothing at the path, or nothing in it that can be asked.
    """
    source = Asked(name="prompts", path=path, split=split)
    if not answered:
        source = source.model_copy(update={"response": source.prompt})  # which means: without one
    left_out, noted = Tally(), Tally()
    prompts: dict[T, None] = {}
    for place, document in sources.in_order(source, characters, seed, noted):
        asked = None if isinstance(document, Unusable) else ask(document)
        if isinstance(document, Unusable):
            left_out.add(document.reason, place, document.found)
        elif asked is None:
            left_out.add("unasked", place)
        elif asked in prompts:
            left_out.add("duplicate", place)
        else:
            prompts[asked] = None
        if len(prompts) == limit:
            break
    if not prompts:
        found = left_out.in_words(source) or "no rows"
        raise UserError(
            f"{path}: holds no prompt: {found}; give texts, objects with `prompt`, or chats with a user's turn."
        )
    said = [("left out ", left_out), ("", noted)]
    return list(prompts), [f"{path}: {first}{words}" for first, tally in said if (words := tally.in_words(source))]
