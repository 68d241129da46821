"""Tokens that end what a model says: one rule for rollouts, steering, sweeps and the app."""

from __future__ import annotations

from dfc import corpus
from dfc.corpus import Document, Turn
from dfc.models.loaded import LoadedModel

_SAID = "That is all that there is to say about it."


def ends(model: LoadedModel) -> list[int]:
    """Those that the model's settings and its tokenizer name, and the one behind an assistant's turn in its template.

    The last since many tokenizers of models with a template name only the end of a text.
    """
    named = model.model.generation_config.eos_token_id
    found = {*(named if isinstance(named, list) else [named]), model.tokenizer.eos_token_id}
    if model.is_chat:
        found.add(_end_of_turn(model))
    return sorted(found - {None})


def _end_of_turn(model: LoadedModel) -> int | None:
    """The special token, or the added one, that the template puts behind what an assistant says last."""
    chat = Document("", (Turn("user", "Is there anything to say about it?"), Turn("assistant", _SAID)))
    rendering = corpus.render(chat, model.tokenizer)
    start = rendering.text.rfind(_SAID)
    if start < 0:
        return None
    after = model.tokenizer(rendering.text[start + len(_SAID) :], add_special_tokens=False)["input_ids"]
    added = model.tokenizer.added_tokens_decoder
    special = next((token for token in after if token in added and added[token].special), None)
    return next((token for token in after if token in added), None) if special is None else special
