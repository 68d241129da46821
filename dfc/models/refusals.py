"""What transformers raises about a source, as one sentence with what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig
from transformers.utils import cached_file

from dfc.config import MemoryShortError, ModelConfig, NotLoadedError, UserError
from dfc.machine import memory, pointers
from dfc.models.weights import weight_bytes


@contextmanager
def explaining(config: ModelConfig, what: str) -> Iterator[None]:
    """Turn what is raised while a `model` or `tokenizer` is loaded into one sentence.

    Raises:
        MemoryShortError: if there was no memory.
        DamagedError: if a pointer of Git LFS lies in place of a file.
        NotLoadedError: for all else.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever transformers and the readers below it raise about a foreign file
        if memory.is_out_of_memory(error):
            raise _no_memory(config, error) from error
        pointers.check_folder(Path(config.tokenizer or config.source if what == "tokenizer" else config.source))
        raise NotLoadedError(_sentence(config, what, error)) from error


def first_line(error: Exception) -> str:
    """What an error says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _no_memory(config: ModelConfig, error: Exception) -> MemoryShortError:
    needed = weight_bytes(config)
    size = f"its weights need {needed / 1e9:.1f} GB in {config.dtype}; " if needed else ""
    return MemoryShortError(
        f"{config.title}: there is no memory for this model ({first_line(error)}); {size}"
        f"close other programs, use half precision (dtype: bfloat16), spread it over devices "
        f"(device_map: auto), or take a smaller model."
    )


def _sentence(config: ModelConfig, what: str, error: Exception) -> str:
    settings = _settings(config)
    if isinstance(error, StrictDataclassError):
        return (
            f"{config.source}: its config.json holds a value that transformers refuses "
            f"({' '.join(str(error).split())[:300]}); correct it there."
        )
    if "auto_map" in settings and not config.trust_remote_code and "trust_remote_code" in str(error):
        return (
            f"{config.source}: comes with code of its own (`auto_map` in its config), which is not run; if you trust "
            f"it, set `trust_remote_code: true` for this model, else give one whose code is in transformers."
        )
    if what == "tokenizer":
        return (
            f"{config.tokenizer or config.source}: its tokenizer could not be loaded ({first_line(error)}); name "
            f"a folder or a hub id that has one with the key `tokenizer` of this model."
        )
    if isinstance(error, SafetensorError):
        return (
            f"{config.source}: its weights are damaged or incomplete ({first_line(error)}); fetch them again, "
            f"with `git lfs pull` where they were cloned."
        )
    if lacking := _lacking(Path(config.source)):
        return f"{config.source}: lacks {lacking}; fetch it from where the model is from, or save the model anew."
    if settings and (why := _not_built(config)):
        if why.startswith("Unrecognized configuration class"):
            return (
                f"{config.source}: is a `{settings.get('model_type')}`, of which transformers has no causal language "
                f"model; give one that reads and writes texts alone."
            )
        made_with = settings.get("transformers_version")
        otherwise = "" if made_with == transformers.__version__ else f", or install {_version(made_with)}"
        return (
            f"{config.source}: transformers can make no model of its config.json ({why}); correct it there{otherwise}."
        )
    if _names_a_place(config.source) and not Path(config.source).exists():
        return (
            f"{config.source}: its {what} could not be loaded, since nothing lies there (looked for in {Path.cwd()}); "
            f"correct `source` of this model."
        )
    otherwise = "" if config.attention == "auto" else ", or leave `attention` at auto"
    return (
        f"{config.source}: its {what} could not be loaded ({first_line(error)}); "
        f"give the id of a causal language model on the hub, a local folder, or a GGUF file{otherwise}."
    )


def _names_a_place(source: str) -> bool:
    """Whether a source can be no id of the hub, which is `name` or `owner/name`."""
    return source.startswith((".", "/", "~")) or source.count("/") > 1


def _version(made_with: object) -> str:
    return f"the version that it was made with ({made_with or 'it names none'})"


def _lacking(folder: Path) -> str:
    """The file of weights that a local folder does not have; nothing if it has all, or is none."""
    if not (folder / "config.json").exists():
        return ""
    index = folder / "model.safetensors.index.json"
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values() if index.exists() else ()
        absent = sorted({name for name in named if not (folder / name).exists()})
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return f"an index of its weights that can be read ({index.name})"
    if absent:
        more = f" and {len(absent) - 1} more of its files of weights" if len(absent) > 1 else ""
        return f"{absent[0]}{more}"
    if index.exists() or (folder / "model.safetensors").exists() or any(folder.glob("*.bin")):
        return ""
    return index.name if any(folder.glob("model-*-of-*.safetensors")) else "its weights (model.safetensors)"


def _settings(config: ModelConfig) -> dict[str, Any]:
    """The source's config.json as it stands there; empty where there is none."""
    if config.is_gguf:
        return {}
    try:
        found = cached_file(
            config.source,
            "config.json",
            revision=config.revision,
            local_files_only=True,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
        )
        settings = json.loads(Path(found).read_text(encoding="utf-8")) if found else {}
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def _not_built(config: ModelConfig) -> str:
    """Why no model can be made of the settings alone, without weights; nothing if one can."""
    try:
        settings: PreTrainedConfig = AutoConfig.from_pretrained(
            config.source, revision=config.revision, trust_remote_code=config.trust_remote_code, local_files_only=True
        )
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(settings, trust_remote_code=config.trust_remote_code)
    except Exception as error:  # whatever a model's own code raises
        said = first_line(error)
        return f"{type(error).__name__}: {said}" if isinstance(error, LookupError) else said
    return ""
