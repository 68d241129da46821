"""The texts on which two models are compared: from files and datasets to what each model is given.

Text from a corpus is data from strangers: it is never trusted, only made encodable.
"""

from dfc.corpus.documents import PLAIN, Document, Rendering, encodable, plain, render
from dfc.corpus.sources import LeftOut, Source, chat_from_json, chat_turns, clean, open_sources
from dfc.requests import Turn

__all__ = [
    "PLAIN",
    "Document",
    "LeftOut",
    "Rendering",
    "Source",
    "Turn",
    "chat_from_json",
    "chat_turns",
    "clean",
    "encodable",
    "open_sources",
    "plain",
    "render",
]
