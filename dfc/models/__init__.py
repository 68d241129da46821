"""Causal language models: loading them, finding their blocks, reading and editing the residual stream."""

from dfc.models.kept import shared
from dfc.models.loaded import Description, LoadedModel
from dfc.models.loading import describe, load, load_tokenizer
from dfc.models.origin import Fingerprint, fingerprint
from dfc.models.streams import stream_of

__all__ = [
    "Description",
    "Fingerprint",
    "LoadedModel",
    "describe",
    "fingerprint",
    "load",
    "load_tokenizer",
    "shared",
    "stream_of",
]
