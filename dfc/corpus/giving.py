"""Documents as one model is given them, and a count of what it is given otherwise than it stands there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dfc.config import UserError
from dfc.corpus.documents import Document
from dfc.corpus.tally import Tally
from dfc.corpus.template import Rendering, render
from dfc.corpus.tokens import Encoding, encode

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def give(
    documents: Sequence[tuple[str, Document]],
    tokenizer: PreTrainedTokenizerBase,
    noted: Tally,
    *,
    answer: bool = False,
    moment: datetime | None = None,
    max_tokens: int | None = None,
) -> tuple[list[Rendering], list[Encoding]]:
    """What a model is given of documents: nothing, of a chat that its template refuses.

    Args:
        documents: each with its place, as people are told it.
        tokenizer: with the model's template.
        noted: grows by what is given otherwise.
        answer: whether what introduces the assistant's next turn is added.
        moment: the time that a template is told that asks for it; now, if there is none.
        max_tokens: that are kept of each document, the first.
    """
    given = []
    for place, document in documents:
        try:
            given.append(render(document, tokenizer, answer, moment))
        except UserError as error:
            noted.add("refused", place, error.problem)
            given.append(Rendering("", (), add_special_tokens=False))
    encoded = encode(given, tokenizer, max_tokens)
    for (place, document), rendering, encoding in zip(documents, given, encoded, strict=True):
        _note(noted, place, document, rendering, encoding)
    return given, encoded


def _note(noted: Tally, place: str, document: Document, given: Rendering, encoded: Encoding) -> None:
    if document.is_chat and given.add_special_tokens:
        noted.add("framed", place)
    if given.joined:
        noted.add("joined", place)
    if given.lost:
        noted.add("ignored", place, f"role `{given.lost[0]}`", len(given.lost))
    if given.untold:
        noted.add("untold", place, given.untold[0], len(given.untold))
    if encoded.spelled:
        noted.add("spelled", place, f"`{encoded.spelled}`")
    if encoded.unsure:
        noted.add("unsure", place, f"`{encoded.unsure}`")
