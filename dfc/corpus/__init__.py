"""The texts on which two models are compared: from files and datasets to what each model is given.

Text from a corpus is data from strangers: it is never trusted, only made encodable.
"""

from dfc.corpus.chats import chat_from_json
from dfc.corpus.documents import PLAIN, THOUGHT, Document, clean, encodable, of_messages, plain, said_in
from dfc.corpus.encodings import decoded
from dfc.corpus.giving import give
from dfc.corpus.prompts import read_prompts
from dfc.corpus.rows import may_be_file
from dfc.corpus.sources import Source, in_order, open_sources, read_chat
from dfc.corpus.speech import Parts, opening, parts, sections, spoken, until_next_turn
from dfc.corpus.tally import Tally, Unusable, remarks, told
from dfc.corpus.template import Rendering, is_dated, render, template_of
from dfc.corpus.template_files import read_template
from dfc.corpus.tokens import Encoding, encode, special_tokens
from dfc.requests import Turn

__all__ = [
    "PLAIN",
    "THOUGHT",
    "Document",
    "Encoding",
    "Parts",
    "Rendering",
    "Source",
    "Tally",
    "Turn",
    "Unusable",
    "chat_from_json",
    "clean",
    "decoded",
    "encodable",
    "encode",
    "give",
    "in_order",
    "is_dated",
    "may_be_file",
    "of_messages",
    "open_sources",
    "opening",
    "parts",
    "plain",
    "read_chat",
    "read_prompts",
    "read_template",
    "remarks",
    "render",
    "said_in",
    "sections",
    "special_tokens",
    "spoken",
    "template_of",
    "told",
    "until_next_turn",
]
