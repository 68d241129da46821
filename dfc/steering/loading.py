"""Load a model to steer it, if it fits into memory."""

from __future__ import annotations

from dfc import models
from dfc.config import ModelConfig
from dfc.models import LoadedModel


def steerable(config: ModelConfig) -> LoadedModel:
    """The model, loaded at most once in this process.

    Raises:
        MemoryShortError: if its weights do not fit into the memory that is free.
        UserError: if it is not there, or does not load.
    """
    return models.shared(config)
