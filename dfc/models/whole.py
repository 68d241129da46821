"""Whether a model is what its files hold: all of its weights, and no others.

transformers fills what is missing with random numbers, leaves out what it has no place for, and goes on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator

from torch import nn
from transformers import PreTrainedModel

from dfc.config import NotLoadedError
from dfc.machine import progress

_NAMED = 3
_DERIVED = re.compile(
    r"(^|\.)(position_ids|inv_freq|masked_bias|attn\.bias|attention\.bias|(cos|sin)_cached|embed_positions\.weights)$"
)
"""Buffers that older versions wrote and that follow from the settings: masks and positions."""
_AHEAD = re.compile(r"nextn|mtp", re.I)
"""In settings: how many blocks more there are that say several tokens ahead, which transformers leaves out."""


def check(source: str, title: str, model: PreTrainedModel, missing: Collection[str], surplus: Collection[str]) -> None:
    """See that a model took all of its files' weights, and lacks none; what stands beside it is said.

    Args:
        source: where they were read.
        title: the model's name for people.
        model: as it was made of its settings.
        missing: names of weights that were not there.
        surplus: names of those that were there, and that the model has no place for.

    Raises:
        NotLoadedError: if some are missing, or weights are left out that would change what its blocks give.
    """
    if missing:
        raise NotLoadedError(
            f"{source}: its files lack {len(missing):,} of the model's weights ({named(missing)}), in place of which "
            f"there would be random numbers; fetch them again, or save the model anew as what its config.json says it "
            f"is."
        )
    surplus = [name for name in surplus if not _DERIVED.search(name)]
    beyond = {path: number for path, number in _beyond(model, surplus) if number >= _allowed(model, path)}
    if beyond and getattr(model, "hf_quantizer", None) is None:
        path = min(beyond, key=len)
        here = len(model.get_submodule(path))
        raise NotLoadedError(
            f"{source}: its files hold weights for {max(beyond[path], here) + 1} modules of {path}, and its "
            f"config.json speaks of {here}, so that a part of the model would be left out; correct the number there, "
            f"or save the model anew with as many as are meant."
        )
    inside = [name for name in surplus if _is_inside(model, name)]
    if inside and getattr(model, "hf_quantizer", None) is None:
        raise NotLoadedError(
            f"{source}: its files hold {len(inside):,} weights for modules of the model that have no place for them "
            f"({named(inside)}), so that it is another model than its config.json says; correct that, or save the "
            f"model anew without them."
        )
    if surplus:
        places = Counter(sorted(_place(model, name) for name in surplus))
        listed = ", ".join(f"{place} ({count})" for place, count in places.most_common(_NAMED))
        more = ", …" if len(places) > _NAMED else ""
        progress.say(
            f"{title}: {len(surplus):,} weights of its files are left out, for which the language model has no place: "
            f"{listed}{more}"
        )


def named(names: Collection[str]) -> str:
    """The first few of some names."""
    return ", ".join(sorted(names)[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _full_names(model: PreTrainedModel, name: str) -> tuple[str, str]:
    """A weight's name, and as it is where files hold what is below the head alone."""
    return name, f"{model.base_model_prefix}.{name}"


def _beyond(model: PreTrainedModel, names: Collection[str]) -> Iterator[tuple[str, int]]:
    """Lists of modules, with the largest number that names have beyond their end."""
    lists = {path: len(module) for path, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    found: dict[str, int] = {}
    for name in names:
        for full in _full_names(model, name):
            for match in re.finditer(r"\.(\d+)\.", full):
                path, number = full[: match.start()], int(match[1])
                if number >= lists.get(path, number + 1):
                    found[path] = max(number, found.get(path, 0))
    yield from found.items()


def _allowed(model: PreTrainedModel, path: str) -> int:
    """How many modules of a list there may be in files: blocks that say tokens ahead follow the others."""
    here = len(model.get_submodule(path))
    settings = model.config.get_text_config()
    if here != getattr(settings, "num_hidden_layers", None):
        return here
    ahead = [value for name, value in settings.to_dict().items() if _AHEAD.search(name) and type(value) is int]
    return here + max(ahead, default=0)


def _is_inside(model: PreTrainedModel, name: str) -> bool:
    """Whether a weight belongs to a module that the model has, or to one of its lists of modules."""
    modules = dict(model.named_modules())
    for full in _full_names(model, name):
        owner, _, _ = full.rpartition(".")
        if owner and owner in modules:
            return True
        for match in re.finditer(r"\.(\d+)\.", full):
            if full[: match.end() - 1] in modules:
                return True
    return False


def _place(model: PreTrainedModel, name: str) -> str:
    """The outermost module of a name that the model has not."""
    parts, modules = name.split("."), dict(model.named_modules())
    for end in range(1, len(parts)):
        if (place := ".".join(parts[:end])) not in modules:
            return place
    return name
