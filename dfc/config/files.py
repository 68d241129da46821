"""Reading a run's YAML, and saying in one sentence what is wrong with it."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from dfc.config import shipped
from dfc.config.base import SIDES, MissingError, SettingsError, UserError
from dfc.config.sections import RunConfig

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, ten times as fast, where it was built
BEFORE: dict[str, dict[str, str]] = {"crosscoder": {"exclusive_reads": "stream"}}
"""By section, what was done before there was a setting for it, where that is not the default."""


def load(path: Path) -> RunConfig:
    """Read a run's YAML.

    Raises:
        MissingError: if there is no such file.
        SettingsError: if it is not YAML, or holds an unknown or wrong value.
        UserError: if it cannot be read.
    """
    return parse(_read(path), origin=str(path))


def load_whole(path: Path) -> RunConfig:
    """Read the YAML of a run, which `dump` wrote: a setting that it lacks came later, and is what was done before it.

    Raises:
        MissingError, SettingsError, UserError: as `load` does.
    """
    content = _read(path)
    for section, before in BEFORE.items():
        if isinstance(content.get(section), dict):
            content[section] = {**before, **content[section]}
    return parse(content, origin=str(path))


def load_sites(path: Path) -> list[RunConfig]:
    """Read a YAML in which `layer` may be a list: a run for each layer, or pair of layers, named after them.

    Raises:
        SettingsError: as `load` does, and if both models list layers, and not as many.
    """
    content = _read(path)
    models = content.get("models")
    sides = [models.get(side) if isinstance(models, dict) else None for side in SIDES]
    layers = [side.get("layer") if isinstance(side, dict) else None for side in sides]
    lengths = {len(layer) for layer in layers if isinstance(layer, list)}
    if not lengths:
        return [parse(content, origin=str(path))]
    if len(lengths) > 1 or 0 in lengths:
        raise SettingsError(
            f"{path}: models.a.layer and models.b.layer must list as many layers, or one of them a single."
        )
    [count] = lengths
    pairs = list(zip(*(layer if isinstance(layer, list) else [layer] * count for layer in layers), strict=True))
    configs = []
    for pair in pairs:
        own = {side: {**content["models"][side], "layer": layer} for side, layer in zip(SIDES, pair, strict=True)}
        name = "-".join(map(str, (content.get("name"), *pair)))
        configs.append(parse({**content, "name": name, "models": {**content["models"], **own}}, origin=str(path)))
        if pair in pairs[: len(configs) - 1]:
            raise SettingsError(
                f"{path}: layer {pair[0]} of A and {pair[1]} of B are listed twice; take one of them out."
            )
    return configs


def _read(path: Path) -> dict[str, Any]:
    try:
        text = Path(shipped.here_or_shipped(str(path))).read_text(encoding="utf-8")
        content = yaml.load(text, _LOADER)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; the presets that ship are in {shipped.PRESETS}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); give a run's YAML file.") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: is not valid YAML ({' '.join(str(error).split())}).") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: holds no settings; start from one in {shipped.PRESETS}.")
    return content


def parse(content: dict[str, Any], origin: str) -> RunConfig:
    """Check a run's settings; `origin` is named in the error.

    Raises:
        SettingsError: naming the first wrong key and, where one is close, the right one.
    """
    try:
        return RunConfig.model_validate(content)
    except ValidationError as error:
        raise SettingsError(f"{origin}: {_explain(error)}") from None


def dump(config: RunConfig) -> str:
    """The run's YAML, complete with every default."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _explain(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    location = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known keys: {', '.join(known)}."
        return f"unknown key `{location}`; {hint}"
    if first["type"] == "missing":
        return f"`{location}` is missing; add it."
    message = first["msg"].removeprefix("Value error, ")
    got = "" if location.split(".")[0] == "judge" else f" (got {first['input']!r:.80})"  # there it may be a key
    return f"`{location}`: {message[0].lower()}{message[1:]}{got}." if location else message


def _fields_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields of the section at `location` of a RunConfig."""
    section: type[BaseModel] = RunConfig
    for part in location:
        if isinstance(part, int):
            continue
        annotation: Any = section.model_fields[part].annotation
        args = [
            arg for arg in getattr(annotation, "__args__", ()) if isinstance(arg, type) and issubclass(arg, BaseModel)
        ]
        section = args[0] if args else annotation
    return list(section.model_fields)
