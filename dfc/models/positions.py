"""Which texts may share a batch: some models take other frequencies of positions where the longest text is long."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig

_BY_LENGTH = (("short_factor", "long_factor"), ("short_mscale", "long_mscale"))


def changes(settings: PreTrainedConfig) -> tuple[int, ...]:
    """Lengths in tokens beyond which a model reads a whole batch otherwise, as of LongRoPE (Phi-3); mostly none."""
    text = settings.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    found = set()
    for own in (rope, *(inner for inner in rope.values() if isinstance(inner, dict))):
        if any(own.get(short) != own.get(long) for short, long in _BY_LENGTH):
            found.add(_original(own, text))
    return tuple(sorted(found))


def _original(rope: dict[str, Any], text: PreTrainedConfig) -> int:
    names = "original_max_position_embeddings", "max_position_embeddings"
    return int(rope.get(names[0]) or getattr(text, names[0], None) or getattr(text, names[1]))


def company(lengths: tuple[int, ...], begin: int, end: int | None = None) -> tuple[int, ...]:
    """What two texts must have alike to share a batch.

    Args:
        lengths: the model's, from `changes`.
        begin, end: tokens of a text as it is given and when it is written to the end, as much if nothing is. One that
            grows beyond a length goes only with those that do so at the same token.
    """
    end = begin if end is None else end
    return tuple(0 if end <= length else -1 if begin > length else begin for length in lengths)
