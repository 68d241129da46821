"""How a GGUF file says that positions are scaled for long texts, carried over into a model's settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gguf import GGUFReader
from transformers import PreTrainedConfig

from dfc.config import NotLoadedError

_AS_NAMED = {"factor": "factor", "yarn_beta_fast": "beta_fast", "yarn_beta_slow": "beta_slow"}
_CHANGES_NOTHING = {"finetuned": (True, False), "attn_factor": (1.0,), "yarn_attn_factor": (1.0,)}
_ORIGINAL = "original_context_length"


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


def divide(settings: PreTrainedConfig, factors: list[float]) -> bool:
    """Put by what a file divides the frequencies of its positions into the settings; whether they take it.

    Llama 3.1 and later keep their long-context scaling in such a tensor and nowhere else; transformers leaves it out.
    """
    rope = getattr(settings, "rope_parameters", None)
    if not isinstance(rope, dict) or rope.get("rope_type") != "default":
        return False
    # The one kind that takes a factor for each frequency; the same for all lengths, and no other change with them.
    given: dict[str, Any] = {"rope_type": "longrope", "short_factor": factors, "long_factor": factors, "factor": 1.0}
    lengths = {"attention_factor": 1.0, "original_max_position_embeddings": settings.max_position_embeddings}
    settings.rope_parameters = {**rope, **given, **lengths}
    return True


def _said(reader: GGUFReader) -> dict[str, Any]:
    """What the header says of scaling, by the last parts of its keys."""
    architecture = reader.fields["general.architecture"].contents()
    begin = f"{architecture}.rope.scaling."
    found = {
        name.removeprefix(begin): reader.fields[name].contents() for name in reader.fields if name.startswith(begin)
    }
    if "factor" not in found and (older := reader.fields.get(f"{architecture}.rope.scale_linear")) is not None:
        found["factor"] = older.contents()
    return found


def _idle(key: str, value: object) -> bool:
    return value in _CHANGES_NOTHING.get(key, ())
