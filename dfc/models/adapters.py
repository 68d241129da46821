"""PEFT adapters: small weights that are merged into the model they were trained on, the base.

The base is what `adapter_config.json` names, unless the settings name another one.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel
from transformers.utils import find_adapter_config_file

from dfc.config import MissingError, ModelConfig, NotLoadedError

_CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Adapter:
    """An adapter and what it is for.

    Attributes:
        folder: where its files are.
        base: the settings of the model that it is merged into.
        revision: its commit, if it is of the hub.
    """

    folder: Path
    base: ModelConfig
    revision: str | None


def of(config: ModelConfig) -> Adapter | None:
    """The adapter that is a model's source; None if that is a whole model.

    Raises:
        MissingError: if the base is not named, or is a path where nothing is.
        NotLoadedError: if the adapter's settings cannot be read, there is a whole model beside it, or a base is named
            for what is no adapter.
    """
    found = _settings_path(config)
    if found is None:
        if config.base is not None:
            raise NotLoadedError(
                f"{config.source}: has no {_CONFIG}, so that it is no adapter, and `base` says for which model one is; "
                f"bring that file back, or take `base` out."
            )
        return None
    try:
        settings = json.loads(found.read_text(encoding="utf-8"))
        named, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    except (OSError, ValueError, AttributeError) as error:
        raise NotLoadedError(f"{config.source}: its {_CONFIG} cannot be read ({error}); bring it back.") from None
    base = config.base or named
    if not isinstance(base, str) or not base:
        raise MissingError(
            f"{config.source}: is an adapter whose {_CONFIG} names no model that it is for; name that one with the key "
            f"`base` of this model."
        )
    if (Path(base).is_absolute() or base.startswith(".") or base.count("/") > 1) and not Path(base).exists():
        raise MissingError(
            f"{config.source}: is an adapter for {base}, and nothing is at that path; name the model that it is for "
            f"with the key `base` of this model."
        )
    if Path(base).is_dir() and Path(base).resolve() == found.parent.resolve():
        raise NotLoadedError(
            f"{config.source}: is an adapter that names itself as the model it is for; name that one with the key "
            f"`base` of this model."
        )
    of_base = {"source": base, "base": None, "revision": revision if base == named else None, "name": config.title}
    commit = None if Path(config.source).is_dir() else found.parent.name
    return Adapter(found.parent, config.model_copy(update=of_base), commit)


def merged(adapter: Adapter, model: PreTrainedModel, config: ModelConfig) -> PreTrainedModel:
    """The base with the adapter's weights added to its own.

    Raises:
        NotLoadedError: if the adapter does not fit, cannot be merged, or has no safetensors: nothing is unpickled.
    """
    from peft import PeftModel  # takes a second
    from peft.tuners.tuners_utils import BaseTuner

    weights = adapter.folder / WEIGHTS
    if adapter.revision is None and not weights.exists():
        raise NotLoadedError(
            f"{config.source}: holds no {WEIGHTS}, and other files of weights are not opened, since they may run code; "
            f"save the adapter anew (`save_pretrained`)."
        )
    source = str(adapter.folder) if adapter.revision is None else config.source
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Found missing adapter keys")  # else it would be merged in part
            joined = PeftModel.from_pretrained(model, source, revision=adapter.revision, use_safetensors=True)
        if not isinstance(joined.base_model, BaseTuner):
            raise ValueError(f"{joined.active_peft_config.peft_type.value} has no weights that could be merged")
        made: PreTrainedModel = joined.base_model.merge_and_unload(safe_merge=True)
    except (ValueError, RuntimeError, TypeError, AttributeError, OSError, KeyError, UserWarning) as error:
        reason = " ".join(str(error).split())[:200]
        raise NotLoadedError(
            f"{config.source}: this adapter cannot be merged into {adapter.base.source} ({reason}); see that this is "
            f"the model it was trained on, or name another one with the key `base` of this model."
        ) from error
    return made


def _settings_path(config: ModelConfig) -> Path | None:
    folder = Path(config.source)
    if folder.is_dir():
        if not (folder / _CONFIG).exists():
            return None
        if any(folder.glob("model*.safetensors")) or any(folder.glob("pytorch_model*.bin")):
            raise NotLoadedError(
                f"{config.source}: holds an adapter and the weights of a whole model, and it is not clear which is "
                f"meant; move {_CONFIG} and its weights, or the model's, elsewhere."
            )
        return folder / _CONFIG
    if config.is_gguf or config.source.count("/") > 1:
        return None
    try:
        found = find_adapter_config_file(config.source, revision=config.revision)
    except (OSError, ValueError):  # what loads the model says what is wrong with it
        return None
    return Path(found) if found else None
