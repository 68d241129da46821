"""What a model says: what it thinks told from what it answers, and where its turn ends without a token for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfc.corpus.tokens import special_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_THOUGHTS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "[THINK]": "[/THINK]",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<seed:think>": "</seed:think>",
}
_CHANNEL, _MESSAGE = "<|channel|>", "<|message|>"
_ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|start|>")
_MARKS = {*_THOUGHTS, *_THOUGHTS.values(), _CHANNEL, _MESSAGE, *_ENDS}  # of special tokens, those that tell parts apart
_OF_CHANNEL = re.compile(
    rf"{re.escape(_CHANNEL)}(?P<name>\w+)[^<]*?{re.escape(_MESSAGE)}"
    rf"(?P<text>.*?)(?={'|'.join(map(re.escape, (*_ENDS, _CHANNEL)))}|\Z)",
    re.DOTALL,
)
# A model without a template goes on after its answer with the next turn of the frame in which it was given the chat.
_NEXT_TURN = re.compile(r"\n\s*(?:System|User|Assistant|Tool):")
_BEGUN = re.compile(r"\n\s*(?:[SUAT][a-z]{0,8})?\Z")


@dataclass(frozen=True)
class Parts:
    """What a model wrote: what it answers, and what it thought before that, without the marks between them."""

    answer: str
    reasoning: str = ""


def spoken(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of tokens without special tokens, but for those that tell thoughts and channels from the answer."""
    marks = {number: text for number, text in special_tokens(tokenizer).items() if text in _MARKS}
    if not any(token in marks for token in ids):
        return _decoded(tokenizer, ids)
    text, run = "", list[int]()
    for token in ids:
        if token in marks:
            text += _decoded(tokenizer, run) + marks[token]
            run = []
        else:
            run.append(token)
    return text + _decoded(tokenizer, run)


def opening(prompt: str) -> str:
    """The mark of thoughts with which a rendered prompt ends; empty if it ends otherwise."""
    stripped = prompt.rstrip()
    mark = next((mark for mark in _THOUGHTS if stripped.endswith(mark)), "")
    return mark + prompt[len(stripped) :] if mark else ""


def parts(text: str) -> Parts:
    """A text, as `spoken` gives it, in its parts.

    Of channels the one called `final` is the answer. A thought that does not end leaves no answer.
    """
    channels = [(found["name"], found["text"].strip()) for found in _OF_CHANNEL.finditer(text)]
    if channels:
        thought = "\n\n".join(said for name, said in channels if name != "final" and said)
        return Parts("\n\n".join(said for name, said in channels if name == "final"), thought)
    for start, end in _THOUGHTS.items():
        before, opened, rest = text.partition(start)
        if opened and not before.strip():
            thought, _, answer = rest.partition(end)
            return Parts(answer.strip(), thought.strip())
    return Parts(text)


def until_next_turn(text: str, whole: bool = True) -> tuple[str, bool]:
    """What a model without a template says before it speaks for somebody else, and whether it does.

    Of a text that is not `whole`, what may be the beginning of another's turn is held back.
    """
    if following := _NEXT_TURN.search(text):
        return text[: following.start()], True
    begun = None if whole else _BEGUN.search(text)
    return text[: begun.start()] if begun else text, False


def _decoded(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)) if ids else ""
