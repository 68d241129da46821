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
    "<|channel>thought": "<channel|>",  # of which the first sign alone is a token
}
_CHANNEL, _MESSAGE = "<|channel|>", "<|message|>"
_ENDS = ("<|end|>", "<|return|>", "<|call|>", "<|start|>")
_MARKS = {
    *_THOUGHTS,
    *_THOUGHTS.values(),
    "<|channel>",
    _CHANNEL,
    _MESSAGE,
    *_ENDS,
}  # of special tokens, those that tell parts apart
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
    found = _stretches(text)
    if found is None:
        return Parts(text)
    said = [(is_thought, text[start:end].strip()) for is_thought, start, end in found]
    return Parts(*("\n\n".join(words for thought, words in said if words and thought == of) for of in (False, True)))


def sections(text: str) -> list[tuple[bool, int]]:
    """A text, as `spoken` gives it, cut into thoughts and answers: whether each is thought, and where it ends.

    The last ends with the text. Marks are part of what they stand around, and of thoughts where two are neighbours.
    """
    found = _stretches(text) or [(False, 0, len(text))]
    cuts: list[tuple[bool, int]] = []
    for number, (is_thought, start, _) in enumerate(found):
        start += len(text[start:]) - len(text[start:].lstrip())  # white space before it is the earlier one's
        if number:
            cuts[-1] = (cuts[-1][0], start)
        cuts.append((is_thought, len(text)))
    return cuts


def _stretches(text: str) -> list[tuple[bool, int, int]] | None:
    """Whether it is thought, start and end of what stands between marks; None, if there are no marks of thoughts."""
    channels = [(found["name"] != "final", *found.span("text")) for found in _OF_CHANNEL.finditer(text)]
    if channels:
        return channels
    for mark, closing in _THOUGHTS.items():
        if text.lstrip().startswith(mark):
            start = text.index(mark) + len(mark)
            end = text.find(closing, start)
            if end < 0:
                return [(True, start, len(text))]
            return [(True, start, end), (False, end + len(closing), len(text))]
    return None


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
