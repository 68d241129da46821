"""Whether a model's files held all of it: transformers fills what is missing with random numbers, and goes on."""

from __future__ import annotations

from collections.abc import Collection

from dfc.config import NotLoadedError

_NAMED = 3


def check(source: str, missing: Collection[str]) -> None:
    """See that none of a model's weights are missing.

    Args:
        source: where they were read.
        missing: names of those that were not there.

    Raises:
        NotLoadedError: if some are.
    """
    if missing:
        named = ", ".join(sorted(missing)[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
        raise NotLoadedError(
            f"{source}: its files lack {len(missing):,} of the model's weights ({named}), in place of which there "
            f"would be random numbers; fetch them again, or save the model anew as what its config.json says it is."
        )
