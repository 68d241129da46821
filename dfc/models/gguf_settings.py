"""What a GGUF file says of a model and transformers leaves out, put into the model's settings.

How wide its experts are, how its attention is scaled, how many dimensions of a head turn with positions, and how these
are scaled for long texts: by the header, or by tensors of factors, of which some models have one for long texts and one
for short ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import GGUFReader
from transformers import PreTrainedConfig

from dfc.config import NotLoadedError

_EXPERTS = {
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
}
_BY_HEADS = {("gemma2", 46), ("gemma3", 62)}  # the two of 27 billion weights, as llama.cpp tells them: by their blocks
_AS_NAMED = {"factor": "factor", "yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"}
_CHANGES_NOTHING = {"finetuned": (True, False), "attn_factor": (1.0,), "yarn_attn_factor": (1.0,)}
_ORIGINAL = "original_context_length"
_DIVIDED, _LONG, _SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
TENSORS = frozenset({_DIVIDED, _LONG, _SHORT})
"""Names of the tensors of factors."""


def complete(reader: GGUFReader, settings: PreTrainedConfig) -> None:
    """Put what the header says, beside the scaling of positions, in the place of defaults of the model's class."""
    for key, name in _EXPERTS.items():
        if (width := _field(reader, key)) is not None and hasattr(settings, name):
            setattr(settings, name, int(width))
    if (architecture(reader), settings.num_hidden_layers) in _BY_HEADS:
        settings.query_pre_attn_scalar = settings.hidden_size // settings.num_attention_heads
    _turn(reader, settings)


def _turn(reader: GGUFReader, settings: PreTrainedConfig) -> None:
    """Have as many dimensions of a head turn with positions as the header says, where the settings have a place."""
    said = _field(reader, "rope.dimension_count")
    rope = getattr(settings, "rope_parameters", None)
    if said is None or not isinstance(rope, dict) or "partial_rotary_factor" not in rope:
        return
    turning = int(said)
    head = getattr(settings, "head_dim", None) or settings.hidden_size // settings.num_attention_heads
    share = turning / head
    if int(head * share) < turning:  # as models round it
        share = math.nextafter(share, 1.0)
    settings.rope_parameters = {**rope, "partial_rotary_factor": share}


def carry_over(file: Path, reader: GGUFReader, settings: PreTrainedConfig) -> bool:
    """Put a header's scaling into the settings, which transformers leaves out; whether there was any.

    As llama.cpp has it: linear where no type is said, and in Gemma 3 for the attention to the whole text alone.

    Raises:
        NotLoadedError: if it is of a kind for which the settings have no place.
    """
    said = _said(reader)
    kind = said.pop("type", "linear")
    if kind == "none" or (kind == "linear" and said.get("factor", 0) in (0, 1)):
        return False
    rope = getattr(settings, "rope_parameters", None) or {}
    own = rope.get("full_attention", rope)
    if own.get("rope_type") == kind:
        return False  # transformers did it itself
    unknown = [key for key in said if key not in _AS_NAMED and key != _ORIGINAL and not _idle(key, said[key])]
    if kind not in ("linear", "yarn") or "factor" not in said or unknown or own.get("rope_type") != "default":
        told = ", ".join(f"{key} {value}" for key, value in {"type": kind, **said}.items())
        raise NotLoadedError(
            f"{file}: its header scales positions for long texts in a way that is not carried over (rope.scaling: "
            f"{told:.200}), so that long texts would be read wrongly; give the model's safetensors instead."
        )
    given: dict[str, Any] = {"rope_type": kind, "factor": float(said["factor"])}
    if kind == "yarn":
        given |= {name: float(said[key]) for key, name in _AS_NAMED.items() if key in said}
        given["original_max_position_embeddings"] = int(said.get(_ORIGINAL) or settings.max_position_embeddings)
    settings.rope_parameters = {**rope, "full_attention": {**own, **given}} if own is not rope else {**rope, **given}
    return True


def divide(reader: GGUFReader, settings: PreTrainedConfig, factors: Mapping[str, list[float]]) -> bool:
    """Put by what a file divides the frequencies of its positions into the settings; whether they take it.

    Llama 3.1 and later keep their long-context scaling in such a tensor and nowhere else, Phi 3 and 4 in two, with what
    attention is scaled by in the header.

    Args:
        reader: of the file.
        settings: of the model.
        factors: what the file has of `TENSORS`, by name.
    """
    rope = getattr(settings, "rope_parameters", None)
    if not isinstance(rope, dict) or rope.get("rope_type") != "default":
        return False
    said, longest = _said(reader), settings.max_position_embeddings
    if factors.keys() == {_DIVIDED}:  # the same for all lengths, and no other change with them
        long = short = factors[_DIVIDED]
        original, attention = longest, 1.0
    elif factors.keys() == {_LONG, _SHORT}:
        long, short = factors[_LONG], factors[_SHORT]
        original, attention = int(said.get(_ORIGINAL) or longest), float(said.get("attn_factor", 1.0))
        settings.original_max_position_embeddings = original
    else:
        return False
    settings.rope_parameters = {
        **rope,
        "rope_type": "longrope",  # the one kind that takes a factor for each frequency
        "short_factor": short,
        "long_factor": long,
        "factor": longest / original,
        "attention_factor": attention,
        "original_max_position_embeddings": original,
    }
    return True


def architecture(reader: GGUFReader) -> str:
    """What a file says it is, as `llama`."""
    return str(reader.fields["general.architecture"].contents())


def _field(reader: GGUFReader, key: str) -> Any:
    """A setting of the architecture; None without."""
    found = reader.fields.get(f"{architecture(reader)}.{key}")
    return None if found is None else found.contents()


def _said(reader: GGUFReader) -> dict[str, Any]:
    """What the header says of scaling, by the last parts of its keys."""
    begin = f"{architecture(reader)}.rope.scaling."
    found = {
        name.removeprefix(begin): reader.fields[name].contents() for name in reader.fields if name.startswith(begin)
    }
    if "factor" not in found and (older := _field(reader, "rope.scale_linear")) is not None:
        found["factor"] = older
    return found


def _idle(key: str, value: object) -> bool:
    return value in _CHANGES_NOTHING.get(key, ())
